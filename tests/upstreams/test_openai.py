from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from argoproxy.errors import ProxyError, UpstreamProtocolError, UpstreamStatus, to_openai
from argoproxy.protocol.http_messages import ClientRequest, Headers, get_header
from argoproxy.protocol.routing.call import Call
from argoproxy.protocol.stream.runs import TextRun
from argoproxy.protocol.stream.sse import DOCUMENT_LIMIT, DONE, Batch, Document
from argoproxy.upstreams import Reply, Upstream
from argoproxy.upstreams.base import read_in_runs
from argoproxy.upstreams.base_url import BaseUrl
from argoproxy.upstreams.detect import BLANKS_LIMIT
from argoproxy.upstreams.openai import OpenAIUpstream, ResponsesApi
from tests.support.cuts import cuts
from tests.support.doubles import FakeReply, WholeBody
from tests.support.growth import FACTOR, assert_linear

UPSTREAM = OpenAIUpstream(BaseUrl.parse("http://up/v1"))
KEYED = OpenAIUpstream(BaseUrl.parse("http://up/v1"), "Bearer sk-ours", b"sk-ours")
CLIENT = (("Authorization", "Bearer theirs"), ("X-API-Key", "k"), ("Accept-Encoding", "gzip"), ("X-Other", "o"))


def call(**body: Any) -> Call:
    return Call("id", 1, "/v1/chat/completions", "q=1", (*CLIENT, ("Content-Type", "text/x")), body, b"as it came")


def batches(*pieces: bytes, kind: str = "", **body: Any) -> list[list[bytes]]:
    headers = (("Content-Type", kind),) if kind else ()
    return [
        [event.raw for event in batch]
        for batch in UPSTREAM.read_completion(FakeReply(list(pieces), headers), call(**body))
    ]


def flat(found: list[list[bytes]]) -> bytes:
    return b"".join(raw for batch in found for raw in batch)


def chunk(text: str, finish_reason: str | None = None, index: Any = 0) -> bytes:
    part = {"index": index, "delta": {"content": text}, "finish_reason": finish_reason}
    return b"data: " + json.dumps({"choices": [part]}).encode() + b"\n\n"


DOCUMENT = b' \n\n{"choices": [], "usage": null}\n'
EVENTS = (("Content-Type", "text/event-stream"),)
STREAM = b": hello\n\n" + chunk("a") + chunk("b", "stop") + DONE.raw


def test_a_request_carries_the_call() -> None:
    request = UPSTREAM.completion_request(call(model="m"))
    assert (request.method, request.url, request.body, request.length) == (
        "POST",
        "http://up/v1/chat/completions?q=1",
        b"as it came",
        10,
    )
    assert dict(request.headers) == {
        "Authorization": "Bearer theirs",
        "X-API-Key": "k",
        "X-Other": "o",
        "User-Agent": "argoproxy",
        "Content-Type": "application/json",
        "Accept-Encoding": "identity",
    }


def test_a_configured_key_takes_the_place_of_the_clients() -> None:
    request = KEYED.completion_request(call(model="m"))
    assert dict(request.headers)["Authorization"] == "Bearer sk-ours"
    assert not get_header(request.headers, "x-api-key")
    assert request.secret == b"sk-ours"
    assert "sk-ours" not in repr(KEYED)
    assert "sk-ours" not in repr(request).replace("Bearer sk-ours", "")


def test_a_document_in_any_cut() -> None:
    for pieces in cuts(DOCUMENT):
        assert flat(batches(*pieces)) == DOCUMENT


def test_a_stream_in_any_cut() -> None:
    for pieces in cuts(STREAM):
        assert flat(batches(*pieces)) == STREAM


