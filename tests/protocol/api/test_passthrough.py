from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from argoproxy.errors import Ending, UpstreamProtocolError
from argoproxy.protocol.api.endpoints import CHAT
from argoproxy.protocol.api.passthrough import LONGEST_METERED, end_with_error_event, record_reply
from argoproxy.protocol.api.stream_end import LONGEST_LINE
from argoproxy.protocol.messages.endpoint import MESSAGES
from argoproxy.protocol.responses.responses_endpoint import RESPONSES
from tests.support.cuts import cuts
from tests.support.doubles import FakeProgress

STREAM = (("Content-Type", "text/event-stream; charset=utf-8"),)
JSON = (("Content-Type", "application/json"),)
USAGE = b'"usage" : {"prompt_tokens": 3}'
EVENTS = b': hi\n\ndata: {"choices": []}\n\ndata: {"choices": [], ' + USAGE + b"}\n\ndata: [DONE]\n\n"


def heard(pieces: list[bytes], headers: Any) -> list[Any]:
    progress = FakeProgress()
    assert b"".join(record_reply(pieces, headers, CHAT, progress)) == b"".join(pieces)
    return progress.usages


@pytest.mark.parametrize(("body", "headers"), [(EVENTS, STREAM), (b'{"a": 1, ' + USAGE + b"}", JSON)])
def test_usage_is_overheard_in_every_cut(body: bytes, headers: Any) -> None:
    for pieces in cuts(body):
        assert heard(pieces, headers) == [{"prompt_tokens": 3}]


@pytest.mark.parametrize(
    ("pieces", "headers"),
    [
        ([b"<html>"], JSON),
        ([b"{" + USAGE], JSON),
        ([b"{" + USAGE + b"}", b" " * LONGEST_METERED, b" "], JSON),
        ([b"data: {" + USAGE + b"\n\n", b"data: {" + USAGE + b"}\n\n"], STREAM),
        ([b"x" * LONGEST_METERED, b"xx", b"\n\n"], STREAM),
        ([b""], STREAM),
    ],
)
def test_what_can_not_be_read_is_passed_on_all_the_same(pieces: list[bytes], headers: Any) -> None:
    assert heard(pieces, headers) == []


@pytest.mark.parametrize(
    ("endpoint", "body", "ending"),
    [
        (RESPONSES, b'{"status":"failed","error":{"code":"server_error","message":"m"}}', Ending.UPSTREAM_ERROR),
        (RESPONSES, b'{"status":"failed","error":null}', Ending.UPSTREAM_ERROR),
        (RESPONSES, b'{"status":"completed","error":null}', None),
        (RESPONSES, b'{"status":"incomplete"}', None),
        (MESSAGES, b'{"type":"error","error":{"type":"api_error","message":"m"}}', Ending.UPSTREAM_ERROR),
        (MESSAGES, b'{"type":"message","content":[]}', None),
        (CHAT, b'{"error":{"message":"m"}}', Ending.UPSTREAM_ERROR),
        (CHAT, b'{"choices":[]}', None),
        (CHAT, b'["error"]', None),
    ],
)
def test_a_document_that_says_that_it_failed_is_recorded_as_failed(
    endpoint: Any, body: bytes, ending: Ending | None
) -> None:
    for pieces in cuts(body):
        progress = FakeProgress()
        assert b"".join(record_reply(pieces, JSON, endpoint, progress)) == body
        assert progress.ending == ending


def broken(*pieces: bytes) -> Iterator[bytes]:
    yield from pieces
    raise UpstreamProtocolError("broke")


@pytest.mark.parametrize(
    ("body", "passed"),
    [
        (b"data: 1\n\n", b"data: 1\n\n"),
        (b"data: 1\r\n\r\n", b"data: 1\r\n\r\n"),
        (b"data: 1\n", b"data: 1\n\n\n"),
        (b"data: 1\r", b"data: 1\r\n\n"),
        (b"data: {", b""),
        (b": hi\n\nid: 1\r\nevent: x\r\ndata: {", b": hi\n\n"),
        (b"data: 1\n\nevent: x\nretry: 1\n", b"data: 1\n\n"),
        (b"data: 1\n" + b"id: 1\n" * 6, b"data: 1\nid: 1\nid: 1\n\n\n"),
    ],
)
def test_a_stream_that_breaks_says_so(body: bytes, passed: bytes) -> None:
    for pieces in cuts(body):
        progress = FakeProgress()
        out = b"".join(end_with_error_event(broken(*pieces, b""), STREAM, CHAT, progress))
        assert out.startswith(passed + b'data: {"error":{"message":"broke"')
        assert str(progress.error) == "broke"


