from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from argoproxy.errors import (
    BadRequest,
    ClientGone,
    MethodNotAllowed,
    UpstreamProtocolError,
    UpstreamStatus,
    UpstreamTimeout,
)
from argoproxy.protocol.api.endpoints import CHAT, answer, answer_document, answer_error, assemble_reply, error_event
from argoproxy.protocol.content import CHAT_IMAGES
from argoproxy.protocol.http_messages import ClientResponse
from argoproxy.protocol.routing.call import Call
from argoproxy.protocol.stream.runs import TextRun
from argoproxy.protocol.stream.sse import DOCUMENT_LIMIT, DONE, HEARTBEAT, QUIET_HEARTBEAT, Batch, Document, Event
from tests.support.doubles import FakeProgress

DOCUMENT = (
    b'{"id":"x","object":"chat.completion", "choices":[{"index":0,"message":{"role":"assistant","content":"Hi"},'
    b'"finish_reason":"stop"}],"usage":{"total_tokens":3}}'
)


def call(**body: Any) -> Call:
    return Call("id", 1, "/v1/chat/completions", "", (), body, None)


def chunk(text: str) -> Event:
    return Event.of({"id": "x", "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}]})


def streamed(batches: list[Batch] | Iterator[Batch], progress: FakeProgress, **body: Any) -> list[bytes]:
    response = answer(batches, call(stream=True, **body), progress)
    assert not isinstance(response.body, bytes)
    return list(response.body)


def test_events_leave_as_they_came_one_piece_for_each_batch() -> None:
    one, two = chunk("a"), chunk("b")
    assert streamed([[one, two], [], [DONE]], FakeProgress()) == [one.raw + two.raw, DONE.raw]


def test_a_stream_has_the_headers_of_a_stream() -> None:
    headers = (
        ("Content-Type", "text/event-stream"),
        ("Content-Length", "5"),
        ("Cache-Control", "max-age=5"),
        ("X-Accel-Buffering", "yes"),
        ("Retry-After", "1"),
    )
    response = answer([], call(stream=True), FakeProgress(headers))
    assert response.headers == (
        ("Retry-After", "1"),
        ("Content-Type", "text/event-stream"),
        ("Cache-Control", "no-cache"),
        ("X-Accel-Buffering", "no"),
    )
    assert ("Content-Type", "text/event-stream; charset=utf-8") in answer([], call(stream=True), FakeProgress()).headers


def test_silence_is_filled_with_heartbeats() -> None:
    one = chunk("a")
    assert streamed([[], [one], []], FakeProgress(due=True)) == [HEARTBEAT, one.raw, HEARTBEAT]


def test_a_document_for_a_stream_is_split() -> None:
    pieces = streamed([[], [Document(DOCUMENT)]], FakeProgress())
    assert len(pieces) == 1
    chunks = [json.loads(part[6:]) for part in pieces[0].split(b"\n\n") if part.startswith(b"data: {")]
    assert [part["choices"][0]["delta"] for part in chunks] == [
        {"role": "assistant", "content": ""},
        {"content": "Hi"},
        {},
    ]
    assert pieces[0].endswith(DONE.raw)


@pytest.mark.parametrize(("asked", "progress"), [(True, True), (False, False)])
def test_usage_of_a_split_document_comes_to_who_asked(asked: bool, progress: bool) -> None:
    pieces = streamed([[Document(DOCUMENT)]], FakeProgress(), stream_options={"include_usage": asked})
    assert (b'"usage"' in pieces[0]) is progress


def breaking(*batches: Batch, error: Exception) -> Iterator[Batch]:
    yield from batches
    raise error


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            UpstreamTimeout("Too silent.", code="idle_timeout"),
            {"message": "Too silent.", "type": "timeout", "param": None, "code": "idle_timeout"},
        ),
        (UpstreamStatus(500, (), b'{"error": {"message": "theirs"}}'), {"message": "theirs"}),
        (
            ValueError("ours"),
            {"message": "It failed.", "type": "server_error", "param": None, "code": "internal_error"},
        ),
    ],
)
def test_a_stream_that_breaks_says_so_in_one_last_event(error: Exception, said: dict[str, Any]) -> None:
    one, progress = chunk("a"), FakeProgress()
    pieces = streamed(breaking([one], error=error), progress)
    assert pieces[0] == one.raw
    assert len(pieces) == 2
    assert json.loads(pieces[1].removeprefix(b"data: ")) == {"error": said}
    assert pieces[1].endswith(b"\n\n")
    assert progress.error is error


def test_a_client_that_left_is_told_nothing() -> None:
    progress = FakeProgress()
    with pytest.raises(ClientGone):
        streamed(breaking(error=ClientGone()), progress)
    assert progress.error is None


def test_an_untouched_document_leaves_as_it_came() -> None:
    progress = FakeProgress(
        (("Content-Type", "application/json; charset=utf-8"), ("Content-Encoding", "gzip"), ("X-Ratelimit", "1"))
    )
    response = answer([[], [Document(DOCUMENT)]], call(), progress)
    assert response == ClientResponse(
        200, (("X-Ratelimit", "1"), ("Content-Type", "application/json; charset=utf-8")), DOCUMENT
    )


