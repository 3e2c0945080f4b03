"""Where the content of a reply begins, in the words of each API and however its bytes are cut."""

from __future__ import annotations

import json
from typing import Any

import pytest

from argoproxy.errors import UpstreamStatus
from argoproxy.protocol.resilience.failures import FailureKind, classify
from argoproxy.protocol.resilience.first_content import LONGEST_HELD, has_content, make_finder
from argoproxy.protocol.stream.runs import TextRun
from argoproxy.protocol.stream.sse import DONE, Document, Event

STREAM = (("Content-Type", "text/event-stream"),)
JSON = (("Content-Type", "application/json"),)


def chunk(delta: Any, **choice: Any) -> dict[str, Any]:
    return {"id": "1", "choices": [{"index": 0, "delta": delta, **choice}]}


NOTHING: list[dict[str, Any]] = [
    chunk({"role": "assistant"}),
    chunk({"role": "assistant", "content": ""}),
    chunk({"role": "assistant", "content": None, "refusal": None, "tool_calls": []}),
    chunk({}, finish_reason=None, content_filter_results={"hate": {"filtered": False}}),
    {"choices": [{"index": 0, "text": "", "finish_reason": None}]},
    {"choices": [], "prompt_filter_results": [{"prompt_index": 0}]},
    {"choices": [], "usage": {"prompt_tokens": 3}},
    {"choices": [], "error": None},
]
CONTENT: list[dict[str, Any]] = [
    chunk({"content": "x"}),
    chunk({"reasoning_content": "x"}),
    chunk({"reasoning": "x"}),
    chunk({"refusal": "no"}),
    chunk({"tool_calls": [{"index": 0, "id": "1"}]}),
    chunk({"function_call": {"name": "f"}}),
    chunk({}, finish_reason="stop"),
    {"choices": [{"index": 0, "text": "x"}]},
    {"choices": [{"index": 0, "message": {"content": ""}}]},
    {"choices": [{"index": 0, "delta": {}}, {"index": 1, "delta": {"content": "x"}}]},
]


@pytest.mark.parametrize("document", NOTHING)
def test_a_role_and_what_stands_around_it_is_no_content(document: dict[str, Any]) -> None:
    assert not has_content(Event.of(document))


@pytest.mark.parametrize("document", CONTENT)
def test_text_thoughts_calls_refusals_and_ends_are_content(document: dict[str, Any]) -> None:
    assert has_content(Event.of(document))


def test_what_is_whole_or_plain_text_is_content_unparsed() -> None:
    assert has_content(Document(b"{broken"))
    assert has_content(TextRun(b"data: ..."))
    assert not has_content(DONE)
    assert not has_content(Event(b": keep-alive\n\n"))


def test_batches_are_held_up_to_their_content_and_no_longer_than_they_may() -> None:
    finder = make_finder([], ())
    assert finder
    assert not finder.feed([Event.of(NOTHING[0]), DONE])
    assert finder.feed([Event.of(NOTHING[0]), Event.of(CONTENT[0])])
    finder = make_finder([], ())
    assert finder
    comment = Event(b":" + b" " * (LONGEST_HELD // 2) + b"\n\n")
    assert [finder.feed([comment]), finder.feed([comment])] == [False, True]
    finder.finish()


BLOCK: dict[str, Any] = {"type": "content_block_start", "index": 0}
ITEM: dict[str, Any] = {"type": "response.output_item.added", "output_index": 0}
ANNOUNCEMENTS: list[dict[str, Any]] = [
    {"type": "message_start", "message": {"role": "assistant", "content": [], "usage": {"input_tokens": 5}}},
    {"type": "ping"},
    {**BLOCK, "content_block": {"type": "text", "text": ""}},
    {**BLOCK, "content_block": {"type": "thinking", "thinking": "", "signature": ""}},
    {"type": "response.created", "response": {"status": "in_progress", "error": None}},
    {"type": "response.in_progress", "response": {"output": []}},
    {**ITEM, "item": {"type": "message", "content": [], "status": "in_progress"}},
    {**ITEM, "item": {"type": "reasoning", "summary": []}},
    {"type": "response.content_part.added", "part": {"type": "output_text", "text": ""}},
]
BEGINNINGS: list[dict[str, Any]] = [
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "x"}},
    {**BLOCK, "content_block": {"type": "tool_use", "id": "1", "name": "f", "input": {}}},
    {**BLOCK, "content_block": {"type": "text", "text": "x"}},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}},
    {"type": "response.output_text.delta", "delta": "x"},
    {**ITEM, "item": {"type": "function_call", "name": "f"}},
    {"type": "response.completed", "response": {"error": None, "status": "completed"}},
    {"type": "something_new"},
]


