"""Authenticate callers by JSON Web Token (RFC 7519), instead of the proxy's own keys."""

from __future__ import annotations

import jwt

from argoproxy.api import AuthenticationError, Headers, Principal, get_header

#: The only algorithm: if a token could choose, an attacker would choose `none`.
ALGORITHM = "HS256"
#: RFC 7518 section 3.2: as long as the hash.
SHORTEST_SECRET = 32


class Tokens:
    """The class for `authenticate: {class: enterprise_callers:Tokens}`; called before the body of a request is read."""

    def __init__(self, *, secret: str, audience: str) -> None:
        """`secret` is shared with the issuer of the tokens, `audience` is their `aud`. Raises ValueError."""
        if len(str(secret).encode()) < SHORTEST_SECRET:
            raise ValueError(f"`secret` is shorter than {SHORTEST_SECRET} bytes")
        if not isinstance(audience, str) or not audience:
            raise ValueError("`audience` is missing")
        self._secret = str(secret)
        self._audience = audience

    def authenticate(self, headers: Headers) -> Principal:
        """Return the caller, the `sub` of a valid token. Raises AuthenticationError."""
        scheme, _, token = get_header(headers, "authorization").strip().partition(" ")
        if scheme.lower() != "bearer":
            raise AuthenticationError("A token is needed. Send it as `Authorization: Bearer …`.")
        try:
            claims = jwt.decode(
                token.strip(),
                self._secret,
                algorithms=[ALGORITHM],
                audience=self._audience,
                options={"require": ["exp", "aud", "sub"]},
            )
        except jwt.ExpiredSignatureError:
            raise AuthenticationError("This token has expired.") from None
        except jwt.PyJWTError:
            raise AuthenticationError("This token is not valid.") from None
        if not claims["sub"]:
            raise AuthenticationError("This token has no subject.")
        return Principal(claims["sub"])
