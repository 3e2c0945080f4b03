"""Another route until the first content, and never after it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.resilience.farm import Farm, attempts, error_codes, speaker, text_of
from tests.support.client import Answer, ask, chat
from tests.support.journal_reader import JournalReader
from tests.support.processes import Proxy, eventually
from tests.support.response_events import accumulate, parse_events

BOTH = pytest.mark.parametrize("streams", [True, False], ids=["stream", "document"])
SHORT_BODY: dict[str, Any] = {"max_tokens": 9, "input": "Hi"}
TOO_LONG: dict[str, dict[str, Any]] = {
    "openai": {
        "message": "This model's maximum context length is 4096 tokens. However, your messages have 9000 tokens.",
        "type": "invalid_request_error",
        "param": "messages",
        "code": "context_length_exceeded",
    },
    "vllm": {
        "message": "This model's maximum context length is 2048 tokens. However, you requested 3000 tokens in the "
        "messages, Please reduce the length of the messages.",
        "type": "BadRequestError",
        "code": 400,
    },
    "llama.cpp": {
        "message": "the request exceeds the available context size. try increasing the context size or enable "
        "context shift",
        "type": "exceed_context_size_error",
        "code": 400,
        "n_prompt_tokens": 9000,
        "n_ctx": 4096,
    },
    "anthropic": {
        "type": "invalid_request_error",
        "message": "prompt is too long: 210000 tokens > 200000 maximum",
    },
    "gemini": {
        "code": 400,
        "message": "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
        "status": "INVALID_ARGUMENT",
    },
}
POLICY = {
    "message": "The response was filtered due to the prompt triggering Azure OpenAI's content management policy.",
    "type": None,
    "param": "prompt",
    "code": "content_filter",
}


@pytest.fixture
def farm(farm: Farm) -> Farm:
    """One worker shows it all: nothing here is between workers."""
    farm.workers = 1
    return farm


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("kind", ["error_event", "break_before"])
def test_error_as_first_event(farm: Farm, kind: str, stream: bool) -> None:
    """A failure under 200, before any content, is a failure: the spare answers, whole."""
    one = farm.upstream("one")
    farm.write("one", "two")
    proxy = farm.serve()
    one.switch(kind)
    answer = chat(proxy.port, stream=stream)
    assert speaker(answer) == "two"
    assert (attempts(answer), answer.header("X-Upstream"), answer.header("X-Fallback")) == (2, "two", "true")
    assert b"one" not in answer.body
    assert (len(one.chats()), len(farm.upstream("two").chats())) == (1, 1)


@pytest.mark.parametrize("kind", ["break_after", "late_error_event"])
def test_fallback_mid_stream(farm: Farm, kind: str) -> None:
    """After the first content there is no second answer, but one error event, and no [DONE]."""
    one = farm.upstream("one")
    farm.write("one", "two")
    proxy = farm.serve()
    one.switch(kind)
    answer = chat(proxy.port, stream=True)
    assert (answer.status, answer.text, len(error_codes(answer))) == (200, "one", 1)
    assert b"[DONE]" not in answer.body
    assert (attempts(answer), len(farm.upstream("two").chats())) == (1, 0)


def test_a_whole_answer_that_breaks_is_the_spare_s(farm: Farm) -> None:
    """A client that wants a document has seen nothing of it yet."""
    farm.upstream("one").switch("break_after")
    farm.write("one", "two")
    assert speaker(chat(farm.serve().port)) == "two"


@BOTH
@pytest.mark.parametrize("kind", ["refused", "error_event"])
def test_fallback_off(farm: Farm, kind: str, streams: bool) -> None:
    """A client that wants no other upstream gets none, streamed or not."""
    farm.upstream("one").switch(kind)
    farm.write("one", "two")
    answer = chat(farm.serve().port, headers={"X-No-Fallback": "true"}, stream=streams)
    assert answer.status >= 500
    assert len(farm.upstream("two").chats()) == 0


def test_the_wish_for_no_fallback_is_not_sent_upstream(farm: Farm) -> None:
    farm.write("one", "two")
    assert speaker(chat(farm.serve().port, headers={"X-No-Fallback": "true", "X-Session-Id": "s-1"})) == "one"
    assert "x-no-fallback" not in farm.upstream("one").chats()[0]["headers"]


@pytest.mark.parametrize("server", TOO_LONG)
def test_context_words(farm: Farm, server: str) -> None:
    """Every server's words for a prompt that is too long lead to the upstream for longer ones, and to no other."""
    farm.upstream("one").switch("status", status=400, error=TOO_LONG[server])
    rules = {"m1": {"upstream": ["one", "two"], "context_fallback": "m1-large"}, "m1-large": {"upstream": "large"}}
    farm.write("one", "two", "large", models=rules)
    proxy = farm.serve()
    assert speaker(chat(proxy.port, stream=True)) == "large"
    assert [len(farm.upstream(name).chats()) for name in ("one", "two", "large")] == [1, 0, 1]


