"""Streams and whole answers, converted both ways: how a client asks, how an upstream is asked, and what it answers."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openai
import pytest

from argoproxy.protocol.stream.assembly import assemble_completion
from tests.support.client import Answer, Client, ask, chat
from tests.support.fixtures import Serve
from tests.support.processes import ROOT, Proxy, Upstream, eventually, free_port
from tests.support.scripts import CHUNKED, DONE, bodies, chunked, completion, event, reply, stream

Json = dict[str, Any]

USAGE = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7, "x_details": {"cached": 1}}
LOGPROBS = [{"token": "Hi", "logprob": -0.5, "bytes": [72, 105], "top_logprobs": []}]
CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
TOP = {"id": "up-1", "created": 5, "model": "m1-0613", "system_fingerprint": "fp", "provider": "P"}
WHOLE: Json = {
    **TOP,
    "object": "chat.completion",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "reasoning_content": "hm hm", "content": "Hi", "refusal": None},
            "logprobs": {"content": LOGPROBS, "refusal": None},
            "finish_reason": "stop",
        },
        {
            "index": 1,
            "message": {"role": "assistant", "content": None, "tool_calls": [CALL]},
            "logprobs": None,
            "finish_reason": "tool_calls",
        },
    ],
    "usage": USAGE,
}


def chunk(index: int, delta: Json, finish_reason: str | None = None, **more: Any) -> Json:
    choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish_reason, **more}
    return {**TOP, "object": "chat.completion.chunk", "choices": [choice]}


CHUNKS = [
    chunk(0, {"role": "assistant", "content": None, "refusal": None}),
    chunk(1, {"role": "assistant", "content": None}),
    chunk(0, {"reasoning_content": "hm "}),
    chunk(
        1,
        {"tool_calls": [{"index": 0, "id": "call_1", "type": "function", "function": {"name": "f", "arguments": ""}}]},
    ),
    chunk(0, {"reasoning_content": "hm"}),
    chunk(1, {"tool_calls": [{"index": 0, "function": {"arguments": '{"a"'}}]}),
    chunk(0, {"content": "Hi"}, logprobs={"content": LOGPROBS, "refusal": None}),
    chunk(1, {"tool_calls": [{"index": 0, "function": {"arguments": ": 1}"}}]}),
    chunk(0, {}, "stop"),
    chunk(1, {}, "tool_calls"),
]
USAGE_CHUNK = {**TOP, "object": "chat.completion.chunk", "choices": [], "usage": USAGE}


def data(document: Json) -> str:
    return f"data: {json.dumps(document)}\n\n"


def document_of(answer: Answer, is_stream: bool) -> Json:
    """Give what a client got as a document, whatever its form, without what differs from request to request."""
    assert answer.status == 200, answer.body
    if is_stream:
        assert answer.body.endswith(b"data: [DONE]\n\n")
        made = assemble_completion(answer.chunks)
    else:
        made = answer.json
    return {key: value for key, value in made.items() if key not in ("id", "created")}


MATRIX = [(asks, mode) for asks in (False, True) for mode in ("stream", "non_stream")]


@pytest.mark.parametrize(("asks", "mode"), MATRIX)
def test_nothing_is_lost_between_a_stream_and_a_document(
    proxy: Proxy, upstream: Upstream, asks: bool, mode: str
) -> None:
    streamed = stream(*map(data, CHUNKS), data(USAGE_CHUNK), DONE)
    steps = streamed if mode == "stream" else [reply(body=json.dumps(WHOLE).encode())]
    script = upstream.script(*steps)
    options: Json = {"stream": True, "stream_options": {"include_usage": True}} if asks else {}
    answer = chat(proxy.port, n=2, headers={"X-Script": script, "X-Upstream-Mode": mode}, **options)
    expected = {key: value for key, value in WHOLE.items() if key not in ("id", "created")}
    assert document_of(answer, asks) == expected
    sent = upstream.last(script)
    asked = json.loads(sent["body"])
    assert bool(asked.get("stream")) == (mode == "stream")
    assert asked.get("stream_options") == ({"include_usage": True} if mode == "stream" else None)
    assert "x-upstream-mode" not in {name.lower() for name, _ in sent["headers"]}
    line = proxy.line(answer.id)
    assert (line["return_mode"], line["completion_tokens"]) == ("stream" if asks else "non_stream", "4")


TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}]
Settings = Callable[[Upstream], dict[str, str]]
DIALECTS: dict[str, tuple[Settings, str, list[Json]]] = {
    "openai": (lambda upstream: {"TARGET_BASE_URL": upstream.url}, "m1", [{}]),
    "argo": (
        lambda upstream: {"ARGO_BASE_URL": f"{upstream.url}/argoapi", "ARGO_USER": "me"},
        "gpt4o",
        [{}, {"tools": TOOLS}],
    ),
    "dashscope": (
        lambda upstream: {"TARGET_BASE_URL": f"{upstream.url}/api/v1/services/aigc/text-generation/generation"},
        "qwen-plus",
        [{}, {"tools": TOOLS}, {"n": 2}, {"logprobs": True}],
    ),
    "demo": (lambda _: {"DEMO": "true"}, "demo", [{}, {"n": 2}]),
}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_dialect_gives_the_same_document_in_all_four_ways(serve: Serve, upstream: Upstream, dialect: str) -> None:
    settings, model, asked = DIALECTS[dialect]
    proxy = serve(**settings(upstream))
    for more in asked:
        told = []
        for asks, mode in MATRIX:
            options: Json = {"stream": True, "stream_options": {"include_usage": True}} if asks else {}
            headers = {"X-Upstream-Mode": mode, "Authorization": "Bearer key"}
            answer = chat(proxy.port, model=model, headers=headers, **{**more, **options})
            told.append(document_of(answer, asks))
            if asks and mode == "stream":
                assert len(answer.chunks) > 2
        assert told[0]["choices"]
        assert told[0]["usage"]["total_tokens"] > 0
        assert bool(told[0]["choices"][0]["message"].get("tool_calls")) == ("tools" in more)
        assert told == [told[0]] * 4, (more, told)


@pytest.mark.parametrize("where", ["flag", "environment", "upstream", "rule"])
def test_a_mode_is_set_in_many_places(serve: Serve, upstream: Upstream, where: str, tmp_path: Path) -> None:
    files = {
        "upstream": f"upstreams: {{a: {{base_url: {upstream.url}, mode: stream}}}}",
        "rule": f"target_base_url: {upstream.url}\nmodels: {{m1: {{mode: stream}}}}",
    }
    settings = {"TARGET_BASE_URL": upstream.url, "MODE": "stream"}
    if where in files:
        (tmp_path / "config.yaml").write_text(files[where])
        settings = {"CONFIG_PATH": str(tmp_path / "config.yaml")}
    proxy = serve(**settings, **({"ARGOPROXY_FLAGS": "MODE,TARGET_BASE_URL"} if where == "flag" else {}))
    script = upstream.script(*stream(event("Hi", "stop"), DONE))
    assert (
        document_of(chat(proxy.port, headers={"X-Script": script}), False)["choices"][0]["message"]["content"] == "Hi"
    )
    assert json.loads(upstream.last(script)["body"])["stream"] is True
    off = upstream.script(reply(body=completion("Hi")))
    assert chat(proxy.port, headers={"X-Script": off, "X-Upstream-Mode": "off"}).status == 200
    assert "stream" not in json.loads(upstream.last(off)["body"])


def test_an_unknown_mode_is_refused(serve: Serve, upstream: Upstream, proxy: Proxy) -> None:
    answer = chat(proxy.port, headers={"X-Upstream-Mode": "maybe"})
    assert (answer.status, answer.error["code"]) == (400, "invalid_upstream_mode")


def refusing(message: str) -> str:
    return json.dumps({"error": {"message": message, "type": "invalid_request_error", "param": None, "code": None}})


ONLY_STREAM = refusing("This model only support stream mode, please enable the stream parameter.")
NO_STREAM = refusing("Unsupported value: 'stream' does not support true with this model.")


@pytest.mark.parametrize("asks", [False, True])
def test_a_refused_mode_is_asked_for_in_the_other_one_and_remembered(
    serve: Serve, upstream: Upstream, asks: bool
) -> None:
    proxy = serve(TARGET_BASE_URL=f"{upstream.url}/modes-{asks}/v1")
    model = f"{'whole' if asks else 'stream'}-only"
    for tries in (2, 1, 1):
        before = upstream.count(model)
        answer = chat(proxy.port, model=model, stream=asks, headers={"X-Script": model})
        assert document_of(answer, asks)["choices"][0]["message"]["content"] == "Hello there!"
        assert upstream.count(model) - before == tries
        assert proxy.line(answer.id)["ending"] == "complete"
    assert json.loads(upstream.last(model)["body"])["stream"] is not asks


def test_a_refusal_of_both_modes_is_told(proxy: Proxy, upstream: Upstream) -> None:
    script = upstream.script(reply("400 Bad Request", ONLY_STREAM.encode()))
    answer = chat(proxy.port, model="never", headers={"X-Script": script})
    assert (answer.status, answer.body.decode()) == (400, ONLY_STREAM)
    assert upstream.count(script) == 2
    other = upstream.script(reply("400 Bad Request", refusing("n is too large").encode()))
    assert chat(proxy.port, headers={"X-Script": other}).status == 400
    assert upstream.count(other) == 1


def test_a_refusal_of_both_modes_is_remembered_of_none(proxy: Proxy, upstream: Upstream) -> None:
    model = "poisoned"
    script = upstream.script(reply("400 Bad Request", ONLY_STREAM.encode()))
    assert chat(proxy.port, model=model, headers={"X-Script": script}).status == 400
    well = upstream.script(reply(body=completion("Hi")))
    assert chat(proxy.port, model=model, headers={"X-Script": well}).status == 200
    assert "stream" not in json.loads(upstream.last(well)["body"])


def test_one_clients_odd_request_costs_the_others_no_stream(dashscope: Proxy) -> None:
    headers = {"Authorization": "Bearer key"}
    odd: Json = {"enable_thinking": True, "incremental_output": False}
    assert chat(dashscope.port, model="qwq-32b", stream=True, headers=headers, **odd).status == 400
    assert document_of(chat(dashscope.port, model="qwq-32b", stream=True, headers=headers), True)["choices"]


def test_a_remembered_mode_that_is_refused_is_left_again(proxy: Proxy, upstream: Upstream) -> None:
    assert chat(proxy.port, model="stream-only", headers={"X-Script": "before"}).status == 200
    script = upstream.script(reply("400 Bad Request", NO_STREAM.encode()))
    assert chat(proxy.port, model="stream-only", headers={"X-Script": script}).status == 400
    assert [json.loads(seen["body"]).get("stream") for seen in upstream.seen(script)] == [True, False]


def test_a_stream_is_never_asked_for_twice_once_anything_of_it_arrived(proxy: Proxy, upstream: Upstream) -> None:
    late = f"data: {NO_STREAM}\n\n"
    script = upstream.script(*stream(event("Hi"), late))
    answer = chat(proxy.port, stream=True, model="late", headers={"X-Script": script})
    assert "error" in answer.chunks[-1]
    assert upstream.count(script) == 1


def test_events_go_out_as_they_come_in_whatever_the_mode(serve: Serve, upstream: Upstream) -> None:
    proxy = serve(TARGET_BASE_URL=upstream.url, MODE="stream", ASK_USAGE="true")
    script = upstream.script(
        ["send", CHUNKED],
        *(step for word in "abcd" for step in (["send", chunked(event(word))], ["await"])),
        ["send", bodies([event("", "stop"), data(USAGE_CHUNK), DONE])],
    )
    body = json.dumps({"model": "m1", "messages": [{"role": "user", "content": "Hi"}], "stream": True}).encode()
    with Client(proxy.port) as client:
        client.send("POST", "/v1/chat/completions", body, X_Script=script)
        for word in "abcd":
            client.until(json.dumps(word).encode())
            upstream.open(script)
        answer = client.answer()
    assert answer.text == "abcd"
    assert not any("usage" in chunk for chunk in answer.chunks), "the client did not ask for it"
    assert proxy.line(answer.id)["completion_tokens"] == "4"
    assert json.loads(upstream.last(script)["body"])["stream_options"] == {"include_usage": True}


def test_a_hundred_thousand_events_become_a_document(proxy: Proxy, upstream: Upstream) -> None:
    one = chunked(event("word ")).encode().decode("latin-1")
    script = upstream.script(
        ["send", CHUNKED], ["repeat", 100, [["send", one * 1000]]], ["send", bodies([event("", "stop"), DONE])]
    )
    answer = chat(proxy.port, headers={"X-Script": script, "X-Upstream-Mode": "stream"})
    assert answer.json["choices"][0]["message"]["content"] == "word " * 100_000


BROKEN: dict[str, tuple[list[list[Any]], str]] = {
    "broken JSON": (stream(event("Hi"), 'data: {"choices": [\n\n'), "upstream_protocol_error"),
    "neither a finish reason nor an end mark": (stream(event("Hi")), "upstream_stream_cut_short"),
}


@pytest.mark.parametrize(("steps", "code"), BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_stream_is_told(proxy: Proxy, upstream: Upstream, steps: list[list[Any]], code: str) -> None:
    headers = {"X-Script": upstream.script(*steps), "X-Upstream-Mode": "stream"}
    whole = chat(proxy.port, headers=headers)
    assert (whole.status, whole.error["code"]) == (502, code)
    streamed = chat(proxy.port, stream=True, headers=headers)
    assert (streamed.text, streamed.chunks[-1]["error"]["code"]) == ("Hi", code)
    assert b"[DONE]" not in streamed.body


SEED = "004_ed49878963c85561.txt"


@pytest.fixture
def dashscope(serve: Serve, upstream: Upstream) -> Proxy:
    """The proxy in front of DashScope, named as the seed names it."""
    url = f"{upstream.url}/api/v1/services/aigc/text-generation/generation"
    return serve(TARGET_BASE_URL=url, MODEL_MAP="gpt-4=qwen-max")


FORM = {"Content-Type": "application/x-www-form-urlencoded", "Authorization": "Bearer YOUR_KEY"}


@pytest.mark.parametrize("mode", ["", "stream", "non_stream"])
@pytest.mark.parametrize("asks", [False, True])
def test_the_seeds_curl_commands_run(dashscope: Proxy, asks: bool, mode: str) -> None:
    body = {"model": "qwen-plus", "messages": [{"role": "user", "content": "Explain quantum computing"}]}
    headers = {**FORM, **({"X-Upstream-Mode": mode} if mode else {})}
    text = json.dumps({**body, **({"stream": True} if asks else {})}).encode()
    answer = ask(dashscope.port, "POST", "/v1/chat/completions", text, **headers)
    made = document_of(answer, asks)
    assert (made["object"], made["model"]) == ("chat.completion", "qwen-plus")
    assert made["choices"][0]["message"]["content"]


@pytest.mark.parametrize(
    "base", ["/api/v1/services/aigc/", "/api/v1/services/aigc", "/api/v1/services/aigc/text-generation/"]
)
def test_a_base_inside_dashscopes_path_leads_to_its_endpoints(serve: Serve, upstream: Upstream, base: str) -> None:
    proxy = serve(TARGET_BASE_URL=upstream.url + base)
    body = {"model": "qwen-plus", "messages": [{"role": "user", "content": "Hello"}]}
    answer = ask(proxy.port, "POST", "/v1/chat/completions", json.dumps(body).encode(), **FORM)
    assert answer.json["choices"][0]["message"]["content"]
    assert upstream.last()["target"] == "/api/v1/services/aigc/text-generation/generation"


def test_the_seeds_conversion_is_exact(dashscope: Proxy, upstream: Upstream) -> None:
    asked = {"model": "gpt-4", "messages": [{"role": "user", "content": "Hello"}], "temperature": 0.7}
    ask(dashscope.port, "POST", "/v1/chat/completions", json.dumps(asked).encode(), **FORM)
    sent = json.loads(upstream.last()["body"])
    assert sent["parameters"].pop("result_format") == "message"
    assert sent == {"model": "qwen-max", "input": {"messages": asked["messages"]}, "parameters": {"temperature": 0.7}}


def test_dashscopes_errors_are_openais(dashscope: Proxy) -> None:
    url = f"{dashscope.url}/v1"
    with (
        openai.OpenAI(base_url=url, api_key="bad", max_retries=0) as client,
        pytest.raises(openai.AuthenticationError),
    ):
        client.chat.completions.create(model="qwen-plus", messages=[{"role": "user", "content": "Hi"}])
    with openai.OpenAI(base_url=url, api_key="key", max_retries=0) as client:
        for words, error in (
            ("fail:Throttling.RateQuota:429", openai.RateLimitError),
            ("fail:DataInspectionFailed:200", openai.BadRequestError),
        ):
            messages: list[Any] = [{"role": "user", "content": words}]
            for asks in (False, True):
                with pytest.raises(error):
                    client.chat.completions.create(model="qwen-plus", messages=messages, stream=asks)
        messages = [{"role": "user", "content": "break:InternalError"}]
        with pytest.raises(openai.APIError):
            list(client.chat.completions.create(model="qwen-plus", messages=messages, stream=True))


def test_a_model_that_only_streams_serves_everybody(dashscope: Proxy) -> None:
    for _ in range(2):
        plain = chat(dashscope.port, model="qwq-plus", headers={"Authorization": "Bearer key"})
        assert document_of(plain, False)["choices"][0]["finish_reason"] == "stop"


def test_rewritten_text_ends_a_stream_and_gives_a_plain_client_the_last(dashscope: Proxy) -> None:
    said: Json = {"messages": [{"role": "user", "content": "rewrite"}], "incremental_output": False}
    headers = {"Authorization": "Bearer key", "X-Upstream-Mode": "stream"}
    streamed = chat(dashscope.port, model="qwen-plus", stream=True, headers=headers, **said)
    assert streamed.chunks[-1]["error"]["code"] == "upstream_text_rewritten"
    plain = chat(dashscope.port, model="qwen-plus", headers=headers, **said)
    assert plain.status == 200


def test_dashscopes_embeddings_come_in_one_list(dashscope: Proxy) -> None:
    body = json.dumps({"model": "text-embedding-v4", "input": ["x" * size for size in range(1, 14)]}).encode()
    answer = ask(dashscope.port, "POST", "/v1/embeddings", body, Authorization="Bearer key")
    assert [row["embedding"][0] for row in answer.json["data"]] == [float(size) for size in range(1, 14)]
    assert [row["index"] for row in answer.json["data"]] == list(range(13))


def test_a_leaving_client_ends_the_stream_behind_its_document(proxy: Proxy, upstream: Upstream) -> None:
    script = upstream.script(["send", CHUNKED + chunked(event("Hi"))], ["hold"])
    with Client(proxy.port) as client:
        body = json.dumps({"model": "m1", "messages": [{"role": "user", "content": "Hi"}]}).encode()
        client.send("POST", "/v1/chat/completions", body, X_Script=script, X_Upstream_Mode="stream")
        eventually(lambda: upstream.seen(script))
    assert upstream.left(script)


@pytest.mark.parametrize("program", ["cot_proxy.py", "app.py"])
def test_the_seeds_flags_take_effect(upstream: Upstream, tmp_path: Path, program: str) -> None:
    port = free_port()
    slow = upstream.script(["hold"])
    flags = ["--expose_host", "127.0.0.1", "--expose_port", str(port), "--timeout", "4000", "--mode", "stream"]
    url = f"{upstream.url}/compatible-mode/v1/chat/completions"
    command = [sys.executable, str(ROOT / program), *flags, "--url", url]
    proxy = Proxy(tmp_path, {"PORT": str(port), "WORKERS": "1"}, command)
    try:
        answer = chat(port, headers={"Content-Type": "application/x-www-form-urlencoded"})
        assert answer.json["choices"][0]["message"]["content"] == "Hello there!"
        sent = upstream.last()
        assert sent["target"] == "/compatible-mode/v1/chat/completions"
        assert json.loads(sent["body"])["stream"] is True
        late = chat(port, headers={"X-Script": slow})
        assert (late.status, late.error["code"]) == (504, "first_byte_timeout")
    finally:
        proxy.stop()


def test_a_server_that_knows_no_stream_options_is_asked_without(serve: Serve, upstream: Upstream) -> None:
    proxy = serve(TARGET_BASE_URL=f"{upstream.url}/usage/v1", MODE="stream")
    for tries in (2, 1):
        before = upstream.count("no-usage")
        answer = chat(proxy.port, model="no-usage", headers={"X-Script": "no-usage"})
        assert document_of(answer, False)["choices"][0]["message"]["content"] == "Hello there!"
        assert upstream.count("no-usage") - before == tries
    asked = {"stream": True, "stream_options": {"include_usage": True}}
    refused = chat(proxy.port, model="no-usage", headers={"X-Script": "no-usage"}, **asked)  # type: ignore[arg-type]
    assert refused.status == 422, "what the client itself asks for is its own business"


def test_a_heartbeat_harms_no_client_of_events_with_ids(serve: Serve, upstream: Upstream) -> None:
    proxy = serve(TARGET_BASE_URL=upstream.url, HEARTBEAT="0.2")
    script = upstream.script(
        ["send", CHUNKED + chunked("id: 1\n" + event("a"))],
        ["sleep", 0.7],
        ["send", bodies([event("b", "stop"), DONE])],
    )
    with openai.OpenAI(base_url=f"{proxy.url}/v1", api_key="k", default_headers={"X-Script": script}) as client:
        told = client.chat.completions.create(model="m", messages=[{"role": "user", "content": "Hi"}], stream=True)
        assert "".join(chunk.choices[0].delta.content or "" for chunk in told) == "ab"


def test_the_log_tells_how_the_gateway_was_really_asked(serve: Serve, upstream: Upstream) -> None:
    proxy = serve(ARGO_BASE_URL=f"{upstream.url}/argoapi", ARGO_USER="me")
    for more, send_mode in (({}, "stream"), ({"tools": TOOLS}, "non_stream")):
        line = proxy.line(chat(proxy.port, model="gpt4o", stream=True, **more).id)  # type: ignore[arg-type]
        assert (line["send_mode"], line["return_mode"]) == (send_mode, "stream")


def test_a_refusal_under_a_success_is_one(proxy: Proxy, upstream: Upstream) -> None:
    body = json.dumps({"error": {"message": "This model only support stream mode"}}).encode()
    script = upstream.script(reply(body=body))
    assert chat(proxy.port, model="untyped", headers={"X-Script": script}).status == 502
    assert upstream.count(script) == 2


def test_what_stands_beside_withheld_tokens_goes_on(serve: Serve, upstream: Upstream) -> None:
    proxy = serve(TARGET_BASE_URL=upstream.url, MODE="stream", ASK_USAGE="true")
    beside = data({**USAGE_CHUNK, "citations": ["a"]})
    script = upstream.script(*stream(event("Hi", "stop"), beside, DONE))
    answer = chat(proxy.port, stream=True, headers={"X-Script": script})
    assert answer.chunks[-1]["citations"] == ["a"]
    assert "usage" not in answer.chunks[-1]