@pytest.mark.parametrize(
    ("reply", "kind", "is_document"),
    [
        (DOCUMENT, "text/event-stream", True),
        (DOCUMENT, "text/plain", True),
        (b"\xef\xbb\xbf" + DOCUMENT, "application/json", True),
        (STREAM, "application/json", False),
        (STREAM, "", False),
        (b"\xef\xbb\xbf" + STREAM, "text/event-stream; charset=utf-8", False),
        (b"\n\n" + STREAM, "text/plain", False),
        (b"event: x\n" + STREAM.removeprefix(b": hello\n\n"), "text/plain", False),
        (b"x: y\n\n" + STREAM, "Text/Event-Stream", False),
    ],
)
def test_a_reply_is_taken_for_what_it_is(reply: bytes, kind: str, is_document: bool) -> None:
    for pieces in cuts(reply):
        found = list(UPSTREAM.read_completion(FakeReply(pieces, (("Content-Type", kind),)), call()))
        assert isinstance(found[-1][0], Document) is is_document


def test_silence_is_passed_on() -> None:
    stream = batches(b"", b"\n", b"", chunk("a", "stop"), b"", DONE.raw)
    assert stream == [[], [], [b"\n" + chunk("a", "stop")], [], [DONE.raw]]
    assert batches(b"", b"{", b"", b'"choices":[]}') == [[], [], [b'{"choices":[]}']]


def test_a_document_without_silence_is_one_batch() -> None:
    for pieces in cuts(DOCUMENT):
        assert batches(*filter(None, pieces)) == [[DOCUMENT]]