def test_fallback_smaller_window(farm: Farm) -> None:
    """A prompt that is too long for the one is not tried on the spares, and the client is told by the first one."""
    farm.upstream("one").switch("status", status=400, error=TOO_LONG["openai"])
    farm.upstream("two").switch("status", status=400, error={**TOO_LONG["openai"], "message": "2048"})
    farm.write("one", "two")
    answer = chat(farm.serve().port)
    assert (answer.status, answer.error["code"]) == (400, "context_length_exceeded")
    assert "4096" in answer.error["message"]
    assert len(farm.upstream("two").chats()) == 0


def test_fallback_smaller_window_at_the_end_of_a_chain(farm: Farm) -> None:
    """Where the spare's window is too small as well, the outage of the first is what matters: it may be asked again."""
    farm.upstream("one").switch("status", status=503)
    farm.upstream("two").switch("status", status=400, error=TOO_LONG["openai"])
    farm.write("one", "two")
    answer = chat(farm.serve().port)
    assert answer.status in (400, 503)
    assert [len(farm.upstream(name).chats()) for name in ("one", "two")] == [1, 1]


@BOTH
def test_fallback_around_refusal(farm: Farm, streams: bool) -> None:
    """What a provider refuses for its content is asked of no other one, unless that is wished."""
    farm.upstream("one").switch("status", status=400, error=POLICY)
    farm.write(
        "one",
        "two",
        models={
            "m1": {"upstream": ["one", "two"]},
            "m2": {"upstream": ["one", "two"], "fallback_on": ["content_policy"]},
        },
    )
    proxy = farm.serve()
    assert chat(proxy.port, stream=streams).status == 400
    assert len(farm.upstream("two").chats()) == 0
    assert speaker(chat(proxy.port, model="m2", stream=streams)) == "two"


@pytest.mark.parametrize(
    ("fallback_on", "failure", "served_by"),
    [
        ([500], {"kind": "status", "status": 500}, "two"),
        ([503], {"kind": "status", "status": 500}, ""),
        (["connect"], {"kind": "status", "status": 503}, ""),
        (["connect"], {"kind": "refused"}, "two"),
        (["timeout"], {"kind": "silent"}, "two"),
        ([503], {"kind": "silent"}, ""),
        ([404], {"kind": "status", "status": 404}, "two"),
        ([401, 403], {"kind": "status", "status": 401}, "two"),
        ([], {"kind": "status", "status": 503}, ""),
    ],
    ids=str,
)
def test_fallback_on_says_after_which_failures(
    farm: Farm, fallback_on: list[Any], failure: dict[str, Any], served_by: str
) -> None:
    farm.upstream("one").switch(**failure)
    rule = {"upstream": ["one", "two"], "fallback_on": fallback_on}
    farm.write("one", "two", options={"one": {"first_byte_timeout": 1}}, models={"m1": rule})
    answer = chat(farm.serve().port, stream=True)
    assert (speaker(answer) if answer.status == 200 else "") == served_by
    assert len(farm.upstream("two").chats()) == (served_by == "two")


