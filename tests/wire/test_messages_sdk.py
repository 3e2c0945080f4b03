"""Anthropic's official SDK, through one running proxy, before an upstream of each kind."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import pytest

from tests.support.fixtures import Serve
from tests.support.messages_grammar import call_of, chunk_of, usage_of
from tests.support.processes import Proxy, Upstream
from tests.support.providers.anthropic_rules import KEY
from tests.support.scripts import CHUNKED, DONE, END, chunked, completion, event, reply, stream
from tests.support.stand_ins import stand_in

Json = dict[str, Any]
TEXT_HEAD = CHUNKED.replace("text/event-stream", "text/plain; charset=utf-8")
#: The names of models, and for each its upstream and its name there.
MODELS = {
    "demo": ("demo", "demo"),
    "chat": ("chats", "m1"),
    "relayed": ("native", "m1"),
    "qwen": ("dashscope", "qwen-plus"),
    "qwen-vl": ("dashscope", "qwen-vl-max"),
    "gpt": ("argo", "argo:gpt-4o"),
    "claude": ("anthropic", "claude-opus-4-6"),
}
KINDS = ["demo", "chat", "qwen", "gpt", "claude"]
THINKING = {"max_tokens": 2048, "thinking": {"type": "enabled", "budget_tokens": 1024}}
#: The demo says a word of its answer at a time, and has no effort that could be asked for.
BRIEF = {"max_tokens": 3}
TOOLS = [
    {"name": name, "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}}}
    for name in ("weather", "time")
]
PNG = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}}


def sdk() -> Any:
    """Return Anthropic's package: it takes a second to import, in each process that collects the tests."""
    return import_module("anthropic")


