"""HTTP requests and responses of clients, and header fields (RFC 9110, RFC 9112)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

from argoproxy.errors import PayloadTooLarge

Headers = tuple[tuple[str, str], ...]

_UNSAFE_HEADER = re.compile(r"[^\t\x20-\x7e\x80-\xff]")
_URL = re.compile(r"https?://[\x21-\x7e]+", re.IGNORECASE)
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


class Body(Protocol):
    """A request body that is still being received."""

    @property
    def length(self) -> int | None:
        """The Content-Length, None if the body is chunked."""

    def read(self, limit: int) -> bytes:
        """Read all of it. Raises PayloadTooLarge over limit bytes, ClientGone if it ends too soon."""

    def iter_bytes(self) -> Iterator[bytes]:
        """Yield it as it arrives. Raises ClientGone if it ends too soon."""


@dataclass(frozen=True, slots=True)
class BytesBody:
    """A request body in memory."""

    text: bytes

    @property
    def length(self) -> int:
        return len(self.text)

    def read(self, limit: int) -> bytes:
        """Return it, whatever its length."""
        return self.text

    def iter_bytes(self) -> Iterator[bytes]:
        """Yield it in one piece."""
        yield self.text


@dataclass(frozen=True, slots=True)
class PartlyReadBody:
    """A request body that was too long to read at once: the pieces read so far, and the rest."""

    taken: Sequence[bytes]
    rest: Iterator[bytes]
    length: int | None

    def read(self, limit: int) -> bytes:
        """Read all of it. Raises PayloadTooLarge over limit bytes."""
        parts, size = [], 0
        for piece in self.iter_bytes():
            parts.append(piece)
            size += len(piece)
            if size > limit:
                raise PayloadTooLarge(f"The request body is longer than {limit} bytes.")
        return b"".join(parts)

    def iter_bytes(self) -> Iterator[bytes]:
        """Yield what was read, then the rest as it arrives."""
        yield from self.taken
        yield from self.rest


def read_up_to(body: Body, limit: int) -> Body:
    """Read a body if it has no more than limit bytes; a longer one is returned with what was read of it."""
    if (body.length or 0) > limit:
        return body
    taken, size, rest = list[bytes](), 0, body.iter_bytes()
    for piece in rest:
        taken.append(piece)
        size += len(piece)
        if size > limit:
            return PartlyReadBody(taken, rest, body.length)
    return BytesBody(b"".join(taken))


@dataclass(frozen=True, slots=True)
class ClientRequest:
    """A request as received: `path` and `query` with their escapes, repeated headers joined, the proxy's own keys
    removed. `caller` is the name of the caller's key."""

    id: str
    created: int
    method: str
    path: str
    query: str
    headers: Headers
    body: Body
    caller: str = ""


@dataclass(frozen=True, slots=True)
class ClientResponse:
    """A response to a client. An iterable body is sent piece by piece."""

    status: int
    headers: Headers
    body: bytes | Iterable[bytes]


def get_header(headers: Headers, name: str, default: str = "") -> str:
    """Return the first value of a field; name in lower case."""
    length = len(name)
    for key, value in headers:  # no generator, and few names in lower case: this runs a dozen times a request
        if len(key) == length and key.lower() == name:
            return value
    return default


def list_members(headers: Headers, name: str) -> list[str]:
    """Return the members of a field that is a list (RFC 9110 section 5.6.1), in lower case as the name."""
    length, members = len(name), list[str]()
    for key, value in headers:
        if len(key) == length and key.lower() == name:
            members += [member.strip(" \t").lower() for member in value.split(",")]
    return members


def check_head(method: object, url: object, headers: Iterable[tuple[str, object]]) -> None:
    """Check that a request with this head can be sent. Raises ValueError."""
    if not isinstance(method, str) or not _TOKEN.fullmatch(method):
        raise ValueError(f"{method!r} is not a method")
    if not isinstance(url, str) or not _URL.fullmatch(url):
        raise ValueError("its URL is not an http URL, or contains a character that must be escaped")
    for name, value in headers:
        if not _TOKEN.fullmatch(name) or _UNSAFE_HEADER.search(str(value)):
            raise ValueError(f"the header {name!r} can't be sent")


def drop_unsendable(headers: Iterable[tuple[str, str]]) -> Headers:
    """Return the fields that a head can contain (RFC 9110 section 5.5), unchanged. The others are dropped and not
    repaired: a repaired value would be one that no server sent."""
    return tuple([field for field in headers if _is_token(field[0]) and _is_sendable(field[1])])


@lru_cache(maxsize=512)
def _is_token(name: str) -> bool:
    return bool(_TOKEN.fullmatch(name))


def _is_sendable(value: str) -> bool:
    return (value.isascii() and value.isprintable()) or not _UNSAFE_HEADER.search(value)


def without(headers: Iterable[tuple[str, str]], names: frozenset[str]) -> Headers:
    """Return the fields without those of these names; names in lower case."""
    return tuple([field for field in headers if field[0].lower() not in names])
