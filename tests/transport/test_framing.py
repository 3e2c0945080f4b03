from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argoproxy.errors import UpstreamProtocolError
from argoproxy.protocol.http_messages import Headers
from argoproxy.transport.framing import (
    INFLATED_PIECE,
    LINE_LIMIT,
    BodyReader,
    ChunkedReader,
    ContentLengthReader,
    Decompressor,
    UntilCloseReader,
    content_length,
    is_chunked,
    normalize_length,
)
from tests.support.cuts import cut_at, cuts, places


def fed(framing: BodyReader, pieces: Iterable[bytes]) -> bytes:
    return b"".join(framing.feed(piece) for piece in pieces)


CHUNKED = {
    b"3\r\none\r\n10\r\n0123456789abcdef\r\n0\r\n\r\n": b"one0123456789abcdef",
    b"0\r\n\r\n": b"",
    b"3 ; x=1\r\none\r\n0;y\r\nA: b\r\nC: d\r\n\r\n": b"one",
    b"3\none\n0\n\n": b"one",
    b"0003\r\n\r\n\x00\r\n0\r\n\r\n": b"\r\n\x00",
}


@pytest.mark.parametrize(("wire", "body"), CHUNKED.items())
def test_chunks_in_any_cut(wire: bytes, body: bytes) -> None:
    for pieces in cuts(wire):
        framing = ChunkedReader()
        assert fed(framing, pieces) == body
        assert framing.done
        assert not framing.surplus
        framing.end()


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=6), places)
def test_random_chunks_in_random_cuts(chunks: list[bytes], at: list[int]) -> None:
    wire = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
    framing = ChunkedReader()
    assert fed(framing, cut_at(wire, at)) == b"".join(chunks)
    assert framing.done


@pytest.mark.parametrize(
    "wire", [b"x\r\n", b"\r\n", b"-1\r\n", b"0x3\r\n", b"1_0\r\n", b"3\r\nfour\r\n", b"f" * 17 + b"\r\n"]
)
def test_broken_chunks_are_told(wire: bytes) -> None:
    for pieces in cuts(wire):
        with pytest.raises(UpstreamProtocolError, match="broken chunk"):
            fed(ChunkedReader(), pieces)


@pytest.mark.parametrize("wire", [b"3\r\nonex", b"3\r\none\rx", b"1\r\nxxx"])
def test_a_chunk_that_goes_on_is_told_at_once(wire: bytes) -> None:
    for pieces in cuts(wire):
        with pytest.raises(UpstreamProtocolError, match="broken chunk"):
            fed(ChunkedReader(), pieces)


def test_lines_without_an_end_are_bounded() -> None:
    with pytest.raises(UpstreamProtocolError, match="broken chunk"):
        fed(ChunkedReader(), [b"1" * LINE_LIMIT, b"1"])
    with pytest.raises(UpstreamProtocolError, match="too long a trailer"):
        fed(ChunkedReader(), [b"0\r\n", *([b"A: " + b"b" * 1000 + b"\r\n"] * 100)])


@pytest.mark.parametrize("wire", [b"", b"3", b"3\r\non", b"3\r\none", b"3\r\none\r\n", b"0\r\n", b"0\r\nA: b\r\n"])
def test_chunks_that_stop_too_early_are_told(wire: bytes) -> None:
    framing = ChunkedReader()
    framing.feed(wire)
    with pytest.raises(UpstreamProtocolError) as caught:
        framing.end()
    assert caught.value.code == "upstream_reply_cut_short"


def test_bytes_behind_the_end_are_surplus() -> None:
    chunked, counted = ChunkedReader(), ContentLengthReader(3)
    assert chunked.feed(b"0\r\n\r\nHTTP/1.1") == b""
    assert counted.feed(b"oneHTTP/1.1") == b"one"
    assert chunked.surplus
    assert counted.surplus


def test_a_counted_body() -> None:
    for pieces in cuts(b"hello"):
        framing = ContentLengthReader(5)
        assert fed(framing, pieces) == b"hello"
        assert framing.done
        framing.end()
    assert ContentLengthReader(0).done
    short = ContentLengthReader(5)
    short.feed(b"hell")
    with pytest.raises(UpstreamProtocolError):
        short.end()


def test_a_body_until_the_connection_closes() -> None:
    framing = UntilCloseReader()
    assert fed(framing, [b"one", b"two"]) == b"onetwo"
    assert not framing.done
    framing.end()
    assert framing.done


