"""Callers by JSON Web Token (RFC 7519), in place of the proxy's own keys."""

from __future__ import annotations

import jwt

from argoproxy.api import AuthenticationError, Headers, Principal, get_header

#: The one algorithm: a token that could choose would choose `none`.
ALGORITHM = "HS256"
#: RFC 7518 section 3.2: as long as the hash.
SHORTEST_SECRET = 32


class Tokens:
    """What `authenticate: {class: enterprise_callers:Tokens}` names; asked at the door, before a body is read."""

    def __init__(self, *, secret: str, audience: str) -> None:
        """Take the secret shared with who makes the tokens, and the `aud` they must be for. Raises ValueError."""
        if len(str(secret).encode()) < SHORTEST_SECRET:
            raise ValueError(f"`secret` is shorter than {SHORTEST_SECRET} bytes")
        if not isinstance(audience, str) or not audience:
            raise ValueError("`audience` is missing")
        self._secret = str(secret)
        self._audience = audience

    def authenticate(self, headers: Headers) -> Principal:
        """Let in who sends a good token; its `sub` is the caller's name. Raises AuthenticationError."""
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
            raise AuthenticationError("This token is not valid here.") from None
        if not claims["sub"]:
            raise AuthenticationError("This token names nobody.")
        return Principal(claims["sub"])
