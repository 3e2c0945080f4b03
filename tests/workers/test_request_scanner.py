"""Where a request ends, in every cut of its bytes."""

from __future__ import annotations

import tracemalloc

import pytest

from argoproxy.workers.request_scanner import BODY_LIMIT, HEAD_LIMIT, LINE_LIMIT, RequestScanner, RequestState

GET = b"GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\ncontent-LENGTH:  5 \r\n\r\nhello"
CHUNKS = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nTrailer: t\r\n\r\n"
STACKED = CHUNKS.replace(b"chunked", b"gzip, Chunked")
AFTER_LINE = b"\r\n" + GET


def progress_of(*pieces: bytes) -> list[RequestState]:
    """Feed pieces, and return the progress after each of them."""
    scanner = RequestScanner()
    return [scanner.feed(piece) for piece in pieces]


@pytest.mark.parametrize("request_bytes", [GET, POST, CHUNKS, STACKED, AFTER_LINE, POST + GET])
def test_a_request_is_ready_with_its_last_byte_and_not_before(request_bytes: bytes) -> None:
    whole = len(POST) if request_bytes == POST + GET else len(request_bytes)
    for cut in range(1, whole):
        early, late = progress_of(request_bytes[:cut], request_bytes[cut:])
        assert early in (RequestState.HEAD, RequestState.BODY)
        assert late is RequestState.READY
    single = progress_of(*(request_bytes[place : place + 1] for place in range(whole)))
    assert single[-1] is RequestState.READY
    assert RequestState.READY not in single[:-1]


def test_what_was_fed_is_given_back_whole() -> None:
    scanner = RequestScanner()
    for place in range(len(POST)):
        scanner.feed(POST[place : place + 1])
    assert (len(scanner), scanner.received) == (len(POST), len(POST))
    assert scanner.take() == POST
    assert len(scanner) == 0


def test_small_pieces_take_no_more_memory_than_large_ones() -> None:
    head = b"POST / HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n"

    def memory(piece_size: int) -> int:
        scanner = RequestScanner()
        scanner.feed(head)
        tracemalloc.start()
        for _ in range(100_000 // piece_size):
            scanner.feed(bytes(bytearray(piece_size)))
        size, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return size

    assert memory(2) < 2 * memory(50_000)


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET / HTTP/1.1\nHost: x\n\n",
        b"GET /" + b"x" * (LINE_LIMIT + 10),
        b"POST / HTTP/1.1\r\nContent-Length: +5\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"POST / HTTP/1.1\r\nExpect: 100-continue\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
    ],
)
def test_what_the_parser_refuses_is_not_waited_for(request_bytes: bytes) -> None:
    assert progress_of(request_bytes)[-1] is RequestState.ODD


def test_a_head_has_a_limit() -> None:
    fields = b"X-A: " + b"y" * 8000 + b"\r\n"
    endless = b"GET / HTTP/1.1\r\n" + fields * (HEAD_LIMIT // len(fields) + 1)
    assert progress_of(endless[:HEAD_LIMIT], endless[HEAD_LIMIT:]) == [RequestState.HEAD, RequestState.LONG_HEAD]
    assert progress_of(endless + b"\r\n") == [RequestState.LONG_HEAD]


def test_a_long_body_is_not_collected() -> None:
    head = b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n"
    assert progress_of(head % (BODY_LIMIT + 1)) == [RequestState.LONG_BODY]
    assert progress_of(head % BODY_LIMIT, b"x" * BODY_LIMIT) == [RequestState.BODY, RequestState.READY]


def test_a_long_body_in_chunks_is_not_collected() -> None:
    scanner = RequestScanner()
    scanner.feed(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
    chunk = b"10000\r\n" + b"x" * 65_536 + b"\r\n"
    seen = [scanner.feed(chunk) for _ in range(BODY_LIMIT // 65_536 + 1)]
    assert seen[0] is RequestState.BODY
    assert seen[-1] is RequestState.LONG_BODY
    assert scanner.follow(b"3\r\nabc\r\n") is RequestState.LONG_BODY, "once long, it stays long"
    kept = len(scanner)
    assert scanner.follow(b"0\r\n\r\n") is RequestState.READY
    assert len(scanner) == kept, "what somebody else keeps is only counted"


def test_a_client_that_waits_for_continue_is_not_waited_for() -> None:
    head = b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
    assert progress_of(head) == [RequestState.LONG_BODY]
    assert progress_of(head + b"hello") == [RequestState.READY]


@pytest.mark.parametrize(
    ("line", "probe"),
    [
        ("GET /health/live HTTP/1.1", "health/live"),
        ("HEAD /health/live/ HTTP/1.1", "health/live"),
        ("GET /health/ready HTTP/1.1", "health/ready"),
        ("HEAD /health/ready?x HTTP/1.1", "health/ready"),
        ("GET /health/readyz HTTP/1.1", "health"),
        ("GET /health HTTP/1.1", "health"),
        ("GET /metrics?a=b HTTP/1.1", "metrics"),
        ("POST /health HTTP/1.1", ""),
        ("GET /healthy HTTP/1.1", ""),
        ("GET /v1/models HTTP/1.1", ""),
    ],
)
def test_probes_are_known_by_their_request_line(line: str, probe: str) -> None:
    scanner = RequestScanner()
    scanner.feed(f"{line}\r\nHost: x\r\n\r\n".encode())
    assert scanner.probe == probe


def test_what_has_a_body_is_no_probe() -> None:
    scanner = RequestScanner()
    scanner.feed(b"GET /health/live HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello")
    assert (scanner.progress, scanner.probe) == (RequestState.READY, "")