@pytest.fixture(scope="module")
def proxy(serve: Serve, upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    url, file = upstream.url, tmp_path_factory.mktemp("sdk") / "config.yaml"
    models = {
        name: {"upstream": where, "upstream_model_name": model, "reasoning": "field"}
        for name, (where, model) in MODELS.items()
    }
    with stand_in("anthropic") as port:
        upstreams = {
            "demo": {"kind": "demo"},
            "chats": {"kind": "openai", "base_url": f"{url}/v1", "api_key": "k"},
            "native": {"kind": "openai", "base_url": f"{url}/v1", "api_key": "k", "native": True},
            "dashscope": {"kind": "dashscope", "base_url": f"{url}/api/v1", "api_key": "k"},
            "argo": {"kind": "argo", "base_url": f"{url}/argoapi", "user": "me"},
            "anthropic": {"kind": "anthropic", "base_url": f"http://127.0.0.1:{port}", "api_key": KEY},
        }
        file.write_text(json.dumps({"upstreams": upstreams, "models": models}))
        yield serve(CONFIG_PATH=str(file), LOG_LEVEL="debug")


@pytest.fixture(scope="module")
def client(proxy: Proxy) -> Iterator[Any]:
    with sdk().Anthropic(base_url=proxy.url, api_key="any", max_retries=0) as made:
        yield made


def user(*content: Any) -> Json:
    return {"role": "user", "content": content[0] if isinstance(content[0], str) else list(content)}


def ask_for(model: str, *messages: Json, **more: Any) -> Json:
    return {"model": model, "max_tokens": 99, "messages": list(messages), **more}


def play(script: str) -> Json:
    """Have the upstream of chats play a script."""
    return {"extra_headers": {"X-Script": script}}


def get_streamed(client: Any, asked: Json) -> Any:
    with client.messages.stream(**asked) as running:
        return running.get_final_message()


def fields_of(message: Any) -> Json:
    """Return what a message holds, without its id, which is another one for each request."""
    return {**message.to_dict(exclude_none=True, warnings=False), "id": ""}


@pytest.mark.parametrize("model", KINDS)
def test_streamed_and_whole_give_the_same_message(client: Any, model: str) -> None:
    asked = ask_for(model, user("think"), **(BRIEF if model == "demo" else THINKING))
    whole = client.messages.create(**asked)
    with client.messages.stream(**asked) as running:
        text = "".join(running.text_stream)
        streamed = running.get_final_message()
    assert fields_of(streamed) == fields_of(whole)
    assert whole.model in (model, MODELS[model][1])
    assert whole.stop_reason == ("max_tokens" if model == "demo" else "end_turn")
    first, *_, last = whole.content
    assert (first.type, bool(first.thinking), bool(first.signature)) == ("thinking", True, True)
    assert (last.type, last.text) == ("text", text)
    assert text.startswith("Hello")
    assert (whole.usage.input_tokens > 0, whole.usage.output_tokens > 0) == (True, True)


CALLS = [
    *(chunk_of(delta) for delta in ({"role": "assistant", "reasoning_content": "hm"}, {"content": "Let me see."})),
    chunk_of(call_of(0, '{"city":', "weather", "c0")),
    chunk_of(call_of(1, '{"city":"Oslo"}', "time", "c1")),
    chunk_of(call_of(0, '"Oslo"}')),
    chunk_of({}, "tool_calls"),
    usage_of(prompt_tokens=20, completion_tokens=9, prompt_tokens_details={"cached_tokens": 8}),
]


@pytest.mark.parametrize("model", KINDS[1:])
def test_tools_are_called_and_their_results_go_back(client: Any, upstream: Upstream, model: str) -> None:
    asked = ask_for(model, user("Hi"), tools=TOOLS, tool_choice={"type": "auto"})
    if model == "chat":
        script = upstream.script(*stream(*(f"data: {json.dumps(chunk)}\n\n" for chunk in CALLS), DONE))
        asked |= play(script)
    streamed, whole = get_streamed(client, asked), client.messages.create(**asked)
    assert fields_of(streamed) == fields_of(whole)
    calls = [block for block in whole.content if block.type == "tool_use"]
    assert (whole.stop_reason, [call.name for call in calls]) == ("tool_use", ["weather", "time"])
    assert [list(call.input) for call in calls] == [["city"], ["city"]]
    results = [{"type": "tool_result", "tool_use_id": call.id, "content": "sunny"} for call in calls]
    turns = [user("Hi"), {"role": "assistant", "content": streamed.content}, user(*results)]
    if model == "chat":
        script = upstream.script(reply(body=completion("It is sunny.")))
        asked |= play(script)
    answer = client.messages.create(**{**asked, "messages": turns})
    assert answer.stop_reason == "end_turn"
    if model == "chat":
        messages = json.loads(upstream.last(script)["body"])["messages"]
        assert [message["role"] for message in messages] == ["user", "assistant", "tool", "tool"]
        assert (messages[1]["reasoning_content"], messages[3]["tool_call_id"]) == ("hm", "c1")


@pytest.mark.parametrize(
    ("model", "words"),
    [("chat", "Hello there!"), ("qwen-vl", "<image>"), ("gpt", "something"), ("claude", "(an image)")],
)
def test_images(client: Any, upstream: Upstream, model: str, words: str) -> None:
    asked = ask_for(model, user({"type": "text", "text": "What is it?"}, PNG))
    streamed, whole = get_streamed(client, asked), client.messages.create(**asked)
    assert fields_of(streamed) == fields_of(whole)
    assert words in whole.content[-1].text
    if model == "chat":
        (message,) = json.loads(upstream.last()["body"])["messages"]
        assert [part["type"] for part in message["content"]] == ["text", "image_url"]


LIMITED = b'{"error": {"message": "Too fast.", "type": "requests", "code": null}}'
INVALID = b'{"detail": "Model x is invalid"}'
JSON = "application/json"


@pytest.mark.parametrize(
    ("model", "words", "error", "message"),
    [
        ("chat", reply("429 Too Many", LIMITED, Content_Type=JSON), "RateLimitError", "Too fast."),
        ("gpt", reply("400 Bad Request", INVALID, Content_Type=JSON), "BadRequestError", "Model x is invalid"),
        ("qwen", "fail:Throttling.RateQuota:429", "RateLimitError", "asked to fail"),
        ("qwen", "fail:DataInspectionFailed:200", "BadRequestError", "asked to fail"),
        ("claude", "fail:400", "BadRequestError", "invalid_request_error"),
        ("claude", "fail:529", "OverloadedError", "Overloaded"),
    ],
    ids=["chat", "gpt", "qwen", "qwen with status 200", "claude", "claude overloaded"],
)
@pytest.mark.parametrize("is_streamed", [True, False])
def test_errors_are_raised(
    client: Any, upstream: Upstream, model: str, words: Any, error: str, message: str,
    is_streamed: bool,
) -> None:  # fmt: skip
    said = words if isinstance(words, str) else f"script:{upstream.script(words)}"
    with pytest.raises(getattr(sdk(), error), match=message) as raised:
        client.messages.create(**ask_for(model, user(said)), stream=is_streamed)
    assert raised.value.request_id


@pytest.mark.parametrize("model", KINDS)
def test_a_wrong_request_is_refused_by_the_name_of_its_field(client: Any, model: str) -> None:
    with pytest.raises(sdk().BadRequestError, match="messages"):
        client.messages.create(**ask_for(model))
    with pytest.raises(sdk().BadRequestError, match="max_tokens"):
        client.messages.create(**{**ask_for(model, user("Hi")), "max_tokens": 0})


@pytest.mark.parametrize(
    ("model", "words", "ending"),
    [
        ("chat", [["send", CHUNKED + chunked(event("Hel"))], ["close"]], "upstream_broken"),
        ("gpt", [["send", TEXT_HEAD + chunked("Hello")], ["close"]], "upstream_broken"),
        ("qwen", "break:InternalError", "upstream_error"),
        ("qwen", "cut", "upstream_broken"),
        ("claude", "cut", "upstream_broken"),
        ("claude", "break", "upstream_broken"),
        ("claude", "error:overloaded_error", "upstream_error"),
    ],
    ids=["chat", "gpt", "qwen fails", "qwen cut", "claude cut", "claude breaks", "claude overloaded"],
)
def test_a_stream_that_fails_raises_and_is_recorded_as_failed(
    client: Any, proxy: Proxy, upstream: Upstream, model: str, words: Any, ending: str
) -> None:
    said = words if isinstance(words, str) else f"script:{upstream.script(*words)}"
    with client.messages.stream(**ask_for(model, user(said))) as running:
        with pytest.raises(sdk().APIStatusError):
            running.get_final_message()
        logging_id = running.response.headers["X-Logging-Id"]
    assert proxy.line(logging_id)["ending"] == ending


def test_m39_no_upstream_of_chats_gets_a_request_of_messages(client: Any, upstream: Upstream) -> None:
    script = upstream.script(reply(body=completion("Hello")))
    for is_streamed in (True, False):
        asked = {**ask_for("chat", user("Hi"), system="Be brief."), **play(script)}
        answer = get_streamed(client, asked) if is_streamed else client.messages.create(**asked)
        assert answer.content[0].text == "Hello"
        sent = upstream.last(script)
        assert sent["target"] == "/v1/chat/completions"
        assert [message["role"] for message in json.loads(sent["body"])["messages"]] == ["system", "user"]


@pytest.mark.parametrize("model", ["chat", "relayed"])
def test_m39_a_stream_without_a_byte_is_an_error(client: Any, upstream: Upstream, model: str) -> None:
    asked = {**ask_for(model, user("Hi")), **play(upstream.script(["send", CHUNKED + END]))}
    with pytest.raises(sdk().APIStatusError):
        get_streamed(client, asked)


@pytest.mark.parametrize("model", KINDS)
def test_tokens_are_counted(client: Any, model: str) -> None:
    counted = client.messages.count_tokens(model=model, messages=[user("How many tokens?")], system="Be brief.")
    assert counted.input_tokens > 4


def test_models_are_listed_in_pages(client: Any) -> None:
    page = client.models.list(limit=3)
    assert (len(page.data), page.has_more) == (3, True)
    listed = list(page)
    assert set(MODELS) <= {model.id for model in listed}
    assert len(listed) == len({model.id for model in listed})
    assert {model.type for model in listed} == {"model"}
    assert client.models.retrieve("demo").id == "demo"
    with pytest.raises(sdk().NotFoundError):
        client.models.retrieve("none")


def test_what_a_conversion_left_out_is_in_the_debug_log(client: Any, proxy: Proxy) -> None:
    places = {}
    for model in ("chat", "claude"):
        marked = {"type": "text", "text": "Hi", "cache_control": {"type": "ephemeral"}}
        raw = client.messages.with_raw_response.create(**ask_for(model, user(marked)))
        logging_id = raw.headers["X-Logging-Id"]
        proxy.line(logging_id)
        places[model] = [line["places"] for line in proxy.coded("left_out") if line["id"] == logging_id]
    assert places == {"chat": ['"messages[0].content[0].cache_control"'], "claude": []}
