"""The base URL of an OpenAI-compatible server, and where a client's path leads behind it.

A base whose path has a version segment (`v1`, `v4`, `v1beta`) stands for our `/v1`; to any other `/v1/…` is
appended; another path is appended as it is, to the base without a trailing `/v1` where it never lives below that.
Nothing outside the base is reachable: the origin is never taken from the client, and a path with dot segments, in any
spelling, leads nowhere.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Self
from urllib.parse import quote, unquote_to_bytes, urlsplit

from argoproxy.errors import NotFound

_ENDPOINT = re.compile(r"/(?:chat/completions|completions|embeddings|models|responses)/*$")
_VERSION = re.compile(r"v\d+(?:(?:alpha|beta)\d*)?")
#: Paths that never live below `/v1`: Ollama's and others' `/api/…`, and those of another version.
_FOREIGN = re.compile(r"/(?:api|(?!v1/)v\d+(?:(?:alpha|beta)\d*)?)/.*", re.DOTALL)
_OURS = re.compile(r"/v1/(?:chat/completions|completions|embeddings|models(?:/[^/].*)?)", re.DOTALL)
#: More than any proxy in between decodes.
MOST_DECODINGS = 4
_END_OF_PATH = re.compile(rb"[?#\x00]")
_BLANKS = b" \t\n\r\x0b\x0c"
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
        root = self.root.removesuffix("/v1") if self.stands_for_v1 and _FOREIGN.fullmatch(path) else self.root
        if self.stands_for_v1 and (path == "/v1" or path.startswith("/v1/")):
            path = path.removeprefix("/v1")
        query = "&".join(part for part in (self.query, query) if part)
        target = quote(path + ("?" + query if query else ""), safe=_TARGET_CHARACTERS, encoding="latin-1")
        return root + target


def validate_path(path: str) -> str:
    """Return a path that may be forwarded: as it came, but for a doubled slash in front of one of ours. Raises NotFound
    for one that hides where it leads."""
    if path.startswith("//") and _is_ours(path[1:].removesuffix("/")):
        return path[1:]
    if _is_ours(_normalized(path)) and not _is_ours(path.removesuffix("/")):
        raise NotFound("This spelling of the path leads nowhere.")
    return path


def _normalized(path: str) -> str:
    """Return a path as the most lenient server reads it: decoded, without parameters, empty segments, case, and what
    stands around a name. Raises NotFound for dot segments, and for escapes within escapes."""
    plain = path.encode("latin-1", "replace")
    for _ in range(MOST_DECODINGS):
        decoded = unquote_to_bytes(plain)
        if decoded == plain:
            break
        plain = decoded
    else:
        raise NotFound("A path that is escaped again and again leads nowhere.")
    plain = _END_OF_PATH.split(plain, maxsplit=1)[0].replace(b"\\", b"/")
    segments = [segment.partition(b";")[0].strip(_BLANKS) for segment in plain.split(b"/")]
    if b"." in segments or b".." in segments:
        raise NotFound("A path with dot segments leads nowhere.")
    text = "/".join(name.decode("utf-8", "replace") for segment in segments if (name := segment.rstrip(_BLANKS + b".")))
    return "/" + unicodedata.normalize("NFKC", text).casefold()


def _is_ours(path: str) -> bool:
    return bool(_OURS.fullmatch(path) or _OURS.fullmatch("/v1" + path))