def frame(document: dict[str, Any]) -> bytes:
    name = f"event: {document['type']}\n" if "type" in document else ""
    return f"{name}data: {json.dumps(document)}\n\n".encode()


@pytest.mark.parametrize("announced", [*ANNOUNCEMENTS, *NOTHING])
@pytest.mark.parametrize("begun", [*BEGINNINGS, CONTENT[0]])
def test_bytes_have_content_from_the_same_event_on_however_they_are_cut(
    announced: dict[str, Any], begun: dict[str, Any]
) -> None:
    before, whole = frame(announced), b": hello\n\n" + frame(announced) + frame(begun)
    for size in (1, 7, len(before), len(whole)):
        finder = make_finder(b"x", STREAM)
        assert finder
        ends = [end for end in range(size, len(whole) + size, size) if finder.feed(whole[end - size : end])]
        assert ends[0] >= len(whole)


ERRORS: list[tuple[dict[str, Any], int]] = [
    ({"error": {"message": "x"}}, 502),
    ({"error": {"message": "x", "code": 503}}, 503),
    ({"error": "out of memory"}, 502),
    ({"error": {"message": "x", "code": "rate_limit_exceeded"}, "choices": []}, 429),
    ({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}, 503),
    ({"type": "error", "error": {"type": "rate_limit_error", "message": "x"}}, 429),
    ({"type": "error", "code": "server_error", "message": "x", "param": None, "sequence_number": 1}, 500),
    ({"type": "response.failed", "response": {"status": "failed", "error": {"code": "rate_limit_exceeded"}}}, 429),
    ({"type": "response.failed", "response": {"status": "failed"}}, 502),
    ({"object": "error", "message": "x", "code": 400}, 400),
]


@pytest.mark.parametrize(("document", "status"), ERRORS)
def test_error_as_first_event(document: dict[str, Any], status: int) -> None:
    """An error in place of content is one, with the status that its code or its type stands for."""
    finder, whole = make_finder(b"x", STREAM), make_finder(b"x", JSON)
    assert finder
    assert whole
    with pytest.raises(UpstreamStatus) as event:
        finder.feed(frame(ANNOUNCEMENTS[0]) + frame(document))
    assert not whole.feed(json.dumps(document).encode())
    with pytest.raises(UpstreamStatus) as reply:
        whole.finish()
    assert (event.value.status, reply.value.status) == (status, status)
    assert json.loads(event.value.body)["error"]["message"]
    assert classify(event.value) is not FailureKind.CONNECT


def test_an_error_after_content_is_the_clients() -> None:
    finder = make_finder(b"x", STREAM)
    assert finder
    assert finder.feed(frame(CONTENT[0]) + frame(ERRORS[0][0]))


def test_what_cannot_be_read_is_content() -> None:
    finder = make_finder(b"x", STREAM)
    assert finder
    assert finder.feed(b"data: {broken\n\n")
    finder = make_finder(b"x", STREAM)
    assert finder
    assert finder.feed(b": " + b" " * LONGEST_HELD)
    assert make_finder(b"x", (*STREAM, ("Content-Encoding", "gzip"))) is None
    assert make_finder("whole", ()) is None


def test_a_whole_reply_is_held_until_it_is_complete() -> None:
    finder = make_finder(b"x", JSON)
    assert finder
    assert not finder.feed(b'{"id": 1, ')
    assert not finder.feed(b'"choices": []}')
    finder.finish()
    finder = make_finder(b"x", JSON)
    assert finder
    assert finder.feed(b"x" * (LONGEST_HELD + 1))
    finder.finish()


def test_a_stream_that_ends_without_content_is_complete() -> None:
    finder = make_finder(b"x", STREAM)
    assert finder
    assert not finder.feed(frame(NOTHING[0]))
    finder.finish()