def test_a_very_long_line_is_passed_on_in_pieces() -> None:
    piece = b"x" * (LONGEST_LINE // 4)
    passed = list(end_with_error_event([piece] * 9, STREAM, CHAT, FakeProgress()))
    assert [len(one) // len(piece) for one in passed] == [0, 0, 0, 0, 0, 6, 0, 0, 0, 3]


@pytest.mark.parametrize("pieces", [[b"data: 1\n\ndata: [DONE]\n\n"], [b"data: [DO", b"NE]\n\n"], [b"data: [DONE]"]])
def test_behind_done_there_is_no_last_word(pieces: list[bytes]) -> None:
    progress = FakeProgress()
    assert b"".join(end_with_error_event(broken(*pieces), STREAM, CHAT, progress)) == b"".join(pieces)
    assert progress.error is None
    with pytest.raises(UpstreamProtocolError):
        list(end_with_error_event(broken(*pieces), (*STREAM, ("Content-Length", "99")), CHAT, progress))


@pytest.mark.parametrize(
    "headers", [JSON, (*STREAM, ("Content-Length", "9")), (*STREAM, ("Content-Encoding", "gzip")), ()]
)
def test_where_nothing_can_be_added_the_break_is_a_break(headers: Any) -> None:
    with pytest.raises(UpstreamProtocolError):
        list(end_with_error_event(broken(b"x"), headers, CHAT, FakeProgress()))


def test_what_is_whole_gets_no_last_word() -> None:
    assert b"".join(end_with_error_event([b"a", b""], STREAM, CHAT, FakeProgress())) == b"a"


def test_a_line_that_has_ended_does_not_wait() -> None:
    pieces = [b"a\n", b"data: 1\n", b"\n", b"event: x\n", b"data: 2\n", b"data: 3\r", b"\n", b"id: 9\n\n", b"da", b"ta"]
    passed = list(end_with_error_event(pieces, STREAM, CHAT, FakeProgress()))
    assert passed[:8] == [*pieces[:3], b"", pieces[3] + pieces[4], *pieces[5:8]]
    assert passed[8:] == [b"", b"", b"data"]


STOP = b'event: message_stop\ndata: {"type":"message_stop"}' + b" " * 200 + b"\n\n"
ERROR = b'event: error\ndata: {"type":"error","error":{"type":"api_error","message":"m"}}\n\n'
START = b'event: message_start\ndata: {"type":"message_start"}\n\n'


@pytest.mark.parametrize(
    ("body", "headers", "is_cut"),
    [
        (START + STOP, STREAM, False),
        (START + STOP + b"data: [DONE]\n\n", STREAM, False),
        (START + ERROR, STREAM, False),
        (START, STREAM, True),
        (START + STOP + b"event: x\nda", STREAM, False),
        (b"", STREAM, True),
        (START.removeprefix(b"event: message_start\n"), STREAM, False),
        (START, (*STREAM, ("Content-Length", str(len(START)))), False),
        (START, (*STREAM, ("Content-Encoding", "gzip")), False),
        (b"{}", JSON, False),
    ],
)
def test_a_stream_that_ends_before_its_last_event_says_so(body: bytes, headers: Any, is_cut: bool) -> None:
    for pieces in cuts(body):
        progress = FakeProgress()
        out = b"".join(end_with_error_event(pieces, headers, MESSAGES, progress))
        assert out.startswith(body)
        assert (b"upstream" in out[len(body) :]) == (progress.error is not None) == is_cut


@pytest.mark.parametrize("stop", [STOP[:20], STOP[:-2]])
def test_half_a_last_event_is_left_out(stop: bytes) -> None:
    for pieces in cuts(START + stop):
        progress = FakeProgress()
        out = b"".join(end_with_error_event(pieces, STREAM, MESSAGES, progress))
        assert out.startswith(START + b"event: error\n")
        assert progress.error is not None


@pytest.mark.parametrize("fail", [list, lambda pieces: broken(*pieces)])
def test_a_last_event_gets_the_blank_line_that_it_lacks(fail: Callable[[list[bytes]], Iterable[bytes]]) -> None:
    for pieces in cuts(START + STOP[:-1]):
        progress = FakeProgress()
        out = b"".join(end_with_error_event(fail(pieces), STREAM, MESSAGES, progress))
        assert (out, progress.error) == (START + STOP + b"\n", None)


COMPLETED = b'event: response.completed\ndata: {"response":{"output":"' + b"x" * 5000 + b'"}}\n\n'
FAILED = b'event:response.failed\ndata: {"response":{}}\n\n'
DELTA = b'event: response.output_text.delta\ndata: {"delta":"\\nevent: response.completed"}\n\n'


@pytest.mark.parametrize(
    ("body", "is_complete"),
    [
        (COMPLETED, True),
        (DELTA + COMPLETED, True),
        (DELTA + FAILED.replace(b"\n", b"\r\n"), True),
        (DELTA, False),
    ],
    ids=["completed", "behind a delta", "failed", "missing"],
)
def test_a_response_that_breaks_behind_its_last_event_gets_no_other(body: bytes, is_complete: bool) -> None:
    for pieces in ([body], [body[:30], body[30:]], [body[:-1], body[-1:]], [bytes([byte]) for byte in body]):
        progress = FakeProgress()
        out = b"".join(end_with_error_event(broken(*pieces), STREAM, RESPONSES, progress))
        assert out.startswith(body)
        assert (out == body) == (progress.error is None) == is_complete


@pytest.mark.parametrize(
    ("endpoint", "body", "ending"),
    [
        (MESSAGES, START + ERROR, Ending.UPSTREAM_ERROR),
        (MESSAGES, START + ERROR.replace(b": error", b":error"), Ending.UPSTREAM_ERROR),
        (MESSAGES, START + STOP, None),
        (RESPONSES, DELTA + FAILED, Ending.UPSTREAM_ERROR),
        (RESPONSES, DELTA + ERROR, Ending.UPSTREAM_ERROR),
        (RESPONSES, DELTA + COMPLETED[:60] + COMPLETED[-4:], None),
        (CHAT, b"data: {}\n\ndata: [DONE]\n\n", None),
    ],
    ids=["error", "no blank", "stop", "failed", "error of responses", "completed", "chat"],
)
def test_a_stream_that_its_upstream_ends_with_an_error_is_recorded_as_failed(
    endpoint: Any, body: bytes, ending: Ending | None
) -> None:
    for pieces in cuts(body):
        progress = FakeProgress()
        passed = end_with_error_event(pieces, STREAM, endpoint, progress)
        assert b"".join(passed) == body
        assert (progress.ending, progress.error) == (ending, None)


def test_the_failure_is_recorded_before_the_client_can_read_it() -> None:
    progress = FakeProgress()
    passed = end_with_error_event([START, ERROR], STREAM, MESSAGES, progress)
    assert (next(passed), progress.ending) == (START, None)
    assert (next(passed), progress.ending) == (ERROR, Ending.UPSTREAM_ERROR)


def test_streams_of_chats_may_end_without_a_mark() -> None:
    assert b"".join(end_with_error_event([b"data: {}\n\n"], STREAM, CHAT, FakeProgress())) == b"data: {}\n\n"


def test_what_follows_the_last_event_does_not_change_how_it_ended_in_every_cut() -> None:
    stream = b"event: message_stop\ndata: {}\n\nevent: error\ndata: {}\n\n"
    for pieces in cuts(stream):
        progress = FakeProgress()
        assert b"".join(end_with_error_event(pieces, STREAM, MESSAGES, progress)) == stream
        assert progress.ending is None
