"""Another upstream in place of one that fails: what clients, the log, the journal and metrics see of both."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.client import STREAM_BODY, Answer, Client, ask, chat
from tests.support.fixtures import Serve
from tests.support.journal_reader import JournalReader
from tests.support.processes import Proxy, Upstream, eventually
from tests.support.scripts import CHUNKED, DONE, Step, chunked, completion, event, reply, stream

ROLE = 'data: {"id": "up-0", "choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]}\n\n'
USAGE = 'data: {"id": "up-0", "choices": [], "usage": {"prompt_tokens": 777000777, "completion_tokens": 0}}\n\n'
ERROR = 'data: {"error": {"message": "busy", "type": "server_error", "param": null, "code": 503}}\n\n'
SPARE = stream(event("spare"), event("", "stop"), DONE)
MESSAGE = {"type": "message_start", "message": {"id": "msg_0", "content": [], "usage": {"input_tokens": 777000777}}}
OVERLOADED = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
CREATED = {"type": "response.created", "response": {"id": "resp_0", "status": "in_progress", "error": None}}
FAILED = {"type": "response.failed", "response": {"id": "resp_0", "error": {"code": "server_error", "message": "x"}}}


def frames(*documents: dict[str, Any]) -> list[Step]:
    return stream(*named(*documents))


def named(*documents: dict[str, Any]) -> list[str]:
    return [f"event: {one['type']}\ndata: {json.dumps(one)}\n\n" for one in documents]


class Pair:
    """A proxy in front of two upstreams, each of which plays a script for everyone."""

    def __init__(self, upstream: Upstream, scripts: tuple[list[Step], list[Step]], start: Serve, folder: Path) -> None:
        self.upstream, self.folder, self._start = upstream, folder, start
        self.scripts = [upstream.script(*steps) for steps in scripts]
        self.rules = ["models:", "  m1: {upstream: [a, b]}", "  lone: {upstream: a}"]

    def serve(self, options: str = "", **settings: Any) -> Proxy:
        """Start it; `options` are those of both upstreams."""
        urls = [f"{self.upstream.url}/s/{script}/v1" for script in self.scripts]
        entries = [f"  {name}: {{base_url: {url}{options}}}" for name, url in zip("ab", urls, strict=True)]
        other = [f"{name}: {json.dumps(value)}" for name, value in settings.items()]
        (self.folder / "config.yaml").write_text("\n".join(["upstreams:", *entries, *self.rules, *other]))
        return self._start(CONFIG_PATH=str(self.folder / "config.yaml"))

    @property
    def counts(self) -> list[int]:
        return [self.upstream.count(script) for script in self.scripts]


@pytest.fixture
def pair(upstream: Upstream, start: Serve, tmp_path: Path) -> Any:
    return lambda first, second: Pair(upstream, (first, second), start, tmp_path)


def about_attempts(answer: Answer) -> tuple[str, str, str]:
    return answer.header("X-Upstream"), answer.header("X-Attempts"), answer.header("X-Fallback")


def test_a_discarded_attempt_leaves_nothing_but_its_record(pair: Any, tmp_path: Path) -> None:
    """Neither its role nor its usage reach the client, the log or the metrics; log and journal name it."""
    both = pair(stream(ROLE, USAGE, ERROR), SPARE)
    proxy = both.serve(output_path=str(tmp_path))
    answer = chat(proxy.port, stream=True)
    assert (answer.text, about_attempts(answer)) == ("spare", ("b", "2", "true"))
    assert b"up-0" not in answer.body
    line = proxy.line(answer.id)
    assert (line["upstream"], line["ending"], "prompt_tokens" in line) == ("b", "complete", False)
    first, second = (attempt.split(":") for attempt in line["attempts"].split("+"))
    assert (first[:2], second[:2]) == (["a", "overloaded"], ["b", "ok"])
    client, servers = JournalReader(proxy, tmp_path).of(answer)
    assert [(one["upstream"], one["ending"], one.get("failure")) for one in servers] == [
        ("a", "upstream_error", "overloaded"),
        ("b", "complete", None),
    ]
    assert all(one["attempt_ms"] >= 0 for one in servers)
    assert "777000777" not in json.dumps([client, servers])


def test_heartbeats_go_on_while_a_reply_is_held_back(pair: Any) -> None:
    """They settle the status, not the upstream: the spare's answer comes behind them."""
    both = pair([["send", CHUNKED + chunked(ROLE)], ["await"], ["close"]], SPARE)
    proxy = both.serve(heartbeat=0.1)
    with Client(proxy.port) as client:
        client.send("POST", "/v1/chat/completions", STREAM_BODY)
        client.until(b": heartbeat\n\n")
        both.upstream.open(both.scripts[0])
        answer = client.answer()
    assert (answer.text, answer.whole) == ("spare", True)
    assert b"up-0" not in answer.body