def test_fallback_charged_twice(farm: Farm, tmp_path: Path) -> None:
    """A request is counted once, with the tokens of the answer; log and journal have each attempt."""
    farm.upstream("one").switch("status", status=503)
    farm.write("one", "two", output_path=str(tmp_path))
    proxy = farm.serve()
    answer = chat(proxy.port)
    assert speaker(answer) == "two"
    line = proxy.line(answer.id)
    counted = eventually(lambda: counted_requests(proxy))
    assert (counted["total"], counted["by_ending"]) == (1, {"complete": 1})
    assert (line["upstream"], line["status"], line["ending"]) == ("two", "200", "complete")
    client, servers = JournalReader(proxy, tmp_path).of(answer)
    assert (client["upstream"], [one["upstream"] for one in servers]) == ("two", ["one", "two"])
    assert [one["ending"] for one in servers] == ["upstream_error", "complete"]


def counted_requests(proxy: Proxy) -> dict[str, Any]:
    """Return the sums of requests, once there are some."""
    counted: dict[str, Any] = ask(proxy.port, "GET", "/metrics", Accept="application/json").json["requests"]
    return counted if counted["total"] else {}


def test_all_fail_and_the_last_one_is_told(farm: Farm) -> None:
    farm.upstream("one").switch("status", status=500)
    farm.upstream("two").switch("status", status=502, error={"message": "second", "code": "second"})
    farm.write("one", "two")
    answer = chat(farm.serve().port)
    assert (answer.status, answer.json["error"]["code"], attempts(answer)) == (502, "second", 2)


def test_all_fail_and_one_was_only_limited(farm: Farm) -> None:
    """There is something to wait for: 429, with the time to wait."""
    farm.upstream("one").switch("status", status=429, headers=[["Retry-After", "9"]])
    farm.upstream("two").switch("status", status=500)
    farm.write("one", "two")
    answer = chat(farm.serve().port)
    assert (answer.status, answer.header("Retry-After")) == (429, "9")


@BOTH
@pytest.mark.parametrize("path", ["/v1/completions", "/v1/messages", "/v1/responses"])
@pytest.mark.parametrize("kind", ["status", "refused", "error_event", "break_before"])
def test_other_surfaces_have_spares_as_well(farm: Farm, path: str, streams: bool, kind: str) -> None:
    farm.upstream("one").switch(kind)
    farm.write("one", "two")
    answer = chat(farm.serve().port, path, stream=streams, **SHORT_BODY)
    assert (answer.status, answer.whole) == (200, True)
    assert text_on(path, answer) == "two says hello"
    assert answer.header("X-Upstream") == "two"


MESSAGES, RESPONSES, CHATS = "/v1/messages", "/v1/responses", "/v1/chat/completions"
ANTHROPIC, SPEAKS, CONVERTS = {"kind": "anthropic"}, {"responses": "forward"}, {"responses": "convert"}
#: By path, and the options of the two routes.
HANDED_OVER: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "messages to Anthropic": (MESSAGES, ANTHROPIC, {}),
    "messages, Anthropic as the spare": (MESSAGES, {}, ANTHROPIC),
    "messages, both are Anthropic": (MESSAGES, ANTHROPIC, ANTHROPIC),
    "responses to one that speaks them": (RESPONSES, SPEAKS, CONVERTS),
    "responses, a spare that speaks them": (RESPONSES, CONVERTS, SPEAKS),
    "responses, both speak them": (RESPONSES, SPEAKS, SPEAKS),
    "responses, Anthropic as the spare": (RESPONSES, SPEAKS, ANTHROPIC),
    "chats, Anthropic as the spare": (CHATS, {}, ANTHROPIC),
    "chats, Anthropic first": (CHATS, ANTHROPIC, {}),
}


