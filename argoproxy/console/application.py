"""The WSGI application of the console: its page, its data, and who may ask for them.

The page needs no token, each datum does. The token comes in `Authorization`, never in a cookie or a URL that is sent,
so no other page can use it. `Host` must be a name of this console, so that no name of a foreign site leads here, and
a request that a browser sends for another site is refused.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable, Collection, Iterable
from hashlib import blake2b
from pathlib import Path
from typing import Any, Protocol

from argoproxy.console.api_routes import BODY_LIMIT, PREFIX, ApiAnswer
from argoproxy.errors import (
    AuthenticationError,
    BadRequest,
    MethodNotAllowed,
    NotFound,
    OriginNotAllowed,
    PayloadTooLarge,
    ProxyError,
    to_openai,
)
from argoproxy.protocol.http_messages import Headers
from argoproxy.protocol.json_text import dumps

STATIC = Path(__file__).parent / "static"
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
_PAGE = "index.html"
PAGE_HEADER = "Argoproxy-Page"
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none';"
    " form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
_HEADERS: Headers = (
    ("Content-Security-Policy", _POLICY),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
)
_OWN_SITE = ("same-origin", "none")
_LOOPBACK = frozenset(("localhost", "127.0.0.1", "[::1]"))
#: A name or an address, and a port.
_HOST = re.compile(r"(\[[^\[\]]*\]|[^:\[\]]*)(?::\d*)?")
_NO_BODY = frozenset((204, 304))
_BEARER = "Bearer "
#: Digits of a length that is looked at: Python refuses to read numbers of some thousand digits.
_MOST_DIGITS = 20

Environ = dict[str, Any]
StartResponse = Callable[[str, list[tuple[str, str]]], object]


class Routes(Protocol):
    """What answers below `/api/`."""

    def read(self, path: str, query: str, known: str) -> ApiAnswer:
        """Answer a GET."""

    def act(self, path: str, body: bytes) -> ApiAnswer:
        """Answer a POST."""


class ConsoleApplication:
    """The application of one console."""

    def __init__(self, routes: Routes, token: str, hosts: Collection[str] = ()) -> None:
        """`hosts` are names of the console beside those of the loopback."""
        self._routes, self._token = routes, token.encode()
        self._hosts = _LOOPBACK | {host.lower() for host in hosts}
        self._files = {f"/{file.name}": file.read_bytes() for file in sorted(STATIC.iterdir()) if file.suffix in _TYPES}
        digest = blake2b(b"\0".join(self._files.values()), digest_size=6).hexdigest()
        #: Tells a page that stays open that its files are those of another version.
        self._page = (PAGE_HEADER, digest)

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        try:
            answer = self._answer(environ)
        except ProxyError as error:
            fields = (("Content-Type", "application/json"), ("Cache-Control", "no-store"), *error.headers)
            answer = ApiAnswer(error.status, fields, dumps(to_openai(error)))
        headers = [*answer.headers, *_HEADERS]
        if isinstance(answer.body, bytes) and answer.status not in _NO_BODY:
            headers.append(("Content-Length", str(len(answer.body))))
        start_response(f"{answer.status} {_reason(answer.status)}", headers)
        if not isinstance(answer.body, bytes):
            return answer.body
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [answer.body]

    def _answer(self, environ: Environ) -> ApiAnswer:
        """Answer a request. Raises ProxyError."""
        self._check_origin(environ)
        path, method = environ.get("PATH_INFO", "") or "/", environ["REQUEST_METHOD"]
        if not path.startswith(PREFIX):
            return self._send_file(path, method)
        self._check_token(environ.get("HTTP_AUTHORIZATION", ""))
        if method == "POST":
            return self._routes.act(path, _read_body(environ))
        if method not in ("GET", "HEAD"):
            raise MethodNotAllowed(f"This path does not accept {method}.", ("GET", "POST"))
        answer = self._routes.read(path, environ.get("QUERY_STRING", ""), environ.get("HTTP_IF_NONE_MATCH", ""))
        return answer._replace(headers=(*answer.headers, self._page))

    def _check_origin(self, environ: Environ) -> None:
        host = _HOST.fullmatch(environ.get("HTTP_HOST", "").lower())
        if host is None or host[1] not in self._hosts:
            raise OriginNotAllowed("The console is not served under this name; add it to console_hosts.")
        if environ.get("HTTP_SEC_FETCH_SITE", "none") not in _OWN_SITE:
            raise OriginNotAllowed("The console does not answer requests of other sites.")

    def _check_token(self, sent: str) -> None:
        if not sent.startswith(_BEARER) or not hmac.compare_digest(sent.removeprefix(_BEARER).encode(), self._token):
            raise AuthenticationError(
                "A token is required: open the console at the address that its start has printed."
            )

    def _send_file(self, path: str, method: str) -> ApiAnswer:
        if method not in ("GET", "HEAD"):
            raise MethodNotAllowed(f"This path does not accept {method}.", ("GET",))
        path = f"/{_PAGE}" if path == "/" else path
        body = self._files.get(path)
        if body is None:
            raise NotFound("The console has no such path.")
        return ApiAnswer(200, (("Content-Type", _TYPES[Path(path).suffix]), ("Cache-Control", "no-cache")), body)


def _read_body(environ: Environ) -> bytes:
    """Return the body of a request. JSON alone: no form of another page can send that. Raises BadRequest,
    PayloadTooLarge."""
    if environ.get("CONTENT_TYPE", "").partition(";")[0].strip().lower() != "application/json":
        raise BadRequest("The body must be JSON, with Content-Type: application/json.")
    length = environ.get("CONTENT_LENGTH") or "0"
    if not length.isdecimal():
        raise BadRequest("Content-Length must be a number.")
    if len(length) > _MOST_DIGITS or int(length) > BODY_LIMIT:
        raise PayloadTooLarge("The body is too large for the console.")
    try:
        body: bytes = environ["wsgi.input"].read(int(length))
    except OSError:
        raise BadRequest("The body did not arrive.") from None
    return body


def _reason(status: int) -> str:
    return {200: "OK", 304: "Not Modified"}.get(status, "Error" if status >= 400 else "Said")
