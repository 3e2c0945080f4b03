"""An upstream of the kind `anthropic`: real Gunicorn, a strict stand-in for Anthropic, the official client."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.support.client import Answer, ask, chat
from tests.support.fixtures import Serve
from tests.support.processes import Proxy, Upstream
from tests.support.providers.anthropic_rules import KEY, MODELS
from tests.support.scripts import reply
from tests.support.stand_ins import stand_in

Json = dict[str, Any]

ADAPTIVE, BUDGET = "claude-opus-4-6", "claude-haiku-4-5"
#: A byte of PNG is enough for a stand-in that does not look at it.
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
TOOLS: Any = [
    {
        "type": "function",
        "function": {"name": name, "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
    }
    for name in ("weather", "time")
]


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with stand_in("anthropic") as running:
        yield running


@pytest.fixture(scope="module")
def proxy(serve: Serve, port: int, tmp_path_factory: pytest.TempPathFactory) -> Proxy:
    config = tmp_path_factory.mktemp("anthropic") / "config.yaml"
    base_url = f"http://127.0.0.1:{port}/v1"
    upstreams = {
        "anthropic": {"kind": "anthropic", "base_url": base_url, "api_key": KEY},
        "theirs": {"kind": "anthropic", "base_url": base_url, "client_keys": "forward", "max_tokens": 77},
    }
    models = {"theirs": {"upstream": "theirs", "upstream_model_name": ADAPTIVE}, "odd": {"upstream_model_name": "gpt"}}
    config.write_text(json.dumps({"upstreams": upstreams, "models": models}))
    return serve(CONFIG_PATH=str(config))


@pytest.fixture(scope="module")
def client(proxy: Proxy) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{proxy.url}/v1", api_key="any", max_retries=0) as made:
        yield made


def sent(port: int) -> Json:
    """Return the last request that came to the stand-in."""
    last: Json = ask(port, "GET", "/_seen").json[-1]
    return last


def user(text: Any) -> Any:
    return {"role": "user", "content": text}


def complete(client: openai.OpenAI, *, stream: bool, **asked: Any) -> Json:
    """Return the message of an answer."""
    asked = {"model": ADAPTIVE, **asked}
    if stream:
        with client.chat.completions.stream(**asked) as events:
            return events.get_final_completion().choices[0].message.to_dict()
    message: Json = client.chat.completions.create(**asked).choices[0].message.to_dict()
    return message


def test_a_stream_and_a_document_say_the_same(client: openai.OpenAI) -> None:
    whole = client.chat.completions.create(model=ADAPTIVE, messages=[user("Hello 世界")])
    assert whole.usage
    assert (whole.usage.prompt_tokens, whole.choices[0].finish_reason) == (42, "stop")
    assert whole.usage.prompt_tokens_details
    assert whole.usage.prompt_tokens_details.cached_tokens == 30
    chunks = list(
        client.chat.completions.create(
            model=ADAPTIVE, messages=[user("Hello 世界")], stream=True, stream_options={"include_usage": True}
        )
    )
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content
    assert chunks[-1].usage == whole.usage


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", [ADAPTIVE, BUDGET])
def test_thinking_goes_on_between_tool_calls(client: openai.OpenAI, port: int, model: str, stream: bool) -> None:
    asked: Json = {"model": model, "tools": TOOLS, "reasoning_effort": "high", "stream": stream}
    message = complete(client, messages=[user("What is the weather?")], **asked)
    assert message["reasoning_content"] == "Let me think: 世界."
    results = [
        {"role": "tool", "tool_call_id": call["id"], "content": [{"type": "text", "text": "sunny"}, IMAGE]}
        for call in reversed(message["tool_calls"])
    ]
    again = complete(client, messages=[user("What is the weather?"), message, *results], **asked)
    assert "sunny" in again["content"]
    body = json.loads(sent(port)["body"])
    assert body["thinking"]["type"] == ("adaptive" if model == ADAPTIVE else "enabled")
    kinds = [block["type"] for block in body["messages"][1]["content"]]
    assert kinds == ["thinking", "redacted_thinking", "text", "tool_use", "tool_use"]
    assert body["messages"][1]["content"][0]["signature"] == "EqMDCkY="


def test_thinking_on_a_budget_stops_where_a_client_has_lost_it(client: openai.OpenAI, port: int) -> None:
    asked: Json = {"model": BUDGET, "tools": TOOLS, "reasoning_effort": "low"}
    message = complete(client, stream=False, messages=[user("What is the weather?")], **asked)
    bare = {"role": "assistant", "content": message["content"], "tool_calls": message["tool_calls"]}
    results = [{"role": "tool", "tool_call_id": call["id"], "content": "sunny"} for call in message["tool_calls"]]
    complete(client, stream=False, messages=[user("What is the weather?"), bare, *results], **asked)
    assert "thinking" not in json.loads(sent(port)["body"])


def test_rate_limits_and_ids_have_openais_names_too(client: openai.OpenAI) -> None:
    for stream in (False, True):
        raw = client.chat.completions.with_raw_response.create(model=ADAPTIVE, messages=[user("Hi")], stream=stream)
        assert raw.headers["x-ratelimit-limit-requests"] == raw.headers["anthropic-ratelimit-requests-limit"] == "50"
        assert raw.headers["x-request-id"] == "req_1"
        raw.parse()


def test_answers_hold_signatures(proxy: Proxy) -> None:
    answer = chat(proxy.port, model=ADAPTIVE, messages=[user("think")])
    assert answer.json["choices"][0]["message"]["reasoning_details"][0]["signature"] == "EqMDCkY="


@pytest.mark.parametrize("stream", [False, True])
def test_everything_at_once(client: openai.OpenAI, port: int, stream: bool) -> None:
    pdf = {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERg=="}}
    marked = {"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}
    messages = [
        {"role": "system", "content": [marked]},
        user("Hi"),
        {"role": "developer", "content": "Be kind."},
        user([{"type": "text", "text": "See"}, IMAGE, pdf]),
    ]
    asked: Json = {"temperature": 2, "top_p": 0.5, "stop": "END", "user": "u", "max_tokens": 50}
    assert "an image" in complete(client, messages=messages, stream=stream, **asked)["content"]
    body = json.loads(sent(port)["body"])
    assert [block["text"] for block in body["system"]] == ["Be brief.", "Be kind."]
    assert (body["temperature"], body["max_tokens"], body["stop_sequences"]) == (1, 50, ["END"])
    assert "top_p" not in body


@pytest.mark.parametrize(("words", "finish_reason"), [("long", "length"), ("refuse", "content_filter")])
def test_why_an_answer_ends(client: openai.OpenAI, words: str, finish_reason: str) -> None:
    answer = client.chat.completions.create(model=ADAPTIVE, messages=[user(words)])
    assert answer.choices[0].finish_reason == finish_reason


def test_legacy_completions(client: openai.OpenAI) -> None:
    whole = client.completions.create(model=ADAPTIVE, prompt="Hello")
    assert "Hello" in whole.choices[0].text
    chunks = list(client.completions.create(model=ADAPTIVE, prompt="Hello", stream=True))
    assert "".join(chunk.choices[0].text for chunk in chunks) == whole.choices[0].text
    with pytest.raises(openai.BadRequestError) as refused:
        client.completions.create(model=ADAPTIVE, prompt=["a", "b"])
    assert refused.value.param == "prompt"


def test_no_embeddings(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="no embeddings"):
        client.embeddings.create(model=ADAPTIVE, input="a")


def test_errors_are_raised_by_the_client(client: openai.OpenAI) -> None:
    with pytest.raises(openai.RateLimitError) as limited:
        client.chat.completions.create(model=ADAPTIVE, messages=[user("fail:429")])
    headers = limited.value.response.headers
    assert (headers["retry-after"], headers["x-ratelimit-limit-requests"]) == ("7", "50")
    assert limited.value.request_id == "req_1"
    with pytest.raises(openai.InternalServerError) as overloaded:
        client.chat.completions.create(model=ADAPTIVE, messages=[user("fail:529")], stream=True)
    assert (overloaded.value.status_code, overloaded.value.type) == (503, "overloaded_error")
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(model=ADAPTIVE, messages=[user("Hi")], n=2)
    assert refused.value.param == "n"
    with pytest.raises(openai.NotFoundError, match="model: gpt"):
        client.chat.completions.create(model="odd", messages=[user("Hi")])


@pytest.mark.parametrize("words", ["error:overloaded_error", "break", "cut"])
def test_a_stream_that_fails_has_one_ending(client: openai.OpenAI, proxy: Proxy, words: str) -> None:
    with pytest.raises(openai.APIError):
        list(client.chat.completions.create(model=ADAPTIVE, messages=[user(words)], stream=True))
    answer = chat(proxy.port, model=ADAPTIVE, messages=[user(words)], stream=True)
    *_, last = answer.chunks
    assert set(last) == {"error"}
    assert sum("error" in chunk for chunk in answer.chunks) == 1
    assert b"[DONE]" not in answer.body
    assert proxy.line(answer.id)["ending"] == ("upstream_error" if "error" in words else "upstream_broken")


def test_models(client: openai.OpenAI, proxy: Proxy) -> None:
    listed = {model.id: model for model in client.models.list()}
    assert set(MODELS) <= listed.keys()
    assert listed[ADAPTIVE].owned_by == "anthropic"
    assert listed[ADAPTIVE].created == 1771459200
    assert client.models.retrieve(BUDGET).id == BUDGET
    assert ask(proxy.port, "GET", "/health").status == 200


def test_a_list_of_models_without_an_end_is_an_error(serve: Serve, upstream: Upstream, tmp_path: Path) -> None:
    settings = {"upstreams": {"a": {"kind": "anthropic", "base_url": upstream.url, "api_key": "k"}}}
    (tmp_path / "config.yaml").write_text(json.dumps(settings))
    proxy = serve(CONFIG_PATH=str(tmp_path / "config.yaml"))
    page = {"data": [{"type": "model", "id": "a b"}], "has_more": True, "first_id": "a b", "last_id": "a b"}
    script = upstream.script(reply(body=json.dumps(page).encode(), Content_Type="application/json"))
    answer = ask(proxy.port, "GET", "/v1/models", X_Script=script)
    assert (answer.status, answer.json["error"]["code"]) == (502, "upstream_protocol_error")
    targets = [seen["target"] for seen in upstream.seen(script)]
    assert targets == ["/v1/models?limit=1000", *["/v1/models?limit=1000&after_id=a%20b"] * 19]


def asked_with(proxy: Proxy, **headers: str) -> Answer:
    body = json.dumps({"model": "theirs", "messages": [user("Hi")]}).encode()
    return ask(proxy.port, "POST", "/v1/chat/completions", body, **headers)


def test_a_clients_own_key_goes_up_where_that_is_set(proxy: Proxy, port: int) -> None:
    assert asked_with(proxy, Authorization="Bearer wrong").status == 401
    for headers in ({"Authorization": f"Bearer {KEY}"}, {"X_Api_Key": KEY}):
        assert asked_with(proxy, **headers, anthropic_beta="fast-mode").status == 200
        request = sent(port)
        assert request["headers"]["x-api-key"] == KEY
        assert request["headers"]["anthropic-beta"] == "fast-mode"
        assert json.loads(request["body"])["max_tokens"] == 77


def test_a_configured_key_is_shown_nowhere(proxy: Proxy) -> None:
    assert chat(proxy.port, model=ADAPTIVE).status == 200
    assert KEY not in proxy.log()