@BOTH
@pytest.mark.parametrize("case", HANDED_OVER)
def test_a_spare_may_speak_another_language(farm: Farm, case: str, streams: bool) -> None:
    """What one of the routes gets in its client's own words is converted for the other; before any content the other
    one answers, after it there is one error event."""
    path, first, second = HANDED_OVER[case]
    one, two = farm.upstream("one"), farm.upstream("two")
    farm.write("one", "two", options={"one": first, "two": second}, breaker={"failures": 100})
    proxy = farm.serve()
    asked = {**SHORT_BODY, "stream": streams} if path != "/v1/chat/completions" else {"stream": streams}
    assert text_on(path, chat(proxy.port, path, **asked)) == "one says hello"
    for kind in ("refused", "status", "error_event", "break_before", *([] if streams else ["break_after"])):
        one.switch(kind)
        answer = chat(proxy.port, path, **asked)
        assert (answer.status, text_on(path, answer), answer.whole) == (200, "two says hello", True), kind
        assert b'"one' not in answer.body, kind
    for kind in ("break_after", "late_error_event") if streams else ():
        one.switch(kind)
        before = len(two.chats())
        answer = chat(proxy.port, path, **asked)
        assert (answer.status, b"two" in answer.body, len(two.chats()) - before) == (200, False, 0), kind
        assert b'"one"' in answer.body, kind
        assert answer.body.count(b'"error"') >= 1, kind
        assert b"[DONE]" not in answer.body, kind
        assert b"message_stop" not in answer.body, kind
        assert b"response.completed" not in answer.body, kind


def text_on(path: str, answer: Answer) -> str:
    """Return the text of an answer of a surface, streamed or not."""
    assert answer.status == 200, answer.body
    streams = answer.header("Content-Type").startswith("text/event-stream")
    if path == "/v1/messages":
        if not streams:
            return "".join(block["text"] for block in answer.json["content"])
        deltas = [chunk["delta"] for chunk in data_of(answer) if chunk["type"] == "content_block_delta"]
        return "".join(delta.get("text", "") for delta in deltas)
    if path == "/v1/responses":
        response = accumulate(parse_events(answer.body)) if streams else answer.json
        return "".join(part["text"] for item in response["output"] for part in item["content"])
    if path == "/v1/completions" and not streams:
        text: str = answer.json["choices"][0]["text"]
        return text
    return text_of(answer)


def data_of(answer: Answer) -> list[dict[str, Any]]:
    frames = answer.body.decode().split("\n\n")
    lines = [line for frame in frames for line in frame.split("\n") if line.startswith("data: {")]
    return [json.loads(line[6:]) for line in lines]


@pytest.mark.parametrize("kind", ["status", "refused"])
def test_embeddings_have_a_spare(farm: Farm, kind: str) -> None:
    farm.upstream("one").switch(kind)
    farm.write("one", "two")
    answer = ask(farm.serve().port, "POST", "/v1/embeddings", json.dumps({"model": "m1", "input": "x"}).encode())
    assert (answer.status, answer.json["model"]) == (200, "two")


def test_in_compatible_mode_the_spare_answers_all_the_same(farm: Farm) -> None:
    farm.upstream("one").switch("status", status=500)
    farm.write("one", "two", compatible=True, breaker={"failures": 100})
    proxy = farm.serve()
    assert speaker(chat(proxy.port)) == speaker(chat(proxy.port, stream=True)) == "two"
    farm.upstream("two").switch("status", status=500)
    answer = chat(proxy.port)
    assert (answer.status, "error" in answer.json) == (200, True)


