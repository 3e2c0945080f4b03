"""Cross-origin requests of browsers (WHATWG Fetch, section 3.3, "CORS protocol")."""

from __future__ import annotations

from dataclasses import dataclass

from argoproxy.errors import OriginNotAllowed
from argoproxy.protocol.http_messages import Headers, get_header

ANY_ORIGIN = "*"
#: For how long a browser may remember the answer to a preflight; Chromium caps it at two hours.
PREFLIGHT_S = 600

_METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
#: What a page may read besides the headers that every page may: ids, and what clients wait by after an error.
_EXPOSED = (
    "X-Logging-Id, X-Request-Id, X-Upstream, X-Attempts, X-Fallback, Retry-After, Retry-After-Ms, X-Should-Retry,"
    " X-RateLimit-Limit-Requests, X-RateLimit-Limit-Tokens, X-RateLimit-Remaining-Requests,"
    " X-RateLimit-Remaining-Tokens, X-RateLimit-Reset-Requests, X-RateLimit-Reset-Tokens"
)
_PREFIX = "access-control-"
_VARY = ("Vary", "Origin")


@dataclass(frozen=True, slots=True)
class Cors:
    """The origins whose pages may read answers: `*` for all of them."""

    origins: frozenset[str]

    def headers_for(self, request_headers: Headers) -> Headers:
        """Return the headers for every response to a request."""
        allowed = self._allowed_origin(request_headers)
        if not allowed:
            return (_VARY,)
        return (_VARY, ("Access-Control-Allow-Origin", allowed), ("Access-Control-Expose-Headers", _EXPOSED))

    def preflight_headers(self, request_headers: Headers) -> Headers:
        """Return the additional headers for the response to a preflight. Raises OriginNotAllowed."""
        if not self._allowed_origin(request_headers):
            raise OriginNotAllowed(
                "Web pages of this origin may not use the proxy; the setting CORS_ORIGINS lists those that may."
            )
        wished = get_header(request_headers, "access-control-request-headers")
        return (
            ("Access-Control-Allow-Methods", _METHODS),
            *((("Access-Control-Allow-Headers", wished),) if wished else ()),
            ("Access-Control-Max-Age", str(PREFLIGHT_S)),
            ("Vary", "Access-Control-Request-Method, Access-Control-Request-Headers"),
        )

    def _allowed_origin(self, request_headers: Headers) -> str:
        """Return the origin to allow; "" for none."""
        if ANY_ORIGIN in self.origins:
            return ANY_ORIGIN
        origin = get_header(request_headers, "origin")
        return origin if origin.lower() in self.origins else ""


def is_preflight(method: str, headers: Headers) -> bool:
    """Return whether a request is a browser's preflight."""
    return method == "OPTIONS" and bool(
        get_header(headers, "origin") and get_header(headers, "access-control-request-method")
    )


def without_cors(headers: Headers) -> Headers:
    """Return the headers without those of the upstream's own CORS policy."""
    return tuple((name, value) for name, value in headers if not name.lower().startswith(_PREFIX))
