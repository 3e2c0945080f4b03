"""Anthropic's official SDK for Node.js in front of an upstream of each kind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.clients.installed import needs, run_node
from tests.support.messages_grammar import call_of, chunk_of, usage_of
from tests.support.processes import Proxy, Upstream
from tests.support.scripts import CHUNKED, DONE, END, chunked, completion, event, reply, stream

pytestmark = needs("node", "node-sdks")
Json = dict[str, Any]
CALLS_FILE = Path(__file__).with_name("node_calls.mjs")
CITY = {"type": "object", "properties": {"city": {"type": "string"}}}
TOOLS = [{"name": name, "input_schema": CITY} for name in ("weather", "time")]
PNG = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}}
THINKING = {"max_tokens": 2048, "thinking": {"type": "enabled", "budget_tokens": 1024}}


class Client:
    """Makes calls with the SDK, in one process for each list of calls."""

    def __init__(self, proxy: Proxy, folder: Path) -> None:
        self.options = {"baseURL": proxy.url, "apiKey": "any", "maxRetries": 0}
        self.folder = folder

    def make(self, *calls: Json) -> list[Json]:
        asked = {"library": "anthropic", "options": self.options, "calls": calls}
        shown = run_node(CALLS_FILE.read_text(), self.folder, asked)
        told: list[Json] = json.loads(shown)
        return told

    def both(self, parameters: Json, script: str = "") -> tuple[Json, Json]:
        """Return what a stream and a whole answer came to."""
        headers = {"X-Script": script} if script else {}
        asked = {"parameters": parameters, "headers": headers}
        streamed, whole = self.make(
            {**asked, "method": "messages.stream", "then": "finalMessage"}, {**asked, "method": "messages.create"}
        )
        return streamed, whole


@pytest.fixture
def client(proxy: Proxy, tmp_path: Path) -> Client:
    folder = tmp_path / "work"
    folder.mkdir()
    return Client(proxy, folder)


def user(*content: Any) -> Json:
    return {"role": "user", "content": content[0] if isinstance(content[0], str) else list(content)}


def ask_for(model: str, *messages: Json, **more: Any) -> Json:
    return {"model": model, "max_tokens": 99, "messages": list(messages), **more}


def same_fields(streamed: Json, whole: Json) -> Json:
    """Check that both are the same message but for its id; return it."""
    first, second = ({**drop_empty(told["value"]), "id": ""} for told in (streamed, whole))
    assert first == second
    return second


def drop_empty(value: Any) -> Any:
    """Return a value without null fields and without what only one of two forms of an answer has."""
    if isinstance(value, dict):
        return {key: drop_empty(one) for key, one in value.items() if one is not None and not key.startswith("_")}
    return [drop_empty(one) for one in value] if isinstance(value, list) else value


@pytest.mark.parametrize("model", ["demo", "chat", "qwen", "gpt", "claude"])
def test_streamed_and_whole_give_the_same_message(client: Client, upstream: Upstream, model: str) -> None:
    script = ""
    if model == "chat":
        thoughts = [json.dumps(chunk_of({"reasoning_content": word})) for word in ("h", "m")]
        events = [*(f"data: {chunk}\n\n" for chunk in thoughts), event("Hello"), event("!", "stop"), DONE]
        script = upstream.script(*stream(*events))
    more = {"max_tokens": 3} if model == "demo" else THINKING
    message = same_fields(*client.both(ask_for(model, user("think"), **more), script))
    assert [message["type"], message["role"]] == ["message", "assistant"]
    thought, *_, text = message["content"]
    assert (thought["type"], bool(thought["thinking"]), bool(thought["signature"])) == ("thinking", True, True)
    assert text["text"].startswith("Hello")
    assert message["stop_reason"] == ("max_tokens" if model == "demo" else "end_turn")
    assert message["usage"]["input_tokens"] > 0
    assert message["usage"]["output_tokens"] > 0


CALLS = [
    chunk_of({"role": "assistant", "reasoning_content": "hm"}),
    chunk_of({"content": "Let me see."}),
    chunk_of(call_of(0, '{"city":', "weather", "c0")),
    chunk_of(call_of(1, '{"city":"Oslo"}', "time", "c1")),
    chunk_of(call_of(0, '"Oslo"}')),
    chunk_of({}, "tool_calls"),
    usage_of(prompt_tokens=20, completion_tokens=9, prompt_tokens_details={"cached_tokens": 8}),
]


@pytest.mark.parametrize("model", ["chat", "qwen", "gpt", "claude"])
def test_tools_are_called_and_their_results_go_back(client: Client, upstream: Upstream, model: str) -> None:
    script = ""
    if model == "chat":
        script = upstream.script(*stream(*(f"data: {json.dumps(chunk)}\n\n" for chunk in CALLS), DONE))
    asked = ask_for(model, user("Hi"), tools=TOOLS, tool_choice={"type": "auto"})
    message = same_fields(*client.both(asked, script))
    calls = [block for block in message["content"] if block["type"] == "tool_use"]
    assert (message["stop_reason"], [call["name"] for call in calls]) == ("tool_use", ["weather", "time"])
    assert [list(call["input"]) for call in calls] == [["city"], ["city"]]
    results = [{"type": "tool_result", "tool_use_id": call["id"], "content": "sunny"} for call in calls]
    turns = [user("Hi"), {"role": "assistant", "content": message["content"]}, user(*results)]
    script = upstream.script(reply(body=completion("It is sunny."))) if model == "chat" else ""
    (answer,) = client.make(
        {"method": "messages.create", "parameters": {**asked, "messages": turns}, "headers": {"X-Script": script}}
    )
    assert answer["value"]["stop_reason"] == "end_turn"
    if model == "chat":
        messages = json.loads(upstream.last(script)["body"])["messages"]
        assert [one["role"] for one in messages] == ["user", "assistant", "tool", "tool"]
        assert (messages[1]["reasoning_content"], messages[3]["tool_call_id"]) == ("hm", "c1")


@pytest.mark.parametrize("model", ["chat", "claude"])
def test_images(client: Client, upstream: Upstream, model: str) -> None:
    script = upstream.script(*stream(event("A cat.", "stop"), DONE))
    question = user({"type": "text", "text": "What is it?"}, PNG)
    message = same_fields(*client.both(ask_for(model, question), script if model == "chat" else ""))
    assert message["content"][-1]["text"]
    if model == "chat":
        (sent,) = json.loads(upstream.last(script)["body"])["messages"]
        assert [part["type"] for part in sent["content"]] == ["text", "image_url"]


def test_errors_are_raised(client: Client, upstream: Upstream) -> None:
    body = b'{"error": {"message": "Too fast.", "type": "requests", "code": null}}'
    limited = upstream.script(reply("429 Too Many", body, Content_Type="application/json"))
    told = [
        *client.both(ask_for("chat", user("Hi")), limited),
        *client.both(ask_for("claude", user("fail:529"))),
        *client.both(ask_for("chat")),
        *client.both({**ask_for("demo", user("Hi")), "max_tokens": 0}),
    ]
    errors = [one["error"] for one in told]
    names = ["RateLimitError", "OverloadedError", "BadRequestError", "BadRequestError"]
    assert [error["name"] for error in errors[1::2]] == names
    assert [error["status"] for error in errors] == [429, 429, 529, 529, 400, 400, 400, 400]
    for words, pair in zip(["Too fast.", "Overloaded", "messages", "max_tokens"], range(0, 8, 2), strict=True):
        assert all(words in error["message"] and error["id"] for error in errors[pair : pair + 2])


def test_a_stream_that_fails_raises(client: Client, upstream: Upstream) -> None:
    broken = upstream.script(["send", CHUNKED + chunked(event("Hel"))], ["close"])
    empty = upstream.script(["send", CHUNKED + END])
    streams = [
        {"method": "messages.stream", "then": "finalMessage", "parameters": parameters, "headers": headers}
        for parameters, headers in [
            (ask_for("chat", user("Hi")), {"X-Script": broken}),
            (ask_for("chat", user("Hi")), {"X-Script": empty}),
            (ask_for("claude", user("cut")), {}),
            (ask_for("claude", user("error:overloaded_error")), {}),
        ]
    ]
    assert ["error" in told for told in client.make(*streams)] == [True] * 4


def test_tokens_are_counted_and_models_listed_in_pages(client: Client) -> None:
    counts = [
        {"method": "messages.countTokens", "parameters": {"model": model, "messages": [user("How many tokens?")]}}
        for model in ("demo", "chat", "claude")
    ]
    *counted, listed, one = client.make(
        *counts,
        {"method": "models.list", "parameters": {"limit": 2}, "then": "events"},
        {"method": "models.retrieve", "parameters": "demo"},
    )
    assert all(told["value"]["input_tokens"] > 0 for told in counted)
    models = [model["id"] for model in listed["value"]]
    assert len(models) == len(set(models))
    assert {"chat", "demo", "claude"} <= set(models)
    assert one["value"]["id"] == "demo"