def deflated_without_header(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


TEXT = b"hello, hello, hello! " * 5
CODED = {
    "gzip": ("gzip", gzip.compress(TEXT, mtime=0)),
    "x-gzip": ("x-gzip", gzip.compress(TEXT, mtime=0)),
    "two gzip members": ("gzip", gzip.compress(TEXT[:40], mtime=0) + gzip.compress(TEXT[40:], mtime=0)),
    "gzip and padding": ("gzip", gzip.compress(TEXT, mtime=0) + b"\0\0\0"),
    "deflate": ("deflate", zlib.compress(TEXT)),
    "deflate and padding": ("deflate", zlib.compress(TEXT) + b"\0\0\0"),
    "bare deflate": ("deflate", deflated_without_header(TEXT)),
}


@pytest.mark.parametrize(("coding", "wire"), CODED.values(), ids=CODED.keys())
def test_codings_in_any_cut(coding: str, wire: bytes) -> None:
    for pieces in cuts(wire):
        inflate = Decompressor(coding)
        assert b"".join(part for piece in pieces for part in inflate.feed(piece)) == TEXT
        inflate.end()


def test_what_arrived_is_given_before_the_rest_is_here() -> None:
    packer = zlib.compressobj(wbits=zlib.MAX_WBITS | 16)
    inflate = Decompressor("gzip")
    first = packer.compress(b"one") + packer.flush(zlib.Z_SYNC_FLUSH)
    assert b"".join(inflate.feed(first)) == b"one"


def test_a_bomb_comes_in_bounded_pieces() -> None:
    wire = gzip.compress(bytes(50_000_000))
    sizes = [len(piece) for piece in Decompressor("gzip").feed(wire)]
    assert sum(sizes) == 50_000_000
    assert max(sizes) <= INFLATED_PIECE


def test_codings_that_stop_too_early_are_told() -> None:
    inflate = Decompressor("gzip")
    list(inflate.feed(gzip.compress(TEXT)[:-4]))
    with pytest.raises(UpstreamProtocolError) as caught:
        inflate.end()
    assert caught.value.code == "upstream_reply_cut_short"


def test_an_empty_body_has_no_coding_to_be_broken() -> None:
    Decompressor("gzip").end()


def test_broken_and_unknown_codings_are_told() -> None:
    with pytest.raises(UpstreamProtocolError, match="broken compressed"):
        list(Decompressor("gzip").feed(b"no gzip at all"))
    with pytest.raises(UpstreamProtocolError, match="br"):
        Decompressor("br")


CODING, LENGTH = "Transfer-Encoding", "Content-Length"


@pytest.mark.parametrize(
    ("headers", "chunked", "length", "told"),
    [
        ((), False, None, ()),
        (((LENGTH, "5"),), False, 5, ("5",)),
        (((LENGTH, " 0\t"),), False, 0, ("0",)),
        (((LENGTH, "5, 5"),), False, 5, ("5",)),
        (((LENGTH, "5"), ("X", "y"), (LENGTH.lower(), "5")), False, 5, ("5",)),
        (((CODING, "chunked"),), True, None, ()),
        (((CODING, " Chunked\t"), (LENGTH, "5")), True, 5, ()),
        (((CODING, "identity"), (LENGTH, "5")), False, 5, ("5",)),
        (((CODING, "identity, chunked"),), True, None, ()),
    ],
)
def test_how_a_head_frames_its_body(headers: Headers, chunked: bool, length: int | None, told: tuple[str, ...]) -> None:
    assert (is_chunked(headers), content_length(headers)) == (chunked, length)
    travelling = normalize_length(headers)
    assert tuple(value for name, value in travelling if name.lower() == "content-length") == told
    assert [name for name, _ in travelling if name == "X"] == [name for name, _ in headers if name == "X"]


LENGTHS = ["", "abc", "-5", "+5", "1_0", "5.0", "5 5", "0x5", "\u0665", "5" * 5000, "5,", "5, 6", "5, 05"]
CODINGS = ["", "xchunked", "gzip, chunked", "chunked, gzip", "chunked, chunked", "chunked;x=y", "gzip"]
BROKEN_HEADS: list[Headers] = [
    *(((LENGTH, length),) for length in LENGTHS),
    ((LENGTH, "5"), (LENGTH, "6")),
    *(((CODING, coding),) for coding in CODINGS),
    ((CODING, "chunked"), (CODING, "chunked")),
]


@pytest.mark.parametrize("headers", BROKEN_HEADS)
def test_a_head_that_leaves_the_end_of_its_body_open_is_refused(headers: Headers) -> None:
    with pytest.raises(UpstreamProtocolError):
        normalize_length(headers)