def test_chunks_for_a_plain_client_are_assembled() -> None:
    batches = [[chunk("a")], [], [chunk("b"), Event(b": comment\n\n")], [DONE]]
    response = answer(batches, call(), FakeProgress((("Content-Type", "text/event-stream"),)))
    assert response.headers == (("Content-Type", "application/json"),)
    assert isinstance(response.body, bytes)
    assert json.loads(response.body)["choices"][0]["message"] == {"role": "assistant", "content": "ab"}


def test_runs_for_a_plain_client_are_assembled() -> None:
    plain = b'data: {"choices":[{"index":0,"delta":{"content":"@"},"finish_reason":null}]}\n\n'
    run = TextRun(plain.replace(b"@", b"a") + plain.replace(b"@", b"b"))
    document = assemble_reply([[run], [chunk("c"), DONE]])
    assert document.chunk["choices"][0]["message"] == {"role": "assistant", "content": "abc"}


def test_a_plain_answer_that_breaks_is_no_answer() -> None:
    with pytest.raises(UpstreamTimeout):
        answer(breaking([chunk("a")], error=UpstreamTimeout("Too silent.")), call(), FakeProgress())


NO_COMPLETION = Event(b'data: {"code": 400, "message": "no"}\n\n')


@pytest.mark.parametrize("batches", [[], [[]], [[DONE]], [[Event(b": x\n\n")], [DONE]], [[NO_COMPLETION, DONE]]])
def test_a_reply_without_a_completion_is_told(batches: list[Batch]) -> None:
    with pytest.raises(UpstreamProtocolError, match="no completion"):
        assemble_reply(batches)


def test_a_document_of_another_type_is_called_json() -> None:
    response = answer_document(Document(b"{}"), FakeProgress((("Content-Type", "text/plain"),)))
    assert response.headers == (("Content-Type", "application/json"),)


def test_a_refusal_has_the_one_shape_and_a_flat_detail() -> None:
    response = answer_error(BadRequest("Wrong.", param="n"))
    assert response.status == 400
    assert isinstance(response.body, bytes)
    assert json.loads(response.body) == {
        "error": {"message": "Wrong.", "type": "invalid_request_error", "param": "n", "code": None},
        "detail": "Wrong.",
    }
    assert ("Allow", "GET, HEAD") in answer_error(MethodNotAllowed("No.", ("GET", "HEAD"))).headers


def test_an_upstreams_own_error_passes() -> None:
    error = UpstreamStatus(429, (("Retry-After", "3"),), b'{"error":  {}}')
    assert answer_error(error) == ClientResponse(429, (("Retry-After", "3"),), b'{"error":  {}}')
    assert (error.type, error.code, str(error)) == ("rate_limit_error", None, "The upstream answered with status 429.")


def test_failures_of_the_upstream_have_no_detail() -> None:
    body = answer_error(UpstreamTimeout("Slow.", code="total_timeout")).body
    assert isinstance(body, bytes)
    assert "detail" not in json.loads(body)


def test_a_stream_that_is_to_become_a_document_is_bounded() -> None:
    piece = b'data: {"choices": [], "x": "%b"}\n\n' % (b"x" * (DOCUMENT_LIMIT // 32))
    with pytest.raises(UpstreamProtocolError, match="larger than"):
        assemble_reply([Event(piece)] for _ in range(32))


@pytest.mark.parametrize("body", [b"plain words", b"", b"[1]", b"{}", b'{"error": null}'])
def test_an_error_without_openais_shape_is_an_event_of_ours(body: bytes) -> None:
    progress = json.loads(error_event(UpstreamStatus(302, (), body))[6:])
    assert progress["error"]["message"] == "The upstream answered with status 302."


def test_an_upstreams_own_error_is_the_event() -> None:
    assert error_event(UpstreamStatus(429, (), b'{"error":{"message":"m"}}')) == b'data: {"error":{"message":"m"}}\n\n'


def test_heartbeats_are_quiet_only_after_an_event_that_may_have_an_id() -> None:
    plain = b'data: {"choices":[{"index":0,"delta":{"content":"id: 1"},"finish_reason":null}]}\n\n'
    assert streamed([[TextRun(plain)], []], FakeProgress(due=True)) == [plain, HEARTBEAT]
    assert streamed([[Event(b"id: 1\n" + plain)], []], FakeProgress(due=True))[1:] == [QUIET_HEARTBEAT]


def test_a_chat_is_handed_over_as_it_is() -> None:
    asked = call(stream=True)
    assert CHAT.hand_over(asked) is asked
    assert CHAT.image_parts is CHAT_IMAGES


def test_texts_of_an_answer_are_found_in_its_bytes() -> None:
    sent = b'data: {"choices": [{"delta": {"role": "assistant", "content": "Hello", "reasoning": "Hm"}}]}\n\n'
    assert len(CHAT.answer_texts.findall(sent)) == 2
