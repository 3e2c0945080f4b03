"""OpenAI's official client of the Responses API in front of each kind of upstream that has chats of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import BaseModel, TypeAdapter

from tests.support.client import ask
from tests.support.fixtures import Serve
from tests.support.processes import Proxy, Upstream
from tests.support.providers.anthropic_rules import KEY
from tests.support.providers.argo import CHAT
from tests.support.providers.dashscope import MULTIMODAL
from tests.support.stand_ins import stand_in

Json = dict[str, Any]
#: The client reads events as they are; its types say what each must hold.
EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)

#: A byte of PNG is enough for stand-ins that do not look at it.
IMAGE: Any = {"type": "input_image", "image_url": "data:image/png;base64,iVBORw0KGgo=", "detail": "auto"}
CITY = {"type": "object", "properties": {"city": {"type": "string"}}}
TOOLS: Any = [{"type": "function", "name": name, "parameters": CITY, "strict": False} for name in ("weather", "time")]
MODELS = {
    "demo": {"upstream": "demo"},
    "argo:*": {"upstream": "argo"},
    "qwen*": {"upstream": "dashscope"},
    "claude-*": {"upstream": "anthropic"},
}
WORDS = {
    "demo": "Hello! I am the demo model",
    "argo:gpt-4o": "Hello 世界 🌍, you said: Hi é",
    "argo:claude-sonnet-4": "Hello 世界 🌍, you said: Hi é",
    "qwen-max": "Hello 世界 🌍, you said: Hi é",
    "claude-opus-4-6": "Hello 世界 🌍, you said: Hi é",
}
CALLING = [model for model in WORDS if model != "demo"]


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with stand_in("anthropic") as running:
        yield running


@pytest.fixture(scope="module")
def proxy(serve: Serve, upstream: Upstream, port: int, tmp_path_factory: pytest.TempPathFactory) -> Proxy:
    config = tmp_path_factory.mktemp("responses") / "config.yaml"
    upstreams = {
        "demo": {"kind": "demo"},
        "argo": {"kind": "argo", "base_url": f"{upstream.url}/argoapi", "user": "me"},
        "dashscope": {"kind": "dashscope", "base_url": f"{upstream.url}/api/v1", "api_key": "key"},
        "anthropic": {"kind": "anthropic", "base_url": f"http://127.0.0.1:{port}", "api_key": KEY},
    }
    config.write_text(json.dumps({"upstreams": upstreams, "models": MODELS}))
    return serve(CONFIG_PATH=str(config))


@pytest.fixture(scope="module")
def client(proxy: Proxy) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{proxy.url}/v1", api_key="any", max_retries=0) as made:
        yield made


def respond(client: openai.OpenAI, **asked: Any) -> Json:
    """Ask for a stream and for a whole response, see that they are the same object, and give it."""
    whole: Json = client.responses.create(**asked).to_dict()
    Response.model_validate(whole)
    *events, last = client.responses.create(**asked, stream=True)
    for event in (*events, last):
        assert type(EVENT.validate_python(event.to_dict())) is type(event)
    assert last.type in ("response.completed", "response.incomplete")
    assert without_ids(last.response.to_dict()) == without_ids(whole)
    return whole


def without_ids(response: Json) -> Json:
    """Give a response without what differs from request to request: ids, and how the arguments of a call are spelled,
    which are an object in whole answers of some upstreams."""
    output = [
        {**item, "call_id": "", "arguments": json.loads(item["arguments"])} if item in calls_of(response) else item
        for item in response["output"]
    ]
    text = json.dumps({**response, "output": output, "created_at": 0})
    same: Json = json.loads(text.replace(response["id"].removeprefix("resp_"), ""))
    return same


def calls_of(response: Json) -> list[Json]:
    return [item for item in response["output"] if item["type"] == "function_call"]


def text_of(response: Json) -> str:
    texts = [part["text"] for item in response["output"] if item["type"] == "message" for part in item["content"]]
    return "".join(texts)


def user(*content: Any) -> Json:
    parts = [{"type": "input_text", "text": part} if isinstance(part, str) else part for part in content]
    return {"role": "user", "content": parts}


@pytest.mark.parametrize("model", WORDS)
def test_streamed_and_whole_are_the_same_response(client: openai.OpenAI, model: str) -> None:
    response = respond(client, model=model, input="Hi é", instructions="Be brief.", metadata={"a": "b"})
    assert text_of(response).startswith(WORDS[model])
    assert (response["status"], response["instructions"], response["metadata"]) == (
        "completed",
        "Be brief.",
        {"a": "b"},
    )
    assert response["usage"]["total_tokens"] > 0
    with client.responses.stream(model=model, input="Hi é") as events:
        deltas = "".join(event.delta for event in events if event.type == "response.output_text.delta")
        assert events.get_final_response().output_text == deltas == text_of(response)


@pytest.mark.parametrize("model", CALLING)
def test_tools_there_and_back(client: openai.OpenAI, model: str) -> None:
    question = user("What is the weather?")
    calls = calls_of(response := respond(client, model=model, input=[question], tools=TOOLS))
    assert [(call["name"], list(json.loads(call["arguments"]))) for call in calls] == [
        ("weather", ["city"]),
        ("time", ["city"]),
    ]
    outputs = [{"type": "function_call_output", "call_id": call["call_id"], "output": "sunny"} for call in calls]
    again = respond(client, model=model, input=[question, *response["output"], *outputs[::-1]])
    assert (calls_of(again), again["status"]) == ([], "completed")
    assert text_of(again)


def test_anthropics_thoughts_come_back_with_their_signature(client: openai.OpenAI, port: int) -> None:
    question = user("What is the weather?")
    thinking: Any = {"reasoning": {"effort": "high", "summary": "auto"}, "include": ["reasoning.encrypted_content"]}
    asked: Json = {"model": "claude-opus-4-6", "tools": TOOLS, **thinking}
    response = respond(client, input=[question], **asked)
    assert [item["type"] for item in response["output"]] == ["reasoning", "message", "function_call", "function_call"]
    assert response["output"][0]["summary"][0]["text"] == "Let me think: 世界."
    outputs: list[Json] = [
        {"type": "function_call_output", "call_id": call["call_id"], "output": user("sunny", IMAGE)["content"]}
        for call in calls_of(response)
    ]
    assert "sunny" in text_of(respond(client, input=[question, *response["output"], *outputs], **asked))
    body = json.loads(ask(port, "GET", "/_seen").json[-1]["body"])
    kinds = [block["type"] for block in body["messages"][1]["content"]]
    assert kinds == ["thinking", "redacted_thinking", "text", "tool_use", "tool_use"]
    assert body["messages"][1]["content"][0]["signature"] == "EqMDCkY="


@pytest.mark.parametrize(
    ("model", "path"), [("argo:gpt-4o", CHAT), ("qwen-vl-max", MULTIMODAL), ("claude-opus-4-6", "")]
)
def test_images(client: openai.OpenAI, upstream: Upstream, port: int, model: str, path: str) -> None:
    assert respond(client, model=model, input=[user("What is it?", IMAGE)])["status"] == "completed"
    seen = upstream.seen_at(path) if path else ask(port, "GET", "/_seen").json
    assert "iVBORw0KGgo=" in seen[-1]["body"]


class Said(BaseModel):
    """What the stand-in answers with where it is asked for JSON."""

    said: str


def test_structured_output(client: openai.OpenAI) -> None:
    asked: Any = {"model": "claude-opus-4-6", "input": "Hi é", "text_format": Said}
    assert client.responses.parse(**asked).output_parsed == Said(said="Hi é")
    with client.responses.stream(**asked) as events:
        assert events.get_final_response().output_parsed == Said(said="Hi é")


@pytest.mark.parametrize(
    ("model", "words", "error"),
    [
        ("claude-opus-4-6", "fail:429", openai.RateLimitError),
        ("qwen-max", "fail:Throttling:429", openai.RateLimitError),
        ("argo:My/Model", "Hi", openai.UnprocessableEntityError),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_errors_before_the_answer_are_raised(
    client: openai.OpenAI, model: str, words: str, error: type[openai.APIStatusError], stream: bool
) -> None:
    with pytest.raises(error):
        client.responses.create(model=model, input=words, stream=stream)


@pytest.mark.parametrize("model", WORDS)
def test_bad_requests_name_the_field(client: openai.OpenAI, model: str) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        client.responses.create(model=model, input="Hi", previous_response_id="resp_1")
    assert refused.value.param == "previous_response_id"


@pytest.mark.parametrize(
    ("model", "words", "code"),
    [
        ("claude-opus-4-6", "error:overloaded_error", "server_is_overloaded"),
        ("claude-opus-4-6", "break", "server_error"),
        ("claude-opus-4-6", "cut", "server_error"),
        ("qwen-max", "break:InternalError", "server_error"),
        ("qwen-max", "cut", "server_error"),
    ],
)
def test_a_stream_that_fails_has_one_ending(client: openai.OpenAI, model: str, words: str, code: str) -> None:
    *before, last = client.responses.create(model=model, input=words, stream=True)
    assert last.type == "response.failed"
    assert "response.failed" not in [event.type for event in before]
    assert last.response.error is not None
    assert last.response.error.code == code
    with pytest.raises(RuntimeError), client.responses.stream(model=model, input=words) as events:
        events.get_final_response()


def test_why_a_response_is_incomplete(client: openai.OpenAI) -> None:
    for words, reason in (("long", "max_output_tokens"), ("refuse", "content_filter")):
        response = respond(client, model="claude-opus-4-6", input=words)
        assert (response["status"], response["incomplete_details"]) == ("incomplete", {"reason": reason})
    response = respond(client, model="demo", input="Hi", max_output_tokens=2)
    assert (response["status"], response["max_output_tokens"]) == ("incomplete", 2)
