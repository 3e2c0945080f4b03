"""Whether the scanner and Gunicorn's parser agree on what is complete, in requests that are mangled at random."""

from __future__ import annotations

import random
from typing import Any

from gunicorn.config import Config
from gunicorn.http.errors import NoMoreData, ParseException
from gunicorn.http.parser import RequestParser

from argoproxy.workers.request_scanner import RequestScanner, RequestState

CASES = 5000
REQUESTS = (
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello",
    b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nTrailer: t\r\n\r\n",
    b"POST / HTTP/1.0\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc",
    b"\r\nPOST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
)
PIECES = (
    *(bytes([byte]) for byte in b"\r\n \t:,;+_05\x00\x0b\xb2"),
    *(b"\r\n", b"\r\n\r\n", b"0\r\n\r\n", b"chunked", b"identity", REQUESTS[0]),
    *(b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n", b"Expect: 100-continue\r\n"),
)


class MissingBytes(Exception):
    """The parser asked for more than was sent."""


class Sent:
    """What a client has sent, as a socket that a parser reads from."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def recv(self, size: int) -> bytes:
        if not self._data:
            raise MissingBytes
        piece, self._data = self._data[:size], self._data[size:]
        return piece


def parse(data: bytes, config: Any) -> str:
    try:
        request = next(RequestParser(config, Sent(data), ("127.0.0.1", 1)))
        while request.body.read(65_536):
            pass
    except (MissingBytes, NoMoreData):
        return "incomplete"
    except (ParseException, OSError, ValueError):
        return "refused"
    return "complete"


def mangle(rng: random.Random) -> bytes:
    data = bytearray(rng.choice(REQUESTS))
    for _ in range(rng.choice((0, 1, 1, 2, 3))):
        place = rng.randrange(len(data) + 1)
        data[place : place + rng.choice((0, 0, 1, 3))] = rng.choice((b"", *PIECES))
    return bytes(data[: rng.choice((len(data), rng.randrange(1, len(data) + 1)))]) or b"\r"


def test_the_scanner_waits_for_what_the_parser_lacks_and_for_nothing_else() -> None:
    rng, config = random.Random(1), Config()
    seen = set()
    for _ in range(CASES):
        data = mangle(rng)
        parsed, progress = parse(data, config), RequestScanner().feed(data)
        seen.add(parsed)
        if parsed == "complete":
            assert progress in (RequestState.READY, RequestState.ODD), data
        elif parsed == "incomplete":
            assert progress is not RequestState.READY, data
    assert seen == {"complete", "incomplete", "refused"}
