"""The base URL of an OpenAI-compatible server, and the URL that a client's path is forwarded to.

A base whose path has a version segment (`v1`, `v4`, `v1beta`) replaces `/v1` of the client's path; to any other base
the path is appended as it is. Paths that are never below `/v1` (`/api/…`) are appended to the base without a trailing
`/v1`.

Nothing outside the base is reachable: the origin never comes from the client, and paths with dot segments are refused,
however they are escaped. A path that a lenient server would read as a path of the OpenAI API is refused too: it would
reach that endpoint without the checks that the proxy does for it (rules, allowed models).
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from typing import Self
from urllib.parse import quote, unquote_to_bytes, urlsplit

from argoproxy.errors import NotFound

_ENDPOINT = re.compile(r"/(?:chat/completions|completions|embeddings|responses|models|messages)/*$")
_VERSION = re.compile(r"v\d+(?:(?:alpha|beta)\d*)?")
#: Paths that are never below `/v1`: `/api/…` of Ollama and others, and other versions.
_OTHER_API = re.compile(r"/(?:api|(?!v1/)v\d+(?:(?:alpha|beta)\d*)?)/.*", re.DOTALL)
#: Paths that the proxy handles itself.
_HANDLED = re.compile(
    r"/v1/(?:chat/completions|completions|embeddings|messages(?:/count_tokens)?|responses|models(?:/[^/].*)?)",
    re.DOTALL,
)
#: No chain of servers decodes a path so many times.
MAX_DECODINGS = 4
_END_OF_PATH = re.compile(rb"[?#\x00]")
_BLANKS = b" \t\n\r\x0b\x0c"
_TARGET_CHARACTERS = "!#$%&'()*+,-./:;=?@[]_~\"<>\\^`{|}"


@dataclass(frozen=True, slots=True)
class BaseUrl:
    """`root` has no trailing slash and no credentials; `query` is sent with every request; `stands_for_v1` says that
    the path has a version."""

    root: str
    query: str
    stands_for_v1: bool

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse a base URL or a full endpoint. Raises ValueError with what is wrong."""
        parts = urlsplit(text.strip())
        if parts.scheme not in ("http", "https"):
            raise ValueError("a base URL must begin with http:// or https://")
        if not parts.hostname or parts.port == 0:
            raise ValueError("a base URL must have a host")
        path = _ENDPOINT.sub("", parts.path).rstrip("/")
        host = parts.netloc.rpartition("@")[2]
        has_version = any(_VERSION.fullmatch(segment) for segment in path.split("/"))
        return cls(f"{parts.scheme}://{host}{quote(path, safe=_TARGET_CHARACTERS)}", parts.query, has_version)

    def url(self, path: str, query: str) -> str:
        """Return the URL for a path, `/v1/…` or any other; escapes stay as they are."""
        return self._build(path, query) if query else _url_without_query(self, path)

    def _build(self, path: str, query: str) -> str:
        path = path if path.startswith("/") else "/" + path
        root = self.root.removesuffix("/v1") if self.stands_for_v1 and _OTHER_API.fullmatch(path) else self.root
        if self.stands_for_v1 and (path == "/v1" or path.startswith("/v1/")):
            path = path.removeprefix("/v1")
        query = "&".join(part for part in (self.query, query) if part)
        target = quote(path + ("?" + query if query else ""), safe=_TARGET_CHARACTERS, encoding="latin-1")
        return root + target


@lru_cache(maxsize=256)
def _url_without_query(base: BaseUrl, path: str) -> str:
    """Return the URL for a path: nearly all requests have one of three, and no query."""
    return base._build(path, "")  # noqa: SLF001 the same class


def validate_path(path: str) -> str:
    """Return a path that may be forwarded: unchanged, except that `//v1/…` loses a slash. Raises NotFound for dot
    segments and for other spellings of a path that the proxy handles."""
    if path.startswith("//") and _is_handled(path[1:].removesuffix("/")):
        return path[1:]
    if _is_handled(_normalize(path)) and not _is_handled(path.removesuffix("/")):
        raise NotFound("Use the plain form of this path, such as /v1/chat/completions.")
    return path


def _normalize(path: str) -> str:
    """Return a path as the most lenient server would read it: decoded, in lower case, without parameters, empty
    segments and blanks or dots around a name. Raises NotFound for dot segments, and for too many levels of escapes."""
    plain = path.encode("latin-1", "replace")
    for _ in range(MAX_DECODINGS):
        decoded = unquote_to_bytes(plain)
        if decoded == plain:
            break
        plain = decoded
    else:
        raise NotFound("Paths with nested escapes are not allowed.")
    plain = _END_OF_PATH.split(plain, maxsplit=1)[0].replace(b"\\", b"/")
    segments = [segment.partition(b";")[0].strip(_BLANKS) for segment in plain.split(b"/")]
    if b"." in segments or b".." in segments:
        raise NotFound("Paths with dot segments are not allowed.")
    text = "/".join(name.decode("utf-8", "replace") for segment in segments if (name := segment.rstrip(_BLANKS + b".")))
    return "/" + unicodedata.normalize("NFKC", text).casefold()


def _is_handled(path: str) -> bool:
    return bool(_HANDLED.fullmatch(path) or _HANDLED.fullmatch("/v1" + path))
