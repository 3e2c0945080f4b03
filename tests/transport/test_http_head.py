"""Heads of replies in every cut, and heads of requests."""

from __future__ import annotations

import pytest

from argoproxy.errors import UpstreamProtocolError
from argoproxy.transport.framing import BodyReader, ChunkedReader, ContentLengthReader, UntilCloseReader
from argoproxy.transport.http_head import HEAD_LIMIT, LINE_LIMIT, HeadReader, ReplyHead, encode_request
from tests.support.growth import assert_linear

PLAIN = b"HTTP/1.1 200 OK\r\nContent-Type: a/b\r\nContent-Length: 5\r\n\r\nhello"
FIELDS = (("Content-Type", "a/b"), ("Content-Length", "5"))


def read(data: bytes, *more: bytes) -> tuple[ReplyHead | None, bytes]:
    """Return the head in some bytes and what follows it."""
    reader = HeadReader()
    for piece in (data, *more):
        head = reader.feed(piece)
    return head, reader.take_rest()


def read_whole(data: bytes) -> ReplyHead:
    head, _ = read(data)
    assert head
    return head


@pytest.mark.parametrize("data", [PLAIN, PLAIN.replace(b"\r\n", b"\n"), PLAIN.replace(b"\r\n\r\n", b"\r\n\n")])
def test_a_head_is_the_same_in_every_cut(data: bytes) -> None:
    for at in range(1, len(data) - len(b"hello")):
        head, rest = None, b""
        reader = HeadReader()
        for piece in (data[:at], data[at:]):
            head = head or reader.feed(piece)
        rest = reader.take_rest()
        assert (head, rest) == (ReplyHead(200, FIELDS, keeps_open=True), b"hello"), at


def test_a_head_is_read_byte_by_byte() -> None:
    reader = HeadReader()
    heads = [reader.feed(bytes([byte])) for byte in PLAIN[: -len(b"hello")]]
    assert [head for head in heads if head] == [ReplyHead(200, FIELDS, keeps_open=True)]


def test_interim_heads_come_one_after_the_other() -> None:
    reader = HeadReader()
    first = reader.feed(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + PLAIN)
    second = reader.feed(b"")
    assert (first and first.status, second and second.status, reader.take_rest()) == (103, 200, b"hello")


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/2 200 OK\r\n",
        b"HTTP/1.1 99 X\r\n",
        b"HTTP/1.1 600 X\r\n",
        b"HTTP/1.1 2000 X\r\n",
        b"HTTP/1.1 200OK\r\n",
        b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno field\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX Y: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX : x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n folded: first\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\rB: c\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: x\r\n" * 101 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * LINE_LIMIT + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * LINE_LIMIT,
        b"HTTP/1.1 200 OK\r\n" + b"X: x\r\n" * (HEAD_LIMIT // 6 + 1),
    ],
)
def test_a_head_that_is_invalid_or_too_long_is_refused(data: bytes) -> None:
    with pytest.raises(UpstreamProtocolError):
        read(data)


@pytest.mark.parametrize(
    ("begun", "code"),
    [
        (b"", "upstream_disconnected"),
        (b"HTTP/1.", "upstream_protocol_error"),
        (b"HTTP/1.1 200 O", "upstream_reply_cut_short"),
        (b"HTTP/1.1 200 OK\r\nX: y\r\n", "upstream_reply_cut_short"),
    ],
)
def test_the_end_of_the_connection_is_an_error(begun: bytes, code: str) -> None:
    reader = HeadReader()
    assert reader.feed(begun) is None
    with pytest.raises(UpstreamProtocolError) as raised:
        reader.end()
    assert raised.value.code == code


@pytest.mark.parametrize(
    ("data", "is_begun"), [(b"", False), (b"H", True), (b"HTTP/1.1 2", True), (b"x", False), (b"0\r", False)]
)
def test_bytes_count_as_a_reply_if_they_can_be_one(data: bytes, is_begun: bool) -> None:
    reader = HeadReader()
    reader.feed(data)
    assert reader.is_begun is is_begun


def test_a_folded_line_keeps_its_break() -> None:
    """So the field is dropped later, as every field that can't be sent on."""
    assert read_whole(b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n").fields == (("X", "a\r\n b"),)


@pytest.mark.parametrize(
    ("version", "fields", "keeps_open"),
    [
        ("1.1", "", True),
        ("1.1", "Connection: close\r\n", False),
        ("1.1", "Connection: x, Close\r\n", False),
        ("1.0", "", False),
        ("1.0", "Connection: Keep-Alive\r\n", True),
        ("1.9", "", True),
    ],
)
def test_a_head_tells_whether_the_connection_stays_open(version: str, fields: str, keeps_open: bool) -> None:
    assert read_whole(f"HTTP/{version} 200 OK\r\n{fields}\r\n".encode()).keeps_open is keeps_open


@pytest.mark.parametrize(
    ("method", "status", "fields", "kind", "is_reusable"),
    [
        ("GET", 200, "Content-Length: 3\r\n", ContentLengthReader, True),
        ("GET", 200, "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n", ChunkedReader, True),
        ("GET", 200, "", UntilCloseReader, True),
        ("HEAD", 200, "Content-Length: 0\r\n", ContentLengthReader, True),
        ("HEAD", 200, "Content-Length: 3\r\n", ContentLengthReader, False),
        ("GET", 204, "", ContentLengthReader, True),
        ("GET", 304, "Transfer-Encoding: chunked\r\n", ContentLengthReader, False),
        ("GET", 304, "Content-Type: a/b\r\n", ContentLengthReader, False),
        ("GET", 200, "Connection: close\r\nContent-Length: 3\r\n", ContentLengthReader, False),
    ],
)
def test_a_head_tells_how_its_body_ends(
    method: str, status: int, fields: str, kind: type[BodyReader], is_reusable: bool
) -> None:
    head = read_whole(f"HTTP/1.1 {status} X\r\n{fields}\r\n".encode())
    assert isinstance(head.body_reader(method), kind)
    assert head.is_reusable(method) is is_reusable


def test_a_request_is_written_as_it_is_given() -> None:
    fields = [("Host", "a:1"), ("X", "\xe9")]
    assert encode_request("GET", "/a%2Fb", fields) == b"GET /a%2Fb HTTP/1.1\r\nHost: a:1\r\nX: \xe9\r\n\r\n"


@pytest.mark.parametrize("value", ["a\r\nB: c", "a\nb", "a\rb", "\u20ac"])
def test_a_field_that_would_break_a_request_is_refused(value: str) -> None:
    with pytest.raises(UpstreamProtocolError):
        encode_request("GET", "/", [("X", value)])


def test_a_head_in_single_bytes_takes_linear_time() -> None:
    def read_slowly(size: int) -> None:
        reader = HeadReader()
        for byte in b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * size:
            reader.feed(bytes([byte]))

    assert_linear(read_slowly, 2000)