#: Of each API: its path, the options of an upstream that speaks it, its first event, an error, text, its last event.
APIS: dict[str, tuple[str, dict[str, Any], dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "/v1/messages": (
        ", kind: anthropic",
        MESSAGE,
        OVERLOADED,
        {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "b"}},
        {"type": "message_stop"},
    ),
    "/v1/responses": (
        ", responses: forward",
        CREATED,
        FAILED,
        {"type": "response.output_text.delta", "delta": "b"},
        {"type": "response.completed", "response": {"id": "resp_1"}},
    ),
}


@pytest.mark.parametrize("path", APIS)
@pytest.mark.parametrize("ending", ["error", "break"])
def test_bytes_of_other_apis_are_held_back_too(pair: Any, path: str, ending: str) -> None:
    options, started, failed, text, last = APIS[path]
    broken = frames(started, failed) if ending == "error" else [*frames(started)[:-1], ["close"]]
    both = pair(broken, frames(started, text, last))
    proxy = both.serve(options)
    asked = {"model": "m1", "stream": True, "max_tokens": 9}
    prompt = {"input": "Hi"} if path == "/v1/responses" else {"messages": [{"role": "user", "content": "Hi"}]}
    answer = ask(proxy.port, "POST", path, json.dumps({**asked, **prompt}).encode())
    assert about_attempts(answer) == ("b", "2", "true")
    assert answer.body == b"".join(frame.encode() for frame in named(started, text, last))
    assert both.counts == [1, 1]


def test_in_native_mode_the_replies_are_the_upstreams_own(pair: Any) -> None:
    """What the spare sends, and the error of the last one, byte for byte."""
    page = b"<h1>Bad Gateway</h1>"
    both = pair([reply("503 Busy", b"{}")], [reply("502 Bad Gateway", page, Content_Type="text/html", X_Own="1")])
    proxy = both.serve(options=", native: true")
    answer = chat(proxy.port)
    assert (answer.status, answer.body, answer.header("X-Own")) == (502, page, "1")
    assert about_attempts(answer) == ("b", "2", "true")
    assert proxy.line(answer.id)["ending"] == "upstream_error"
    lone = chat(proxy.port, model="lone")
    assert (lone.status, lone.body, about_attempts(lone)) == (503, b"{}", ("", "", ""))


def test_in_native_mode_the_first_event_decides(pair: Any) -> None:
    both = pair(stream(ROLE, ERROR), SPARE)
    answer = chat(both.serve(options=", native: true").port, stream=True)
    assert (answer.text, about_attempts(answer), b"up-0" in answer.body) == ("spare", ("b", "2", "true"), False)


def test_in_native_mode_a_rate_limit_is_told_with_the_soonest_time(pair: Any) -> None:
    both = pair(
        [reply("429 Slow", b'{"a": 1}', Retry_After="9", Retry_After_Ms="9000")],
        [reply("429 Slow", b'{"b": 1}', Retry_After="60")],
    )
    answer = chat(both.serve(options=", native: true").port)
    assert (answer.status, answer.body, answer.header("Retry-After")) == (429, b'{"a": 1}', "9")


