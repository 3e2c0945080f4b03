"""Sign requests with a cached token and an HMAC over the content. A `requests.auth.AuthBase`.

The token comes from the enterprise's sign-in service by client credentials (RFC 6749 section 4.4) and is renewed
shortly before it expires. A signer does not see replies, so a token that is revoked earlier is still used until then.
The signature is an HMAC-SHA256 with the client's secret over method, path with query, time and body.
"""

from __future__ import annotations

import hashlib
import hmac
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import requests
from requests.auth import AuthBase, HTTPBasicAuth

from argoproxy.api import BadRequest, UpstreamProtocolError, UpstreamUnreachable

TIMEOUT_S = 10.0
#: A token is renewed this long before it expires, or after four fifths of a short life.
MARGIN_S = 30.0
MARGIN_SHARE = 0.2
#: The lifetime of a token that comes without one.
DEFAULT_LIFE_S = 300.0


@dataclass(frozen=True, slots=True)
class Grant:
    """A token and its lifetime."""

    token: str
    life_s: float


class CachedToken:
    """Keeps a token until shortly before it expires; one thread at a time fetches another."""

    def __init__(
        self, fetch: Callable[[], Grant], clock: Callable[[], float] = time.monotonic, patience_s: float = TIMEOUT_S
    ) -> None:
        """`patience_s` is how long other threads wait for the one that fetches."""
        self._fetch = fetch
        self._clock = clock
        self._patience_s = patience_s
        self._lock = threading.Lock()
        self._token, self._valid_until = "", clock()

    def get(self) -> str:
        """Return a valid token. Raises ProxyError if none could be fetched."""
        if not self._lock.acquire(timeout=self._patience_s):
            raise UpstreamUnreachable("The sign-in service does not answer.", code="sign_in_unreachable")
        try:
            now = self._clock()
            if now >= self._valid_until:
                grant = self._fetch()
                margin_s = min(MARGIN_S, MARGIN_SHARE * grant.life_s)
                self._token, self._valid_until = grant.token, now + grant.life_s - margin_s
            return self._token
        finally:
            self._lock.release()


class SignedRequests(AuthBase):
    """The class for `auth: {class: enterprise_auth:SignedRequests}`; called with each request before it is sent."""

    def __init__(self, *, token_url: str, client_id: str, client_secret: str) -> None:
        """No token is fetched yet. Raises ValueError."""
        for name, value in (("token_url", token_url), ("client_id", client_id), ("client_secret", client_secret)):
            if not isinstance(value, str) or not value:
                raise ValueError(f"`{name}` is missing")
        if not token_url.startswith(("http://", "https://")):
            raise ValueError("`token_url` begins with http:// or https://")
        self._secret = client_secret.encode()
        self._token = CachedToken(lambda: fetch_token(token_url, client_id, client_secret))

    def __call__(self, r: requests.PreparedRequest) -> requests.PreparedRequest:
        """Sign a request. Raises BadRequest for a streamed body, ProxyError without a token."""
        r.headers["Authorization"] = f"Bearer {self._token.get()}"
        r.headers["X-Timestamp"] = at = str(int(time.time()))
        r.headers["X-Signature"] = signature(self._secret, r, at)
        return r


def signature(secret: bytes, request: requests.PreparedRequest, at: str) -> str:
    """Return the signature of a request at a time. Raises BadRequest for a streamed body."""
    body = request.body or b""
    if isinstance(body, str):
        body = body.encode()
    if not isinstance(body, bytes):
        raise BadRequest("A body that is streamed can't be signed.")
    signed = "\n".join((request.method or "", request.path_url, at, hashlib.sha256(body).hexdigest()))
    return hmac.new(secret, signed.encode(), hashlib.sha256).hexdigest()


def fetch_token(token_url: str, client_id: str, client_secret: str) -> Grant:
    """Fetch a token by client credentials. Raises UpstreamUnreachable, UpstreamProtocolError."""
    try:
        reply = requests.post(
            token_url,
            data={"grant_type": "client_credentials"},
            auth=HTTPBasicAuth(client_id.encode(), client_secret.encode()),
            timeout=TIMEOUT_S,
            allow_redirects=False,
        )
        answer = reply.json() if reply.status_code == requests.codes.ok else {}
    except requests.JSONDecodeError:
        answer = {}
    except requests.RequestException:
        raise UpstreamUnreachable("The sign-in service can't be reached.", code="sign_in_unreachable") from None
    token = answer.get("access_token") if isinstance(answer, dict) else None
    if not isinstance(token, str) or not token:
        raise UpstreamProtocolError("The sign-in service returned no token.", code="sign_in_failed")
    return Grant(token, _life_s(answer.get("expires_in")))


def _life_s(answer: Any) -> float:
    is_number = isinstance(answer, int | float) and not isinstance(answer, bool)
    return max(0.0, float(answer)) if is_number else DEFAULT_LIFE_S