def test_blanks_before_a_reply_are_bounded_and_take_linear_time() -> None:
    assert_linear(lambda size: batches(*[b"\n"] * size, DOCUMENT), BLANKS_LIMIT // FACTOR)
    assert flat(batches(*[b"\n"] * BLANKS_LIMIT, DOCUMENT)) == b"\n" * BLANKS_LIMIT + DOCUMENT
    with pytest.raises(UpstreamProtocolError, match="too many blank lines"):
        batches(*[b"\n"] * BLANKS_LIMIT, b" ", DOCUMENT)


@pytest.mark.parametrize(
    ("pieces", "kind", "reason"),
    [
        ([], "", "is empty"),
        ([b"\n\n  "], "", "is empty"),
        ([b"<html>"], "text/html", "neither JSON nor an event stream"),
        ([b"hello"], "text/plain", "neither JSON nor an event stream"),
        ([b'{"choices"'], "", "invalid JSON"),
        ([b'{"other": 1}'], "", "no completion"),
        ([b'{"choices": {}}'], "", "no completion"),
        ([b"[1]"], "", "not an object"),
        ([chunk("a")], "", "broke off"),
        ([chunk("a"), b"data: {"], "", "broke off"),
        ([b"plain words\n\n"], "text/event-stream", "broke off"),
        ([chunk("a"), b'data: {"error\n\n'], "", "invalid JSON"),
    ],
)
def test_a_reply_that_is_none_is_told(pieces: list[bytes], kind: str, reason: str) -> None:
    with pytest.raises(UpstreamProtocolError, match=reason):
        batches(*pieces, kind=kind)


def test_what_came_before_the_break_was_given() -> None:
    moving = UPSTREAM.read_completion(FakeReply([chunk("a")]), call())
    assert [event.raw for event in next(moving)] == [chunk("a")]
    with pytest.raises(UpstreamProtocolError) as caught:
        next(moving)
    assert caught.value.code == "upstream_stream_cut_short"


def test_the_end_of_a_stream() -> None:
    assert batches(chunk("a"), DONE.raw) == [[chunk("a")], [DONE.raw]]
    assert flat(batches(chunk("a", "stop"))) == chunk("a", "stop") + DONE.raw
    assert flat(batches(chunk("a", "stop"), b": bye\n\n")) == chunk("a", "stop") + b": bye\n\n" + DONE.raw
    assert flat(batches(chunk("a", "stop"), *[b": ping\n\n"] * 20)).endswith(b": ping\n\n" + DONE.raw)
    assert flat(batches(chunk("a") + b"data: [DONE]")) == chunk("a") + DONE.raw
    assert flat(batches(chunk("a"), chunk("b", "stop").rstrip())) == chunk("a") + chunk("b", "stop") + DONE.raw


def test_nothing_is_taken_after_the_end() -> None:
    pieces = [chunk("a") + DONE.raw + chunk("b"), b"never asked for"]
    assert batches(*pieces) == [[chunk("a"), DONE.raw]]


def test_of_several_choices_each_must_have_ended() -> None:
    both = [chunk("a", index=0), chunk("b", "stop", 1), *[chunk("x", index=0)] * 20]
    with pytest.raises(UpstreamProtocolError, match="broke off"):
        batches(*both, n=2)
    assert flat(batches(*both, chunk("", "stop", 0), n=2)).endswith(DONE.raw)
    assert flat(batches(chunk("a", "stop"), n=2)).endswith(DONE.raw)
    with pytest.raises(UpstreamProtocolError, match="broke off"):
        batches(b'data: {"choices": {}}\n\ndata: {"choices": [1]}\n\n', n=2)


@pytest.mark.parametrize("index", [[0], {}, "0", None, 1.5])
def test_an_odd_index_is_taken_for_the_place(index: Any) -> None:
    ended = chunk("a", "stop", index)
    assert flat(batches(chunk("a", None, index), ended, n=2)) == chunk("a", None, index) + ended + DONE.raw


@pytest.mark.parametrize(
    ("reply", "status", "error"),
    [
        (b'{"error": {"message": "no", "code": 429}}', 429, {"message": "no", "code": 429}),
        (
            b'data: {"error": {"message": "no", "type": "t", "code": "c"}}\n\n',
            502,
            {"message": "no", "type": "t", "code": "c"},
        ),
        (b'data: {"choices": [], "error": {"message": "no", "code": 503}}\n\n', 503, {"message": "no"}),
        (b'data: {"error": "words"}\n\n', 502, {"message": "words"}),
        (b'event: error\ndata: {"error": {"message": "no"}}\n\n', 502, {"message": "no"}),
        (b'data: {"object": "error", "message": "no", "code": 400}\n\n', 400, {"message": "no"}),
        (b'error: {"code": 500, "message": "no"}\n\n', 500, {"message": "no"}),
        (b'error: {"error": {"code": 500, "message": "no"}}\n\n', 500, {"message": "no"}),
        (b"error: words\n\n", 502, {"message": "The upstream failed."}),
        (b'data: {"error": {"message": "no"}}', 502, {"message": "no"}),
        (b'{"error": {"message": ["x"]}}', 502, {"message": '["x"]'}),
        (b'{"error": {"message": {"text": "no"}, "code": "c"}}', 502, {"message": '{"text":"no"}', "code": "c"}),
        (b'{"error": 5}', 502, {"message": "5"}),
        (b'{"choices": [], "error": {"message": "no", "code": 503}}', 503, {"message": "no"}),
        (b'{"error": ["x"]}', 502, {"message": '["x"]'}),
        (b'{"error": {"code": 7}}', 502, {"message": "The upstream failed.", "type": "upstream_error"}),
    ],
)
def test_an_error_under_a_status_of_success(reply: bytes, status: int, error: dict[str, Any]) -> None:
    with pytest.raises(UpstreamStatus) as caught:
        batches(reply)
    assert caught.value.status == status
    told = json.loads(caught.value.body)["error"]
    assert set(told) >= {"message", "type", "param", "code"}
    assert told == {**told, **error}


def test_words_about_errors_are_no_error() -> None:
    talk = chunk('the "error" was', "stop") + b'data: {"error": null, "choices": []}\n\n' + DONE.raw
    assert flat(batches(talk)) == talk


@pytest.mark.parametrize("last", [b'data: {"error": {"message": "no"}}\n\n', b'data: {"error": broken\n\n'])
def test_what_came_together_with_an_error_was_given(last: bytes) -> None:
    moving = UPSTREAM.read_completion(FakeReply([b": hello\n\n" + chunk("a") + last + chunk("b")]), call())
    assert b"".join(event.raw for event in next(moving)) == b": hello\n\n" + chunk("a")
    with pytest.raises(ProxyError):
        next(moving)


def test_an_error_that_comes_with_comments_alone_keeps_its_status() -> None:
    moving = UPSTREAM.read_completion(
        FakeReply([b": hello\n\n" + b'data: {"error": {"message": "no", "code": 429}}\n\n']), call()
    )
    with pytest.raises(UpstreamStatus) as caught:
        next(moving)
    assert caught.value.status == 429


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (400, b'{"detail": "words"}', {"message": "words", "type": "invalid_request_error"}),
        (422, b'{"detail": [{"loc": ["a"]}]}', {"message": '[{"loc":["a"]}]', "type": "invalid_request_error"}),
        (400, b'{"object": "error", "message": "m", "code": 40}', {"message": "m", "code": 40, "param": None}),
        (400, b'{"message": "m", "param": "n", "code": []}', {"message": "m", "code": None, "param": "n"}),
        (401, b'{"error": "words"}', {"message": "words", "type": "authentication_error"}),
        (429, b'[{"error": {"message": "m", "code": 429}}]', {"message": "m", "code": 429}),
        (
            403,
            b'[{"error": {"message": "a"}}]',
            {"message": "a", "type": "permission_error", "param": None, "code": None},
        ),
        (
            502,
            b"<html>nginx at 10.0.0.1</html>",
            {"message": "The upstream answered with status 502.", "type": "server_error"},
        ),
        (404, b"", {"message": "The upstream answered with status 404.", "type": "not_found_error"}),
        (500, b'{"error": {"code": 1}}', {"message": '{"code":1}', "type": "server_error"}),
        (500, b"[]", {"message": "The upstream answered with status 500."}),
    ],
)
def test_an_error_in_another_shape_gets_openais(status: int, body: bytes, error: dict[str, Any]) -> None:
    made = UPSTREAM.read_error(status, (("Content-Type", "text/html"), ("Retry-After", "1"), ("Server", "x")), body)
    assert isinstance(made, UpstreamStatus)
    assert made.headers == (("Retry-After", "1"), ("Content-Type", "application/json"))
    told = json.loads(made.body)["error"]
    assert (made.status, told) == (status, {**told, **error})