@pytest.mark.parametrize("kind", ["silent", "error_event", "break_before", "status"])
def test_early_heartbeats_settle_the_status_and_not_the_route(farm: Farm, kind: str) -> None:
    """Comments were sent before the first route failed: the spare's answer comes behind them."""
    one = farm.upstream("one")
    hasty = {"one": {"first_byte_timeout": 1.5}}
    farm.write("one", "two", options=hasty, heartbeat=0.2, early_heartbeat=True)
    proxy = farm.serve()
    one.switch(kind)
    answer = chat(proxy.port, stream=True)
    assert speaker(answer) == "two"
    if kind == "silent":
        assert answer.body.startswith(b":")


def test_native_mode_has_no_spare(farm: Farm) -> None:
    """Its replies are the upstream's own; only a connection that fails is tried elsewhere, if anything is."""
    farm.upstream("one").switch("status", status=500)
    farm.write("one", "two", options={"one": {"native": True}, "two": {"native": True}})
    answer = chat(farm.serve().port)
    assert answer.status in (200, 500)
    if answer.status == 200:
        assert speaker(answer) == "two"


def test_a_lone_upstream_has_no_new_headers(farm: Farm) -> None:
    farm.write("one")
    answer = chat(farm.serve().port)
    added = [name for name, _ in answer.headers if name.lower() in ("x-upstream", "x-attempts", "x-fallback")]
    assert added == []


PLUGIN = """
from argoproxy.api import Document, UpstreamProtocolError, UpstreamRequest, error_from_reply

class Own:
    def __init__(self, base_url): self.base_url = base_url
    def completion_request(self, call):
        return UpstreamRequest("POST", f"{self.base_url}/said", (), b'{"model": "m1"}')
    def read_completion(self, reply, call):
        text = reply.read()
        if b"said by" not in text: raise UpstreamProtocolError("nothing said")
        choice = {"index": 0, "message": {"role": "assistant", "content": "own says hello"}, "finish_reason": "stop"}
        yield [Document.of({"id": "1", "object": "chat.completion", "created": 1, "model": "x", "choices": [choice]})]
    def read_error(self, status, headers, body): return error_from_reply(status, headers, body)
    def forward_request(self, request): return UpstreamRequest("GET", f"{self.base_url}/files", (), is_streamed=False)
"""


@BOTH
def test_upstreams_of_all_kinds_stand_in_for_each_other(farm: Farm, streams: bool) -> None:
    (farm.folder / "own_fallback.py").write_text(PLUGIN)
    farm.upstream("two").switch("ok")
    server = farm.upstream("one")
    root = server.url.removesuffix("/v1")
    kinds = {
        "argo": {"kind": "argo", "base_url": f"{root}/argoapi", "user": "me"},
        "dashscope": {"kind": "dashscope", "base_url": root, "api_key": "sk-x"},
        "own": {"kind": "own_fallback:Own", "base_url": root},
        "demo": {"kind": "demo"},
    }
    rules = {f"{name}-first": {"upstream": [name, "two"], "upstream_model_name": "gpt4o"} for name in kinds}
    rules |= {f"{name}-spare": {"upstream": ["two", name], "upstream_model_name": "gpt4o"} for name in kinds}
    file = farm.write("two", models=rules, breaker={"failures": 100})
    document = json.loads(file.read_text())
    document["upstreams"] |= kinds
    file.write_text(json.dumps(document))
    proxy = farm.serve({"PYTHONPATH": str(farm.folder)})
    for name in kinds:
        assert chat(proxy.port, model=f"{name}-first", stream=streams).status == 200, name
    farm.upstream("two").switch("status", status=500)
    for name in kinds:
        answer = chat(proxy.port, model=f"{name}-spare", stream=streams)
        assert (answer.status, answer.header("X-Upstream")) == (200, name), name
    farm.upstream("two").switch("ok")
    server.switch("status", status=500)
    for name in set(kinds) - {"demo"}:
        answer = chat(proxy.port, model=f"{name}-first", stream=streams)
        assert (speaker(answer), attempts(answer)) == ("two", 2), name
