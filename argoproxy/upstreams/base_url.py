"""The base URL of an OpenAI-compatible server, and where a client's path leads behind it.

A base whose path has a version segment (`v1`, `v4`, `v1beta`) stands for our `/v1`; to any other `/v1/…` is
appended; another path is appended as it is. Nothing outside the base is reachable: the origin is never taken from
the client, and a path with dot segments, in any spelling, leads nowhere.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self
from urllib.parse import quote, unquote_to_bytes, urlsplit

from argoproxy.errors import NotFound

_ENDPOINT = re.compile(r"/(?:chat/completions|completions|embeddings|models|responses)/*$")
_VERSION = re.compile(r"v\d+(?:(?:alpha|beta)\d*)?")
_OURS = re.compile(r"/v1/(?:chat/completions|completions|embeddings|models(?:/[^/].*)?)", re.DOTALL)
_TARGET_CHARACTERS = "!#$%&'()*+,-./:;=?@[]_~\"<>\\^`{|}"


@dataclass(frozen=True, slots=True)
class BaseUrl:
    """`root` has no trailing slash and no credentials; `query` goes with every request."""

    root: str
    query: str
    stands_for_v1: bool

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a base URL or a full endpoint. Raises ValueError with what is wrong."""
        parts = urlsplit(text.strip())
        if parts.scheme not in ("http", "https"):
            raise ValueError("a base URL begins with http:// or https://")
        if not parts.hostname or parts.port == 0:
            raise ValueError("a base URL names a host")
        path = _ENDPOINT.sub("", parts.path).rstrip("/")
        host = parts.netloc.rpartition("@")[2]
        has_version = any(_VERSION.fullmatch(segment) for segment in path.split("/"))
        return cls(f"{parts.scheme}://{host}{quote(path, safe=_TARGET_CHARACTERS)}", parts.query, has_version)

    def url(self, path: str, query: str) -> str:
        """Give the URL of a path of ours (`/v1/…`) or of the upstream's, escapes as they are."""
        path = path if path.startswith("/") else "/" + path
        if self.stands_for_v1 and (path == "/v1" or path.startswith("/v1/")):
            path = path.removeprefix("/v1")
        query = "&".join(part for part in (self.query, query) if part)
        target = quote(path + ("?" + query if query else ""), safe=_TARGET_CHARACTERS, encoding="latin-1")
        return self.root + target


def checked_path(path: str) -> str:
    """Give a path that may be forwarded, as it is. Raises NotFound for one that hides where it leads."""
    plain = path.encode("latin-1", "replace")
    while (decoded := unquote_to_bytes(plain)) != plain:
        plain = decoded
    segments = plain.replace(b"\\", b"/").split(b"/")
    if b"." in segments or b".." in segments:
        raise NotFound("A path with dot segments leads nowhere.")
    normal = "/" + "/".join(segment.decode("latin-1").lower() for segment in segments if segment.strip())
    if _is_ours(normal) and not _is_ours(path.removesuffix("/")):
        raise NotFound("This spelling of the path leads nowhere.")
    return path


def _is_ours(path: str) -> bool:
    return bool(_OURS.fullmatch(path) or _OURS.fullmatch("/v1" + path))
