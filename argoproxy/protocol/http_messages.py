"""What comes from a client and goes back, and which headers may travel.

Sources: RFC 9110 section 7.6.1 (hop-by-hop), RFC 9112, WHATWG HTML section 9.2 (event streams).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from argoproxy.errors import PayloadTooLarge

Headers = tuple[tuple[str, str], ...]

_UNSAFE_HEADER = re.compile(r"[^\t\x20-\x7e\x80-\xff]")
_URL = re.compile(r"https?://[\x21-\x7e]+", re.IGNORECASE)
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


class Body(Protocol):
    """A request body still on its way."""

    @property
    def length(self) -> int | None:
        """Bytes announced; None when the client sends chunks."""

    def read(self, limit: int) -> bytes:
        """Take all of it. Raises PayloadTooLarge over limit bytes, ClientGone when it stays short."""

    def iter_bytes(self) -> Iterator[bytes]:
        """Take it as it comes. Raises ClientGone when it stays short."""


@dataclass(frozen=True, slots=True)
class BytesBody:
    """A request body that was read already."""

    text: bytes

    @property
    def length(self) -> int:
        return len(self.text)

    def read(self, limit: int) -> bytes:
        """Give it, whatever its length."""
        return self.text

    def iter_bytes(self) -> Iterator[bytes]:
        """Give it in one piece."""
        yield self.text


@dataclass(frozen=True, slots=True)
class PartlyReadBody:
    """A request body of which more was read than is wanted at once; `length` is that of all of it."""

    taken: Sequence[bytes]
    rest: Iterator[bytes]
    length: int | None

    def read(self, limit: int) -> bytes:
        """Take all of it. Raises PayloadTooLarge over limit bytes."""
        parts, size = [], 0
        for piece in self.iter_bytes():
            parts.append(piece)
            size += len(piece)
            if size > limit:
                raise PayloadTooLarge(f"The request body is longer than {limit} bytes.")
        return b"".join(parts)

    def iter_bytes(self) -> Iterator[bytes]:
        """Give what was read, then the rest as it comes."""
        yield from self.taken
        yield from self.rest


def read_up_to(body: Body, limit: int) -> Body:
    """Read a body if it has no more than limit bytes; else give it with what was read of it."""
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
    """A request as it came: `path` and `query` with their escapes, headers with repeated ones joined but without any
    that carried a key of ours; `caller` is the name of that key."""

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
    """What the client is to get. A body that is an iterable goes out piece by piece."""

    status: int
    headers: Headers
    body: bytes | Iterable[bytes]


def get_header(headers: Headers, name: str, default: str = "") -> str:
    """Find the first value of a field; name in lower case."""
    return next((value for key, value in headers if key.lower() == name), default)


def list_members(headers: Headers, name: str) -> list[str]:
    """Give the members of a field that is a list (RFC 9110 section 5.6.1), in lower case as the name."""
    values = [value for key, value in headers if key.lower() == name]
    return [member.strip(" \t").lower() for value in values for member in value.split(",")]


def check_head(method: object, url: object, headers: Iterable[tuple[str, object]]) -> None:
    """See that a request with this head can be sent. Raises ValueError."""
    if not isinstance(method, str) or not _TOKEN.fullmatch(method):
        raise ValueError(f"{method!r} is no method")
    if not isinstance(url, str) or not _URL.fullmatch(url):
        raise ValueError("its URL is no http URL, or holds a blank or a character that has to be escaped")
    for name, value in headers:
        if not _TOKEN.fullmatch(name) or _UNSAFE_HEADER.search(str(value)):
            raise ValueError(f"the header {name!r} can't be sent")


def drop_unsendable(headers: Iterable[tuple[str, str]]) -> Headers:
    """Return the fields that a head can hold (RFC 9110 section 5.5), unchanged. The others are dropped: a proxy that
    rewrites a value says something that nobody said."""
    return tuple(
        (name, value) for name, value in headers if _TOKEN.fullmatch(name) and not _UNSAFE_HEADER.search(value)
    )


def without(headers: Iterable[tuple[str, str]], names: frozenset[str]) -> Headers:
    """Leave out the fields of these names; names in lower case."""
    return tuple((name, value) for name, value in headers if name.lower() not in names)
