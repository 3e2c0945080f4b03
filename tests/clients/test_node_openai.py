"""OpenAI's official SDK for Node.js, with both of its APIs, in front of an upstream of each kind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.clients.installed import needs, run_node
from tests.support.messages_grammar import call_of, chunk_of, usage_of
from tests.support.processes import Proxy, Upstream
from tests.support.scripts import CHUNKED, DONE, chunked, event, reply, stream

pytestmark = needs("node", "node-sdks")
Json = dict[str, Any]
CALLS_FILE = Path(__file__).with_name("node_calls.mjs")
MODELS = ["demo", "chat", "qwen", "gpt", "claude"]
CITY = {"type": "object", "properties": {"city": {"type": "string"}}}
NAMES = ("weather", "time")
TOOLS = [{"type": "function", "name": name, "parameters": CITY, "strict": False} for name in NAMES]
CHAT_TOOLS = [{"type": "function", "function": {"name": name, "parameters": CITY}} for name in NAMES]
PNG = "data:image/png;base64,iVBORw0KGgo="


def open_call(index: int, arguments: str, name: str) -> Json:
    """Return a delta with the first fragment of a call: the SDK wants its type."""
    function = {"name": name, "arguments": arguments}
    return {"tool_calls": [{"index": index, "id": f"c{index}", "type": "function", "function": function}]}


#: The SDK wants the role in the first event of a stream.
HELLO = f"data: {json.dumps(chunk_of({'role': 'assistant', 'content': 'Hel'}))}\n\n"
CALLS = [
    chunk_of({"role": "assistant", "content": "Let me see."}),
    chunk_of(open_call(0, '{"city":', "weather")),
    chunk_of(open_call(1, '{"city":"Oslo"}', "time")),
    chunk_of(call_of(0, '"Oslo"}')),
    chunk_of({}, "tool_calls"),
]


class Client:
    """Makes calls with the SDK, in one process for each list of calls."""

    def __init__(self, proxy: Proxy, folder: Path) -> None:
        self.options = {"baseURL": f"{proxy.url}/v1", "apiKey": "any", "maxRetries": 0}
        self.folder = folder

    def make(self, *calls: Json) -> list[Json]:
        asked = {"library": "openai", "options": self.options, "calls": calls}
        shown = run_node(CALLS_FILE.read_text(), self.folder, asked)
        told: list[Json] = json.loads(shown)
        return told

    def respond(self, parameters: Json, script: str = "") -> Json:
        """Ask for a response by a stream and whole, check that both are the same, and return it."""
        asked = {"parameters": parameters, "headers": {"X-Script": script} if script else {}}
        streamed, whole = self.make(
            {**asked, "method": "responses.stream", "then": "finalResponse"}, {**asked, "method": "responses.create"}
        )
        assert without_ids(streamed["value"]) == without_ids(whole["value"])
        response: Json = whole["value"]
        return response

    def chat(self, parameters: Json, script: str = "") -> Json:
        """Ask for a chat completion by a stream and whole, check that the message is the same, and return it. The SDK
        does not put thoughts together: of a field that it does not know it keeps the last piece of a stream."""
        asked = {"parameters": parameters, "headers": {"X-Script": script} if script else {}}
        streamed, whole = self.make(
            {**asked, "method": "chat.completions.stream", "then": "finalChatCompletion"},
            {**asked, "method": "chat.completions.create"},
        )
        (first,), (second,) = streamed["value"]["choices"], whole["value"]["choices"]
        assert first["finish_reason"] == second["finish_reason"]
        for field in ("role", "content"):
            assert first["message"][field] == second["message"][field]
        assert functions_of(first) == functions_of(second)
        choice: Json = second
        return choice


@pytest.fixture
def client(proxy: Proxy, tmp_path: Path) -> Client:
    folder = tmp_path / "work"
    folder.mkdir()
    return Client(proxy, folder)


def without_ids(response: Json) -> Json:
    """Return a response without what differs from request to request, and without null fields."""
    text = json.dumps({**response, "created_at": 0}).replace(response["id"].removeprefix("resp_"), "")
    same: Json = drop_parsed(json.loads(text))
    return same


def drop_parsed(value: Any) -> Any:
    """Return a value without null fields, and without what the SDK itself adds to one of the forms."""
    if isinstance(value, dict):
        added = ("parsed", "parsed_arguments", "output_parsed", "output_text", "call_id")
        kept = {key: drop_parsed(one) for key, one in value.items() if one is not None and key not in added}
        if "arguments" in kept:
            kept["arguments"] = json.loads(kept["arguments"])
        return kept
    return [drop_parsed(one) for one in value] if isinstance(value, list) else value


def functions_of(choice: Json) -> list[tuple[str, Json]]:
    calls = [call["function"] for call in choice["message"].get("tool_calls") or ()]
    return [(call["name"], json.loads(call["arguments"])) for call in calls]


def text_of(response: Json) -> str:
    texts = [part["text"] for item in response["output"] if item["type"] == "message" for part in item["content"]]
    return "".join(texts)


def say_hello(upstream: Upstream, model: str) -> str:
    """Have the upstream of chats say hello; others answer as they do."""
    if model != "chat":
        return ""
    usage = f"data: {json.dumps(usage_of(prompt_tokens=9, completion_tokens=3, total_tokens=12))}\n\n"
    return upstream.script(*stream(HELLO, event("lo"), event("", "stop"), usage, DONE))


@pytest.mark.parametrize("model", MODELS)
def test_chats(client: Client, upstream: Upstream, model: str) -> None:
    asked = {"model": model, "messages": [{"role": "user", "content": "Hi"}]}
    choice = client.chat(asked, say_hello(upstream, model))
    assert choice["message"]["content"].startswith("Hello")
    assert choice["finish_reason"] == "stop"


@pytest.mark.parametrize("model", MODELS)
def test_responses(client: Client, upstream: Upstream, model: str) -> None:
    asked = {"model": model, "input": "Hi", "instructions": "Be brief.", "metadata": {"a": "b"}}
    response = client.respond(asked, say_hello(upstream, model))
    assert text_of(response).startswith("Hello")
    assert (response["status"], response["metadata"]) == ("completed", {"a": "b"})
    assert response["usage"]["total_tokens"] > 0


def call_two(upstream: Upstream, model: str) -> str:
    """Have the upstream of chats call two tools, the fragments mixed; Anthropic calls what it is offered."""
    events = [f"data: {json.dumps(chunk)}\n\n" for chunk in CALLS]
    return upstream.script(*stream(*events, DONE)) if model == "chat" else ""


@pytest.mark.parametrize("model", ["chat", "gpt", "claude"])
def test_tools_of_chats_there_and_back(client: Client, upstream: Upstream, model: str) -> None:
    question = {"role": "user", "content": "What is the weather?"}
    asked = {"model": model, "messages": [question], "tools": CHAT_TOOLS}
    choice = client.chat(asked, call_two(upstream, model))
    assert [(name, list(arguments)) for name, arguments in functions_of(choice)] == [
        ("weather", ["city"]),
        ("time", ["city"]),
    ]
    message = choice["message"]
    results = [{"role": "tool", "tool_call_id": call["id"], "content": "sunny"} for call in message["tool_calls"]]
    asked = {**asked, "messages": [question, message, *results]}
    assert client.chat(asked, say_hello(upstream, model))["message"]["content"]


@pytest.mark.parametrize("model", ["chat", "gpt", "claude"])
def test_tools_of_responses_there_and_back(client: Client, upstream: Upstream, model: str) -> None:
    question = {"role": "user", "content": "What is the weather?"}
    asked = {"model": model, "input": [question], "tools": TOOLS}
    response = client.respond(asked, call_two(upstream, model))
    calls = [item for item in response["output"] if item["type"] == "function_call"]
    assert [call["name"] for call in calls] == ["weather", "time"]
    outputs = [{"type": "function_call_output", "call_id": call["call_id"], "output": "sunny"} for call in calls]
    history = [question, *response["output"], *outputs]
    again = client.respond({**asked, "input": history}, script := say_hello(upstream, model))
    assert text_of(again)
    if model == "chat":
        messages = json.loads(upstream.last(script)["body"])["messages"]
        assert [message["role"] for message in messages] == ["user", "assistant", "tool", "tool"]


@pytest.mark.parametrize("model", ["chat", "claude"])
def test_images(client: Client, upstream: Upstream, model: str) -> None:
    parts = [{"type": "text", "text": "What is it?"}, {"type": "image_url", "image_url": {"url": PNG}}]
    messages = [{"role": "user", "content": parts}]
    script = say_hello(upstream, model)
    assert client.chat({"model": model, "messages": messages}, script)["message"]["content"]
    items = [{"type": "input_text", "text": "What is it?"}, {"type": "input_image", "image_url": PNG, "detail": "low"}]
    question = [{"role": "user", "content": items}]
    assert text_of(client.respond({"model": model, "input": question}, script))
    if model == "chat":
        sent = [json.loads(seen["body"])["messages"][0]["content"] for seen in upstream.seen(script)]
        assert [[part["type"] for part in one] for one in sent] == [["text", "image_url"]] * 4


def test_structured_output(client: Client, upstream: Upstream) -> None:
    script = upstream.script(*stream(event('{"name": "Oslo",'), event(' "people": 7}'), event("", "stop"), DONE))
    parameters = {"model": "chat", "input": "hi", "text": "City"}
    asked = {"parameters": parameters, "headers": {"X-Script": script}}
    parsed, streamed = client.make(
        {**asked, "method": "responses.parse"}, {**asked, "method": "responses.stream", "then": "finalResponse"}
    )
    for told in (parsed, streamed):
        assert told["value"]["output_parsed"] == {"name": "Oslo", "people": 7}
    form = json.loads(upstream.last(script)["body"])["response_format"]
    assert (form["type"], form["json_schema"]["name"], form["json_schema"]["strict"]) == ("json_schema", "City", True)


def test_errors_are_raised(client: Client, upstream: Upstream) -> None:
    body = b'{"error":{"message":"Too fast.","type":"rate_limit_error","param":null,"code":"slow_down"}}'
    headers = {"X-Script": upstream.script(reply("429 Too Many Requests", body, Content_Type="application/json"))}
    chat = {"model": "chat", "messages": [{"role": "user", "content": "Hi"}]}
    asked = {"model": "chat", "input": "Hi"}
    told = client.make(
        {"method": "chat.completions.create", "parameters": chat, "headers": headers},
        {"method": "chat.completions.stream", "parameters": chat, "headers": headers, "then": "finalChatCompletion"},
        {"method": "responses.create", "parameters": asked, "headers": headers},
        {"method": "responses.stream", "parameters": asked, "headers": headers, "then": "finalResponse"},
        {"method": "responses.create", "parameters": {**asked, "previous_response_id": "resp_1"}},
        {"method": "chat.completions.create", "parameters": {**chat, "messages": []}},
    )
    errors = [one["error"] for one in told]
    assert [error["status"] for error in errors] == [429, 429, 429, 429, 400, 400]
    assert [error["name"] for error in errors] == ["RateLimitError"] * 4 + ["BadRequestError"] * 2
    assert all("Too fast." in error["message"] for error in errors[:4])
    assert all(error["id"] for error in errors)


def test_a_stream_that_fails_raises(client: Client, upstream: Upstream) -> None:
    headers = {"X-Script": upstream.script(["send", CHUNKED + chunked(event("Hel"))], ["close"])}
    chat = {"model": "chat", "messages": [{"role": "user", "content": "Hi"}]}
    failed, events = client.make(
        {"method": "chat.completions.stream", "parameters": chat, "headers": headers, "then": "finalChatCompletion"},
        {
            "method": "responses.create",
            "parameters": {"model": "chat", "input": "Hi", "stream": True},
            "headers": headers,
            "then": "events",
        },
    )
    assert "error" in failed
    assert events["value"][-1]["type"] == "response.failed"


def test_models_are_listed(client: Client) -> None:
    listed, one = client.make(
        {"method": "models.list", "then": "events"}, {"method": "models.retrieve", "parameters": "demo"}
    )
    assert {"chat", "demo", "claude"} <= {model["id"] for model in listed["value"]}
    assert one["value"]["object"] == "model"
