"""The official clients of the Responses API, through a running proxy to an upstream that has chats only."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest
from pydantic import BaseModel

from tests.support.fixtures import Serve
from tests.support.processes import Proxy, Upstream
from tests.support.scripts import DONE, event, reply, stream

Json = dict[str, Any]

WEATHER: Any = {
    "type": "function",
    "name": "weather",
    "description": "Tell the weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    "strict": False,
}


class City(BaseModel):
    """What a model is to answer with."""

    name: str
    people: int


@pytest.fixture
def converting(serve: Serve, upstream: Upstream) -> Proxy:
    """A proxy that converts all requests to chats."""
    return serve(TARGET_BASE_URL=upstream.url, RESPONSES="convert")


def connect(proxy: Proxy, script: str = "") -> openai.OpenAI:
    headers = {"X-Script": script} if script else {}
    url = f"http://localhost:{proxy.port}/v1"
    return openai.OpenAI(base_url=url, api_key="k", max_retries=0, default_headers=headers)


def call_event(**fields: Any) -> str:
    """Give an event with a fragment of a call."""
    return event("", delta={"tool_calls": [{"index": 0, **fields}]})


CALL = stream(
    call_event(id="call_1", type="function", function={"name": "weather", "arguments": ""}),
    call_event(function={"arguments": '{"city": '}),
    call_event(function={"arguments": '"Oslo"}'}),
    event("", "tool_calls"),
    DONE,
)


def test_create(converting: Proxy) -> None:
    with connect(converting) as client:
        response = client.responses.create(model="m1", input="hi")
        events = list(client.responses.create(model="m1", input="hi", stream=True))
    assert (response.status, response.output_text) == ("completed", "Hello there!")
    assert response.usage is not None
    assert response.usage.total_tokens == 10
    last = events[-1]
    assert last.type == "response.completed"
    assert last.response.output_text == "Hello there!"
    assert last.response.model == response.model


def test_stream(converting: Proxy) -> None:
    with connect(converting) as client, client.responses.stream(model="m1", input="hi") as events:
        texts = [one.delta for one in events if one.type == "response.output_text.delta"]
        assert "".join(texts) == "Hello there!"
        assert events.get_final_response().output_text == "Hello there!"


def test_tools_streamed_and_back(converting: Proxy, upstream: Upstream) -> None:
    script = upstream.script(*CALL)
    with connect(converting, script) as client:
        with client.responses.stream(model="m1", input="hi", tools=[WEATHER]) as events:
            response = events.until_done().get_final_response()
        (call,) = response.output
        assert call.type == "function_call"
        assert (call.call_id, call.name, call.arguments) == ("call_1", "weather", '{"city": "Oslo"}')
        output: Any = {"type": "function_call_output", "call_id": call.call_id, "output": "Rain"}
        history: Any = [{"role": "user", "content": "hi"}, call.to_dict(), output]
        client.responses.create(model="m1", input=history, tools=[WEATHER], stream=True).close()
    messages = json.loads(upstream.last(script)["body"])["messages"]
    assert [message["role"] for message in messages] == ["user", "assistant", "tool"]


def test_a_signed_call_goes_back_with_its_signature(converting: Proxy, upstream: Upstream) -> None:
    signed = {"google": {"thought_signature": "CiQB"}}
    function = {"name": "weather", "arguments": '{"city":"Rome"}'}
    fragment = call_event(id="call_1", type="function", function=function, extra_content=signed)
    script = upstream.script(*stream(fragment, event("", "tool_calls"), DONE))
    with connect(converting, script) as client:
        with client.responses.stream(model="m1", input="hi", tools=[WEATHER]) as events:
            output = [item.to_dict() for item in events.get_final_response().output]
        told: Json = {"type": "function_call_output", "call_id": "call_1", "output": "Rain"}
        history: Any = [{"role": "user", "content": "hi"}, *output, told]
        client.responses.create(model="m1", input=history, tools=[WEATHER])
    _, message, _ = json.loads(upstream.last(script)["body"])["messages"]
    assert message["tool_calls"] == [
        {"id": "call_1", "type": "function", "function": function, "extra_content": signed}
    ]


def test_parse(converting: Proxy, upstream: Upstream) -> None:
    script = upstream.script(*stream(event('{"name": "Oslo",'), event(' "people": 7}'), event("", "stop"), DONE))
    with connect(converting, script) as client:
        parsed = client.responses.parse(model="m1", input="hi", text_format=City).output_parsed
    assert parsed == City(name="Oslo", people=7)
    form = json.loads(upstream.last(script)["body"])["response_format"]
    assert (form["type"], form["json_schema"]["name"], form["json_schema"]["strict"]) == ("json_schema", "City", True)


def test_images(converting: Proxy, upstream: Upstream) -> None:
    script = upstream.script(*stream(event("A cat.", "stop"), DONE))
    picture: Any = {"type": "input_image", "image_url": "data:image/png;base64,AA==", "detail": "low"}
    question: Any = [{"role": "user", "content": [{"type": "input_text", "text": "What is it?"}, picture]}]
    with connect(converting, script) as client:
        assert client.responses.create(model="m1", input=question).output_text == "A cat."
    (message,) = json.loads(upstream.last(script)["body"])["messages"]
    assert [part["type"] for part in message["content"]] == ["text", "image_url"]


def test_errors(converting: Proxy, upstream: Upstream) -> None:
    body = b'{"error":{"message":"Too fast.","type":"rate_limit_error","param":null,"code":"slow_down"}}'
    script = upstream.script(reply("429 Too Many Requests", body, Content_Type="application/json"))
    with connect(converting, script) as client:
        with pytest.raises(openai.RateLimitError, match="Too fast"):
            client.responses.create(model="m1", input="hi")
        with pytest.raises(openai.BadRequestError, match="stores no responses"):
            client.responses.create(model="m1", input="hi", previous_response_id="resp_1")


def test_a_failure_while_streaming(converting: Proxy, upstream: Upstream) -> None:
    script = upstream.script(*stream(event("Hel"))[:-1], ["close"])
    with connect(converting, script) as client:
        *_, last = client.responses.create(model="m1", input="hi", stream=True)
    assert last.type == "response.failed"
    assert last.response.error is not None
    assert last.response.error.code == "server_error"