def test_an_error_in_openais_shape_passes_byte_for_byte() -> None:
    body = b'{"error":  {"message": "no", "more": 1}, "request_id": "x"}'
    made = UPSTREAM.read_error(403, (("Content-Type", "application/json; charset=utf-8"),), body)
    assert isinstance(made, UpstreamStatus)
    assert (made.status, made.body) == (403, body)


def test_a_redirect_passes_untouched() -> None:
    made = UPSTREAM.read_error(307, (("Location", "/x"), ("Content-Type", "text/html")), b"<html>")
    assert isinstance(made, UpstreamStatus)
    assert (made.status, made.body) == (307, b"<html>")
    assert made.headers == (("Location", "/x"), ("Content-Type", "text/html"))


def test_embeddings_pass_untouched() -> None:
    (request,) = UPSTREAM.embedding_requests(call(model="m"))
    assert request.method == "POST"
    text = b'{"data":  [], "usage": {}}'
    assert UPSTREAM.read_embeddings([text], call()).raw is text
    with pytest.raises(UpstreamProtocolError, match="no embeddings"):
        UPSTREAM.read_embeddings([b'{"data": 1}'], call())


def forwarded(method: str, path: str, body: bytes = b"", headers: Headers = CLIENT) -> ClientRequest:
    return ClientRequest("id", 1, method, path, "a=b", headers, WholeBody(body))


