"""The example plug-ins, started as their README.md says and used by the official client."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jwt
import openai
import pytest
from openai.types.chat import ChatCompletionUserMessageParam

from tests.support.client import ask, chat
from tests.support.processes import PATIENCE_S, ROOT, Proxy
from tests.support.stand_ins import stand_in

SECRET, TOKEN_SECRET = "the secret of the enterprise", "at least thirty-two bytes of secret"
TOOLS: Any = [
    {
        "type": "function",
        "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
    }
]


@contextmanager
def started(config: str, folder: Path, **environ: str) -> Iterator[Proxy]:
    """Start the proxy with the config file of an example, as run_app.sh does."""
    command = [sys.executable, str(ROOT / "cot_proxy.py"), str(ROOT / "examples" / config)]
    proxy = Proxy(folder, {"WORKERS": "2", **environ}, command)
    try:
        yield proxy
    finally:
        proxy.stop()


def user(text: str) -> ChatCompletionUserMessageParam:
    return {"role": "user", "content": text}


@pytest.fixture(scope="module")
def ollama(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    with stand_in("ollama") as port:
        folder = tmp_path_factory.mktemp("ollama")
        with started("ollama_upstream/config.yaml", folder, OLLAMA_URL=f"http://127.0.0.1:{port}") as proxy:
            yield proxy


@pytest.fixture(scope="module")
def client(ollama: Proxy) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{ollama.url}/v1", api_key="any", max_retries=0) as client:
        yield client


MODEL = "llama3.2"


def test_ollama_answers_and_streams(client: openai.OpenAI) -> None:
    whole = client.chat.completions.create(model=MODEL, messages=[user("Hello 世界")])
    content = whole.choices[0].message.content or ""
    assert "Hello 世界" in content
    assert '"num_ctx": 16384' in content
    assert whole.choices[0].finish_reason == "stop"
    assert whole.usage
    assert (whole.usage.prompt_tokens, whole.usage.completion_tokens) == (42, 7)
    stream = client.chat.completions.create(
        model=MODEL, messages=[user("Hello 世界")], stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    assert len(chunks) > 3
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == content
    assert chunks[-1].usage == whole.usage
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"


@pytest.mark.parametrize("stream", [False, True])
def test_ollama_calls_tools(client: openai.OpenAI, stream: bool) -> None:
    asked: list[Any] = [user("What is the weather?")]
    if stream:
        with client.chat.completions.stream(model=MODEL, messages=asked, tools=TOOLS) as events:
            message = events.get_final_completion().choices[0].message
    else:
        message = client.chat.completions.create(model=MODEL, messages=asked, tools=TOOLS).choices[0].message  # type: ignore[assignment]
    (call,) = message.tool_calls or []
    assert call.type == "function"
    assert (call.function.name, json.loads(call.function.arguments)) == ("weather", {"city": "Paris"})
    result = {"role": "tool", "tool_call_id": call.id, "content": "sunny"}
    asked += [{"role": "assistant", "content": message.content, "tool_calls": [call.to_dict()]}, result]
    again = client.chat.completions.create(model=MODEL, messages=asked, tools=TOOLS)
    assert again.choices[0].message.content == "weather says sunny"


def test_ollama_thinks_in_a_field_of_its_own(client: openai.OpenAI) -> None:
    message = client.chat.completions.create(model=MODEL, messages=[user("think well")]).choices[0].message
    assert getattr(message, "reasoning_content", "") == "Let me see."


def test_errors_of_ollama_are_raised_by_the_client(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="it failed, as you said"):
        client.chat.completions.create(model=MODEL, messages=[user("fail:404")], stream=True)
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(model=MODEL, messages=[user("Hi")], n=2)
    assert refused.value.param == "n"
    for words in ("break", "cut"):
        with pytest.raises(openai.APIError):
            list(client.chat.completions.create(model=MODEL, messages=[user(words)], stream=True))


def test_models_of_ollama_are_listed(client: openai.OpenAI, ollama: Proxy) -> None:
    assert [model.id for model in client.models.list()] == [f"{MODEL}:latest"]
    assert client.models.retrieve(MODEL).id == f"{MODEL}:latest"
    assert ask(ollama.port, "GET", "/health").status == 200


def token(**claims: Any) -> str:
    said = {"sub": "ann", "aud": "argoproxy", "exp": int(time.time()) + 60, **claims}
    return jwt.encode(said, TOKEN_SECRET, "HS256")


@pytest.fixture(scope="module")
def enterprise(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Proxy, int, Path]]:
    """The example of an enterprise, in front of its stand-in: (the proxy, the stand-in's port, the folder)."""
    folder = tmp_path_factory.mktemp("enterprise")
    with stand_in("enterprise", ENTERPRISE_SECRET=SECRET) as port:
        text = (ROOT / "examples/custom_upstream/config.yaml").read_text().replace("9099", str(port))
        (folder / "config.yaml").write_text(text)
        settings = {
            "ENTERPRISE_SECRET": SECRET,
            "ENTERPRISE_JWT_SECRET": TOKEN_SECRET,
            "PYTHONPATH": str(ROOT / "examples/custom_upstream"),
            "CONFIG_PATH": str(folder / "config.yaml"),
        }
        proxy = Proxy(folder, {"WORKERS": "2", **settings}, [sys.executable, str(ROOT / "cot_proxy.py")])
        yield proxy, port, folder
        proxy.stop()


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("region", ["", "eu", "us"])
def test_the_enterprise_example_does_all_it_says(
    enterprise: tuple[Proxy, int, Path], stream: bool, region: str
) -> None:
    proxy, _, _ = enterprise
    headers = {"Authorization": f"Bearer {token()}", **({"X-Region": region} if region else {})}
    answer = chat(proxy.port, model="house", stream=stream, headers=headers)
    assert answer.status == 200, answer.body
    text = answer.text if stream else answer.json["choices"][0]["message"]["content"]
    assert (region or "home") in text
    assert "ann.lee@mail.example.com" not in answer.body.decode()
    assert "4111" not in text
    line = proxy.line(answer.id)
    assert (line["key"], line["upstream"], line["ending"]) == ("ann", "enterprise", "complete")


def test_callers_without_a_good_token_stay_outside(enterprise: tuple[Proxy, int, Path]) -> None:
    proxy, _, _ = enterprise
    for sent in ("", "Bearer nonsense", f"Bearer {token(exp=1)}", f"Bearer {token(aud='other')}"):
        answer = chat(proxy.port, model="house", headers={"Authorization": sent} if sent else {})
        assert (answer.status, answer.error["type"]) == (401, "authentication_error")
    assert ask(proxy.port, "GET", "/health/live").status == 200
    unknown = chat(proxy.port, model="house", headers={"Authorization": f"Bearer {token()}", "X-Region": "moon"})
    assert unknown.status == 400


def tokens_fetched(port: int) -> int:
    told = ask(port, "GET", "/seen").json["tokens"]
    return len(told) if isinstance(told, list) else int(told)


def test_tokens_are_fetched_anew_and_used_meanwhile(enterprise: tuple[Proxy, int, Path]) -> None:
    proxy, port, folder = enterprise
    headers = {"Authorization": f"Bearer {token()}"}
    begun, count = time.monotonic(), 0
    while tokens_fetched(port) < 3 or count < 20:
        assert chat(proxy.port, model="house", headers=headers).status == 200
        count += 1
        time.sleep(0.1)
        assert time.monotonic() - begun < PATIENCE_S
    assert tokens_fetched(port) < 4 * (time.monotonic() - begun + 2), "most requests use one that is kept"
    told = ask(port, "GET", "/seen").json
    sent = json.dumps(told["requests"])
    assert token()[:20] not in sent, "the caller's own token stays here"
    lines = [json.loads(line) for line in (folder / "usage.jsonl").read_text().splitlines()]
    assert len([line for line in lines if "ann" in line.values()]) >= 20