def test_the_rate_limit_of_one_is_told_and_the_failure_of_the_other_is_recorded(pair: Any, tmp_path: Path) -> None:
    both = pair([reply("429 Slow", b"{}", Retry_After="60")], [reply("500 Broken", b"{}")])
    proxy = both.serve(output_path=str(tmp_path))
    answer = chat(proxy.port)
    assert (answer.status, answer.header("Retry-After")) == (429, "60")
    _, servers = JournalReader(proxy, tmp_path).of(answer)
    assert [(one["status"], one["failure"]) for one in servers] == [(429, "rate_limited"), (500, "server_error")]


def test_a_long_body_is_sent_once(pair: Any) -> None:
    """It is kept for no second attempt."""
    both = pair([reply("503 Busy", b"{}")], [reply(body=completion("spare"), Content_Type="application/json")])
    proxy = both.serve()
    long = [{"role": "user", "content": "x" * (8 * 1024 * 1024)}]
    assert chat(proxy.port, messages=long).status == 503
    assert both.counts == [1, 0]
    answer = chat(proxy.port)
    assert (answer.json["choices"][0]["message"]["content"], both.counts) == ("spare", [2, 1])


def test_the_wish_for_one_attempt_stays_here(pair: Any) -> None:
    both = pair([reply("503 Busy", b"{}")], SPARE)
    proxy = both.serve()
    assert chat(proxy.port, headers={"X-No-Fallback": "true"}).status == 503
    assert both.counts == [1, 0]
    sent = both.upstream.last(both.scripts[0])["headers"]
    assert "x-no-fallback" not in [name.lower() for name, *_ in sent]


def test_upstreams_headers_of_the_same_names_are_replaced_only_with_ours(pair: Any) -> None:
    said = reply(body=completion("one"), Content_Type="application/json", X_Upstream="nginx-7", X_Attempts="9")
    proxy = pair([said], SPARE).serve()
    assert about_attempts(chat(proxy.port)) == ("a", "1", "")
    assert about_attempts(chat(proxy.port, model="lone")) == ("nginx-7", "9", "")


def test_nothing_is_left_of_a_request_whose_client_leaves_while_a_reply_is_held_back(pair: Any) -> None:
    both = pair([["send", CHUNKED + chunked(ROLE)], ["await"], ["close"]], SPARE)
    proxy = both.serve()
    with Client(proxy.port) as client:
        client.send("POST", "/v1/chat/completions", STREAM_BODY)
        eventually(lambda: both.counts == [1, 0])
    both.upstream.left(both.scripts[0])
    (line,) = eventually(lambda: [found for found in proxy.lines() if found["ending"] == "client_gone"])
    assert (line["upstream"], both.counts) == ("a", [1, 0])


def test_a_long_prompt_of_another_api_goes_to_the_larger_model_in_its_own_words(pair: Any) -> None:
    """The request is handed over to the second upstream as it was to the first, under the name that its rule gives."""
    refusal = {
        "type": "error",
        "error": {"type": "invalid_request_error", "message": "prompt is too long: 9 > 8 maximum"},
    }
    message = {"id": "msg_1", "type": "message", "role": "assistant", "content": [{"type": "text", "text": "long"}]}
    both = pair(
        [reply("400 Bad", json.dumps(refusal).encode(), Content_Type="application/json")],
        [reply(body=json.dumps(message).encode(), Content_Type="application/json")],
    )
    both.rules = [
        "models:",
        "  m1: {upstream: a, context_fallback: m2}",
        "  m2: {upstream: b, upstream_model_name: big}",
    ]
    proxy = both.serve(", kind: anthropic")
    asked = {"model": "m1", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}
    answer = ask(proxy.port, "POST", "/v1/messages", json.dumps(asked).encode())
    assert (answer.status, answer.json, about_attempts(answer)) == (200, message, ("b", "2", "true"))
    sent = json.loads(both.upstream.last(both.scripts[1])["body"])
    assert sent == {**asked, "model": "big"}