@pytest.mark.parametrize(
    ("path", "url"),
    [
        ("/v1/models", "http://up/v1/models?a=b"),
        ("/models", "http://up/v1/models?a=b"),
        ("/v1/models/", "http://up/v1/models?a=b"),
        ("/models/org%2Fx", "http://up/v1/models/org%2Fx?a=b"),
    ],
)
def test_models_are_asked_for_as_the_client_did(path: str, url: str) -> None:
    request = UPSTREAM.model_list_request(forwarded("GET", path))
    assert (request.method, request.url, request.body) == ("GET", url, None)
    assert get_header(request.headers, "accept-encoding") == "identity"


def test_other_paths_are_passed_on() -> None:
    request = UPSTREAM.forward_request(forwarded("PATCH", "/v1/files/%2f", b"xyz", (*CLIENT, ("User-Agent", "me"))))
    assert (request.method, request.url, request.length) == ("PATCH", "http://up/v1/files/%2f?a=b", 3)
    assert request.body == b"xyz"
    assert dict(request.headers) == {
        "Authorization": "Bearer theirs",
        "X-API-Key": "k",
        "X-Other": "o",
        "User-Agent": "me",
        "Accept-Encoding": "gzip",
    }
    assert UPSTREAM.forward_request(forwarded("GET", "/x")).body is None


def test_a_reply_that_could_hide_our_key_must_not_be_compressed() -> None:
    assert get_header(KEYED.forward_request(forwarded("GET", "/x")).headers, "accept-encoding") == "identity"
    assert (
        get_header(UPSTREAM.forward_request(forwarded("GET", "/x", headers=())).headers, "accept-encoding")
        == "identity"
    )


def test_a_probe_asks_for_models_with_our_key_only() -> None:
    request = KEYED.probe_request()
    assert (request.method, request.url) == ("GET", "http://up/v1/models")
    assert get_header(request.headers, "authorization") == "Bearer sk-ours"
    assert not get_header(UPSTREAM.probe_request().headers, "authorization")


