"""The Argo gateway behind the door: real Gunicorn, the gateway's faithful likeness, the official client."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.support.client import Answer, ask
from tests.support.fixtures import Serve
from tests.support.processes import Proxy, Upstream
from tests.support.providers.argo import CHAT, EMBED, MODELS, STREAM
from tests.support.scripts import chunked, cut, reply

Json = dict[str, Any]
HELLO = "Hello 世界 🌍, you said: Hi"
BRIEF = "model=brief,upstream_model_name=argo:gpt-4o,append_to_last_user_message=' Be brief.'"
RULES = f"model=argo:gpt-4.1,temperature=0.25;{BRIEF}"
TEXT_HEAD = "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.fixture
def proxy(serve: Serve, upstream: Upstream) -> Proxy:
    return serve(ARGO_BASE_URL=f"{upstream.url}/argoapi", ARGO_USER="me", LLM_PARAMS=RULES)


@pytest.fixture
def client(proxy: Proxy) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{proxy.url}/v1", api_key="any", max_retries=0) as made:
        yield made


def post(proxy: Proxy, path: str, **body: Any) -> Answer:
    return ask(proxy.port, "POST", path, json.dumps({"model": "argo:gpt-4o", **body}).encode())


def scripted(upstream: Upstream, *steps: Any) -> Json:
    """Give a message whose answer is this script."""
    return {"role": "user", "content": f"script:{upstream.script(*steps)}"}


def sent(upstream: Upstream, path: str) -> Json:
    """Give the body of the last request for a path."""
    seen = upstream.seen_at(path)[-1]
    body: Json = json.loads(seen["body"].encode("latin-1"))
    return body


HI: Any = [{"role": "user", "content": "Hi"}]


def test_the_client_chats(client: openai.OpenAI, upstream: Upstream) -> None:
    made = client.chat.completions.create(model="argo:gpt-4o", messages=HI, temperature=0.5)
    assert made.choices[0].message.content == HELLO
    assert (made.choices[0].finish_reason, made.model, made.id[:9]) == ("stop", "argo:gpt-4o", "chatcmpl-")
    assert made.usage
    assert made.usage.total_tokens == made.usage.prompt_tokens + made.usage.completion_tokens > 5
    assert sent(upstream, CHAT) == {"model": "gpt4o", "user": "me", "messages": HI, "temperature": 0.5}


def test_the_client_streams(client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(
        model="gpt-4o", messages=HI, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    deltas = [chunk.choices[0].delta for chunk in chunks if chunk.choices]
    assert "".join(delta.content or "" for delta in deltas) == HELLO
    assert [delta.role for delta in deltas if delta.role] == ["assistant"]
    assert len({chunk.id for chunk in chunks}) == 1
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
    assert chunks[-1].usage
    assert len(chunks) > 5, "as it comes"


def test_the_client_completes(client: openai.OpenAI, upstream: Upstream) -> None:
    made = client.completions.create(model="argo:gpt-4o", prompt=["a", "b"])
    assert [choice.text for choice in made.choices] == ["Hello 世界 🌍, you said: a | b"]
    assert sent(upstream, CHAT)["prompt"] == ["a", "b"], "a list goes up as the list it is"
    parts = client.completions.create(model="argo:gpt-4o", prompt="a", stream=True)
    assert "".join(part.choices[0].text for part in parts) == "Hello 世界 🌍, you said: a"


@pytest.mark.parametrize("count", [1, 16, 40])
@pytest.mark.parametrize("coding", ["float", "base64"])
def test_the_client_embeds(client: openai.OpenAI, count: int, coding: Any) -> None:
    texts = ["x" * place for place in range(count)]
    made = client.embeddings.create(model="argo:text-embedding-3-small", input=texts, encoding_format=coding)
    assert [entry.index for entry in made.data] == list(range(count))
    if coding == "float":
        assert [entry.embedding for entry in made.data] == [[place, 1, 2, 3] for place in range(count)]
    assert made.usage.prompt_tokens >= count - 1
    assert client.embeddings.create(model="v3small", input="one").data[0].embedding == [3, 1, 2, 3]


def test_the_client_lists(client: openai.OpenAI) -> None:
    names = [model.id for model in client.models.list()]
    assert {"argo:gpt-4o", "argo:text-embedding-ada-002", "argo:gpt-9-ultra", "brief"} <= set(names)
    assert len(names) == len(set(names))
    for name in ("argo:gpt-4o", "gpt-4o", "gpt4o"):
        assert client.models.retrieve(name).id == "argo:gpt-4o"
    assert client.models.retrieve("brief").id == "brief"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("none")


TOOLS: Any = [
    {"type": "function", "function": {"name": name, "description": "x", "parameters": {"type": "object"}}}
    for name in ("weather", "time")
]
FAMILIES = ["argo:gpt-4o", "argo:claude-sonnet-4", "argo:gemini-2.5-pro"]


@pytest.mark.parametrize("model", FAMILIES)
def test_tools_there_and_back(client: openai.OpenAI, model: str) -> None:
    asked: Any = {"model": model, "messages": HI, "tools": TOOLS, "tool_choice": "auto"}
    message = client.chat.completions.create(**asked).choices[0].message
    calls = message.tool_calls or []
    assert [(call.function.name, json.loads(call.function.arguments)) for call in calls if call.type == "function"] == [
        ("weather", {"city": "City 0"}),
        ("time", {"city": "City 1"}),
    ]
    assert len({call.id for call in calls}) == 2
    results = [{"role": "tool", "tool_call_id": call.id, "content": "fine"} for call in calls]
    again = client.chat.completions.create(**{**asked, "messages": [*HI, message, *results]})
    assert (again.choices[0].message.content or "").startswith("Hello 世界")


@pytest.mark.parametrize("model", FAMILIES)
def test_tools_in_a_stream(client: openai.OpenAI, model: str, upstream: Upstream) -> None:
    with client.chat.completions.stream(model=model, messages=HI, tools=TOOLS) as stream:
        (choice,) = stream.get_final_completion().choices
    assert choice.finish_reason == "tool_calls"
    assert [call.function.name for call in choice.message.tool_calls or []] == ["weather", "time"]
    assert "stream" not in sent(upstream, CHAT)


def test_raw_chats_are_the_gateways_own(proxy: Proxy, upstream: Upstream) -> None:
    whole = post(proxy, "/v1/chat", prompt="Hi", odd=1)
    assert whole.json == {"response": f"<think>hm 世</think>{HELLO}"}, "nothing is filtered"
    assert sent(upstream, CHAT) == {"model": "gpt4o", "user": "me", "prompt": ["Hi"], "odd": 1}
    stream = post(proxy, "/v1/chat", messages=HI, stream=True)
    assert stream.header("Content-Type") == "text/plain; charset=utf-8"
    assert stream.body.decode() == f"<think>hm 世</think>{HELLO}"
    assert stream.header("Transfer-Encoding") == "chunked", "not collected first"


def test_status_says_hello(proxy: Proxy, upstream: Upstream) -> None:
    answer = ask(proxy.port, "GET", "/v1/status")
    assert (answer.status, answer.json["model"]) == (200, "gpt4o")
    assert answer.json["choices"][0]["message"]["content"].startswith("Hello")
    assert sent(upstream, CHAT)["model"] == "gpt4o"


def test_status_is_no_200_when_that_fails(serve: Serve, upstream: Upstream) -> None:
    refused = serve(ARGO_BASE_URL=f"{upstream.url}/argoapi", ARGO_USER="blocked")
    answer = ask(refused.port, "GET", "/v1/status")
    assert (answer.status, answer.error["code"]) == (403, "argo_access_denied")
    down = serve(ARGO_BASE_URL="http://127.0.0.1:9/argoapi", ARGO_USER="me")
    assert ask(down.port, "GET", "/v1/status").status == 502


def test_who_is_refused_hears_of_it_everywhere(serve: Serve, upstream: Upstream) -> None:
    refused = serve(ARGO_BASE_URL=f"{upstream.url}/argoapi", ARGO_USER="blocked")
    for path, body in (
        ("/v1/chat/completions", {"messages": HI}),
        ("/v1/chat/completions", {"messages": HI, "stream": True}),
        ("/v1/completions", {"prompt": "Hi", "stream": True}),
        ("/v1/chat", {"prompt": "Hi"}),
        ("/v1/chat", {"prompt": "Hi", "stream": True}),
    ):
        answer = post(refused, path, **body)
        assert (answer.status, answer.error["code"]) == (403, "argo_access_denied")
        assert "'blocked'" in answer.error["message"]


def test_names_and_no_names(proxy: Proxy, upstream: Upstream) -> None:
    for asked, model_id in (
        ("GPT-4o", "gpt4o"),
        ("argo:gpt-9-ultra", "gpt9ultra"),
        ("claude-9.1-opus", "claudeopus91"),
    ):
        assert post(proxy, "/v1/chat/completions", model=asked, messages=HI).status == 200
        assert sent(upstream, CHAT)["model"] == model_id
    unknown = post(proxy, "/v1/chat/completions", model="My/Model", messages=HI)
    assert (unknown.status, unknown.error["message"]) == (422, "Model My/Model is invalid")
    assert sent(upstream, CHAT)["model"] == "My/Model"
    missing = post(proxy, "/v1/chat/completions", model=None, messages=HI)
    assert (missing.status, missing.error["param"]) == (400, "model")


def test_a_default_model_is_taken_where_none_is_named(serve: Serve, upstream: Upstream) -> None:
    proxy = serve(ARGO_BASE_URL=f"{upstream.url}/argoapi", ARGO_USER="me", DEFAULT_MODEL="argo:gpt-4o")
    answer = post(proxy, "/v1/chat/completions", model=None, messages=HI)
    assert (answer.status, answer.json["model"]) == (200, "argo:gpt-4o")
    assert proxy.line(answer.id)["model"] == "argo:gpt-4o"


def test_listed_names_are_known_to_rules_and_as_the_default(serve: Serve, upstream: Upstream) -> None:
    proxy = serve(
        ARGO_BASE_URL=f"{upstream.url}/argoapi",
        ARGO_USER="me",
        DEFAULT_MODEL="gpt-9-ultra",
        LLM_PARAMS="model=gpt-4,upstream_model_name=claude-opus-9.1",
    )
    for asked, model_id in ((None, "gpt9ultra"), ("gpt-4", "claudeopus91")):
        assert post(proxy, "/v1/chat/completions", model=asked, messages=HI).status == 200
        assert sent(upstream, CHAT)["model"] == model_id


def test_the_gateways_list_is_asked_for_once_in_a_while(proxy: Proxy, upstream: Upstream) -> None:
    for _ in range(3):
        assert ask(proxy.port, "GET", "/v1/models").status == 200
        post(proxy, "/v1/chat/completions", model="nobody", messages=HI)
    lists = upstream.seen_at(MODELS)
    assert len(lists) <= 3, "one for each proxy of these tests"


def test_without_the_gateways_list_there_is_the_table(serve: Serve, upstream: Upstream) -> None:
    down = serve(ARGO_BASE_URL="http://127.0.0.1:9/argoapi", ARGO_USER="me", LLM_PARAMS=RULES)
    names = [model["id"] for model in ask(down.port, "GET", "/v1/models").json["data"]]
    assert {"argo:gpt-4o", "argo:text-embedding-ada-002", "brief"} <= set(names)
    assert ask(down.port, "GET", "/v1/models/gpt4o").json["id"] == "argo:gpt-4o"
    assert ask(down.port, "GET", "/v1/models/none").status == 502


def test_rules_and_thoughts(proxy: Proxy, upstream: Upstream) -> None:
    for asked in ("gpt41", "gpt-4.1", "argo:gpt-4.1"):
        assert post(proxy, "/v1/chat/completions", model=asked, messages=HI).status == 200
        assert sent(upstream, CHAT)["temperature"] == 0.25
    brief = post(proxy, "/v1/chat/completions", model="brief", messages=HI, stream=True)
    assert brief.text == f"{HELLO} Be brief."
    assert sent(upstream, STREAM)["model"] == "gpt4o"
    assert {chunk["model"] for chunk in brief.chunks} == {"brief"}
    legacy = post(proxy, "/v1/completions", prompt=["a", "b"], stream=True)
    assert legacy.text == "Hello 世界 🌍, you said: a | b"


def test_no_credential_goes_to_the_gateway(proxy: Proxy, upstream: Upstream) -> None:
    for path, body in (
        ("/v1/chat/completions", {"messages": HI}),
        ("/v1/embeddings", {"model": "ada002", "input": "a"}),
    ):
        headers = {
            "Authorization": "Bearer k",
            "X-API-Key": "k",
            "X-Goog-Api-Key": "k",
            "Cookie": "k",
            "X-Request-Id": "r1",
        }
        ask(proxy.port, "POST", path, json.dumps({"model": "gpt4o", **body}).encode(), **headers)
        names = {name.lower() for name, _ in upstream.last("")["headers"]}
        assert names == {
            "host",
            "user-agent",
            "accept",
            "accept-encoding",
            "content-type",
            "content-length",
            "x-request-id",
        }


@pytest.mark.parametrize("size", [1, 3, 10_000])
def test_any_cut_of_a_stream_gives_the_same_text(proxy: Proxy, upstream: Upstream, size: int) -> None:
    text = 'data: {"a": 1}\n\n世界 🌍 {"response": "é"}'
    body = "".join(chunked(piece) for piece in pieces_of(text.encode().decode("latin-1"), size)) + "0\r\n\r\n"
    steps = [["send", TEXT_HEAD], *(cut(body, size) if size > 1 else [["send", body]])]
    answer = post(proxy, "/v1/chat/completions", messages=[scripted(upstream, *steps)], stream=True)
    assert answer.text == text
    assert answer.body.endswith(b"data: [DONE]\n\n")


def pieces_of(text: str, size: int) -> list[str]:
    return [text[at : at + size] for at in range(0, len(text), size)]


def test_a_stream_that_breaks_says_so(proxy: Proxy, upstream: Upstream) -> None:
    message = scripted(upstream, ["send", TEXT_HEAD], ["send", chunked("Hello")], ["close"])
    answer = post(proxy, "/v1/chat/completions", messages=[message], stream=True)
    assert answer.text == "Hello"
    assert "error" in answer.chunks[-1]
    assert b"[DONE]" not in answer.body
    assert proxy.line(answer.id)["ending"] == "upstream_broken"
    raw = post(proxy, "/v1/chat", messages=[message], stream=True)
    assert (raw.body, raw.whole) == (b"Hello", False)


JSON = "application/json"


@pytest.mark.parametrize(
    ("steps", "status", "told"),
    [
        ([["close"]], 502, "closed the connection"),
        (
            reply("502 Bad Gateway", b"<html><body>502 Bad Gateway</body></html>", Content_Type="text/html"),
            502,
            "502",
        ),
        (
            reply("400 Bad Request", b'{"detail": "Model x is invalid"}', Content_Type=JSON),
            400,
            "Model x is invalid",
        ),
        (reply("422 No", b'{"detail": [{"msg": "odd"}]}', Content_Type=JSON), 422, "odd"),
        (reply("200 OK", b'{"response": null}', Content_Type=JSON), 502, "no answer"),
        (reply("200 OK", b"{}", Content_Type=JSON), 502, "no answer"),
        (reply("200 OK", b"plain words"), 502, "not a JSON object"),
        (
            reply("200 OK", b'{"response": "You passed a messages field along with a system and or prompt field. X"}'),
            400,
            "You passed",
        ),
    ],
    ids=["closed", "html", "detail", "details", "null", "missing", "no JSON", "soft"],
)
def test_what_goes_wrong_is_told(proxy: Proxy, upstream: Upstream, steps: Any, status: int, told: str) -> None:
    steps = steps if isinstance(steps[0], list) else [steps]
    answer = post(proxy, "/v1/chat/completions", messages=[scripted(upstream, *steps)])
    assert (answer.status, answer.header("Content-Type")) == (status, JSON)
    assert told in answer.error["message"]
    embedded = post(proxy, "/v1/embeddings", model="ada002", input=scripted(upstream, *steps)["content"])
    assert embedded.status in (status, 502)


@pytest.mark.parametrize(
    "steps",
    [reply("200 OK", b"", Content_Type="text/plain"), ["send", TEXT_HEAD + "0\r\n\r\n"]],
)
def test_a_stream_without_a_word_is_no_answer(proxy: Proxy, upstream: Upstream, steps: Any) -> None:
    answer = post(proxy, "/v1/chat/completions", messages=[scripted(upstream, steps)], stream=True)
    assert (answer.status, answer.error["code"]) == (502, "argo_no_answer")


def test_slow_is_504_and_the_requests_own_time_out_counts(proxy: Proxy, upstream: Upstream) -> None:
    slow = scripted(upstream, ["hold"])
    for path, body in (
        ("/v1/chat/completions", {"messages": [slow]}),
        ("/v1/completions", {"prompt": slow["content"]}),
        ("/v1/chat", {"messages": [slow]}),
        ("/v1/embeddings", {"input": slow["content"], "model": "ada002"}),
    ):
        answer = post(proxy, path, timeout=0.3, **body)
        assert (answer.status, answer.error["code"]) == (504, "first_byte_timeout")


@pytest.mark.parametrize("timeout", [0, -1, "5", True, None, [1]])
def test_a_time_out_that_is_none_is_refused(proxy: Proxy, timeout: Any) -> None:
    answer = post(proxy, "/v1/chat/completions", messages=HI, timeout=timeout)
    assert (answer.status, answer.error["param"]) == (400, "timeout")


def test_of_three_batches_one_fails(proxy: Proxy, upstream: Upstream) -> None:
    failing = scripted(upstream, reply("503 Busy", b'{"detail": "too busy"}', Content_Type=JSON))["content"]
    begun = len(upstream.seen_at(EMBED))
    texts = [*["a"] * 16, failing, *["b"] * 20]
    answer = post(proxy, "/v1/embeddings", model="ada002", input=texts)
    assert (answer.status, answer.error["message"]) == (503, "too busy")
    assert len(upstream.seen_at(EMBED)) == begun + 1, "the third is not sent"


@pytest.mark.parametrize("given", [[1, 2], [[1, 2]], [], None, {"a": 1}])
def test_tokens_are_no_texts(proxy: Proxy, given: Any) -> None:
    answer = post(proxy, "/v1/embeddings", model="ada002", input=given)
    assert (answer.status, answer.error["param"]) == (400, "input")


def test_other_paths_and_methods(proxy: Proxy) -> None:
    for method, path, status in (
        ("GET", "/v1/files", 404),
        ("POST", "/v1/moderations", 404),
        ("GET", "/v1/chat", 405),
        ("POST", "/v1/status", 405),
        ("DELETE", "/v1/models/gpt4o", 405),
    ):
        answer = ask(proxy.port, method, path)
        assert (answer.status, answer.error["type"]) == (status, "invalid_request_error")
    assert ask(proxy.port, "GET", "/status").status == 200
    assert post(proxy, "/chat/", prompt="Hi").status == 200


def test_raw_paths_are_forwarded_where_there_is_no_gateway(serve: Serve, upstream: Upstream) -> None:
    plain = serve(TARGET_BASE_URL=upstream.url)
    assert ask(plain.port, "GET", "/v1/status").json["target"] == "/v1/status"
    assert ask(plain.port, "POST", "/v1/chat", b"{}").json["target"] == "/v1/chat"


def test_health(proxy: Proxy, serve: Serve) -> None:
    assert ask(proxy.port, "GET", "/health").json["target"]["status"] == 405
    down = serve(ARGO_BASE_URL="http://127.0.0.1:9/argoapi", ARGO_USER="me", LLM_PARAMS=RULES)
    assert ask(down.port, "GET", "/health").status == 503


def test_verbose_off_logs_warnings_only(upstream: Upstream, tmp_path: Path) -> None:
    environ = {"ARGO_BASE_URL": f"{upstream.url}/argoapi", "ARGO_USER": "me", "VERBOSE": "false", "WORKERS": "1"}
    quiet = Proxy(tmp_path, environ)
    try:
        assert ask(quiet.port, "GET", "/v1/models").status == 200
        assert quiet.log() == ""
    finally:
        quiet.stop()