def test_a_document_is_bounded() -> None:
    piece = b" " * (DOCUMENT_LIMIT // 4)
    with pytest.raises(UpstreamProtocolError, match="larger than"):
        batches(b"{", piece, piece, piece, piece)


def test_every_error_can_be_told() -> None:
    error: ProxyError = UPSTREAM.read_error(500, (), b"")
    assert set(to_openai(error)["error"]) == {"message", "type", "param", "code"}


@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.parametrize("before", [b"", b": hello\n\n", b'data: {"usage": null}\n\n'])
@pytest.mark.parametrize("end", [b"data: [DONE]\n\n", b"data:[DONE]\r\n\r\n", b"data: [DONE]"])
def test_a_stream_that_ends_before_it_began_is_no_completion(before: bytes, end: bytes, n: int) -> None:
    for pieces in cuts(before + end):
        with pytest.raises(UpstreamProtocolError, match="no completion"):
            flat(batches(*pieces, kind="text/event-stream", n=n))
    assert (
        flat(batches(before, b'data: {"choices": []}\n\n', end, kind="text/event-stream", n=n))
        .rstrip()
        .endswith(b"[DONE]")
    )


def plain(text: str, reason: str = "null", index: int = 0) -> bytes:
    """Return a chunk as most servers write it."""
    part = f'{{"index":{index},"delta":{{"content":"{text}"}},"finish_reason":{reason}}}'
    return b'data: {"id":"x","choices":[' + part.encode() + b"]}\n\n"


STOP = plain("", '"stop"')


def in_runs(upstream: Upstream, *pieces: bytes, **body: Any) -> list[Batch]:
    return list(read_in_runs(upstream, FakeReply(list(pieces), EVENTS), call(**body)))


@pytest.mark.parametrize("n", [1, 2])
def test_plain_events_come_in_runs_and_give_the_same_stream(n: int) -> None:
    stream = b"".join(map(plain, "abcdefghijkl")) + STOP + DONE.raw
    ((run, *rest),) = in_runs(UPSTREAM, stream, n=n)
    assert isinstance(run, TextRun)
    assert run.raw + b"".join(event.raw for event in rest) == stream
    for pieces in cuts(stream):
        assert b"".join(event.raw for batch in in_runs(UPSTREAM, *pieces, n=n) for event in batch) == stream
        assert flat(batches(*pieces, n=n)) == stream


def test_runs_come_joined_for_a_client_that_wants_a_document() -> None:
    pieces = [*map(plain, "abc"), STOP + DONE.raw]
    assert len(in_runs(UPSTREAM, *pieces, stream=True)) == 4
    ((run, *rest),) = in_runs(UPSTREAM, *pieces, stream=False)
    assert (run.raw, [event.raw for event in rest]) == (b"".join(pieces[:3]), [STOP, DONE.raw])


def test_an_upstream_with_a_reader_of_its_own_reads_single_events() -> None:
    class Reading(OpenAIUpstream):
        def read_completion(self, reply: Reply, call: Call) -> Iterator[Batch]:
            return OpenAIUpstream.read_completion(self, reply, call)

    ((one, two),) = in_runs(Reading(UPSTREAM.base), plain("a") + plain("b"), STOP)[:1]
    assert (one.raw, two.raw) == (plain("a"), plain("b"))


@pytest.mark.parametrize("n", [1, 2])
def test_a_stream_that_ends_after_runs(n: int) -> None:
    runs = b"".join(map(plain, "abcdefghijkl"))
    assert flat(batches(runs, STOP, n=n)) == runs + STOP + DONE.raw
    with pytest.raises(UpstreamProtocolError, match="broke off"):
        batches(runs, n=n)


def test_a_choice_that_began_in_a_run_must_end() -> None:
    other = plain("x", '"stop"', 1)
    with pytest.raises(UpstreamProtocolError, match="broke off"):
        batches(plain("a") + plain("b"), other, n=2)
    assert flat(batches(plain("a"), other, STOP, n=2)).endswith(STOP + DONE.raw)


def test_an_error_after_a_run_comes_behind_it() -> None:
    moving = read_in_runs(UPSTREAM, FakeReply([plain("a") + b'data: {"error": {"message": "no"}}\n\n'], EVENTS), call())
    assert [event.raw for event in next(moving)] == [plain("a")]
    with pytest.raises(UpstreamStatus):
        next(moving)


@pytest.mark.parametrize(
    ("status", "body", "is_missing"),
    [
        (404, b'{"detail":"Not Found"}', True),
        (404, b'{"error":{"code":404,"message":"File Not Found","type":"not_found_error"}}', True),
        (404, b"<html>Not Found</html>", True),
        (405, b"", True),
        (501, b"{}", True),
        (404, b'{"error":{"message":"The model `x` does not exist.","param":"model","code":404}}', False),
        (404, b'{"error":{"message":"m","code":"model_not_found"}}', False),
        (404, b'{"error":{"message":"model \\"x\\" not found, try pulling it first","param":null}}', False),
        (404, b'{"error":{"message":"Item with id \'rs_1\' not found.","param":"input","code":null}}', False),
        (404, b'{"error":{"message":"Response with id \'resp_1\' not found.","type":"x"}}', False),
        (404, b'{"object":"error","message":"The model `x` does not exist.","code":404}', False),
        (404, b'{"error":"Unexpected endpoint or method. (POST /v1/responses)"}', True),
        (404, b'{"error":{"message":"Invalid URL (POST /v1/responses)","param":null,"code":null}}', True),
        (400, b"{}", False),
    ],
)
def test_a_server_without_the_responses_api_says_so(status: int, body: bytes, is_missing: bool) -> None:
    error = UpstreamStatus(status, (), body)
    auto, forward = (
        OpenAIUpstream(BaseUrl.parse("http://up/v1"), responses=kind)
        for kind in (ResponsesApi.AUTO, ResponsesApi.FORWARD)
    )
    assert auto.speaks("/v1/responses")
    assert not auto.speaks("/v1/messages")
    assert auto.lacks("/v1/responses", error) is is_missing
    assert not forward.lacks("/v1/responses", error)
