"""The README, followed by a new user: ./run_app.sh --demo, its curl command, and the official client."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator

import openai
import pytest

from tests.support.client import ask, chat
from tests.support.fixtures import Serve
from tests.support.processes import PATIENCE_S, ROOT, Proxy, Upstream, clean_environment, free_port

#: How long pip may take, on a slow and busy machine.
INSTALL_S = 900.0
pytestmark = pytest.mark.timeout(INSTALL_S + 300)
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """The demo, started by the script from nothing: it makes its virtual environment first."""
    folder, port = tmp_path_factory.mktemp("demo"), free_port()
    installer = {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "SSL_"))}
    environ = {
        **installer,
        "PIP_NO_COMPILE": "1",
        "PORT": str(port),
        "ARGOPROXY_VENV": str(folder / "venv with blank"),
        "PYTHON": sys.executable,
    }
    command = [str(ROOT / "run_app.sh"), "--demo"]
    first = Proxy(folder, environ, command, INSTALL_S)
    assert "Installing into" in first.log()
    first.stop()
    installed = first.log()
    again = Proxy(folder, environ, command)
    assert ask(port, "GET", "/health").status == 200
    assert "Installing into" not in again.log().removeprefix(installed)
    yield again
    again.stop()


@pytest.fixture
def client(demo: Proxy) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{demo.url}/v1", api_key="any", max_retries=0) as made:
        yield made


def test_the_readmes_curl_streams_words_as_they_come(demo: Proxy) -> None:
    (command,) = [block for block in blocks("bash") if "curl -N" in block]
    words = shlex.split(command.replace("localhost:5000", f"127.0.0.1:{demo.port}").replace("\\\n", ""))

    def run() -> tuple[bytes, float]:
        """Return what curl shows, and the seconds from the first line to the last."""
        times, shown = list[float](), b""
        with subprocess.Popen([*words, "-sS"], stdout=subprocess.PIPE) as curl:
            assert curl.stdout
            while line := curl.stdout.readline():
                times.append(time.monotonic())
                shown += line
        return shown, times[-1] - times[0]

    shown, spread_s = max((run() for _ in range(3)), key=lambda found: found[1])
    assert spread_s > 0.7, "the first word comes well before the last"
    assert b"Hello!" in shown
    assert shown.endswith(b"data: [DONE]\n\n")
    assert b"think" not in shown
    assert b"user wrote" not in shown


def test_the_readmes_python_runs(demo: Proxy) -> None:
    (code,) = blocks("python")
    code = code.replace("localhost:5000", f"127.0.0.1:{demo.port}")
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.startswith("Hello! I am the demo model")
    assert "think" not in shown


def test_the_official_client(client: openai.OpenAI) -> None:
    hello = "Hello there"
    answer = client.chat.completions.create(model="demo", messages=[{"role": "user", "content": hello}])
    assert answer.choices[0].message.content
    assert answer.choices[0].message.content.startswith("Hello! I am the demo model")
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage
    assert answer.usage.prompt_tokens == 2
    stream = client.chat.completions.create(
        model="demo", messages=[{"role": "user", "content": hello}], stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == answer.choices[0].message.content
    assert chunks[-1].usage == answer.usage
    assert client.completions.create(model="demo", prompt=hello).choices[0].text.startswith("Hello!")
    vectors = client.embeddings.create(model="demo", input=["a", "b"])
    assert [len(item.embedding) for item in vectors.data] == [64, 64]
    assert [model.id for model in client.models.list()] == ["demo"]
    assert client.models.retrieve("demo").id == "demo"


def test_the_official_client_hears_of_errors(client: openai.OpenAI, serve: Serve, upstream: Upstream) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="demo", messages=[])
    assert caught.value.param == "messages"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("other")
    proxy = serve(TARGET_BASE_URL=upstream.url)
    script = upstream.script(
        ["send", "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"],
        ["send", 'data: {"id":"1","choices":[{"index":0,"delta":{"content":"a"}}]}\n\n'],
        ["read"],
        ["close"],
    )
    with (
        openai.OpenAI(
            base_url=f"{proxy.url}/v1", api_key="k", max_retries=0, default_headers={"X-Script": script}
        ) as other,
        pytest.raises(openai.APIError, match="broke off"),
    ):
        list(other.chat.completions.create(model="m", messages=[{"role": "user", "content": "x"}], stream=True))


def test_the_demo_serves_our_paths_only(demo: Proxy) -> None:
    assert ask(demo.port, "GET", "/v1/files").status == 404
    answer = ask(demo.port, "DELETE", "/v1/chat/completions")
    assert (answer.status, answer.header("Allow")) == (405, "POST")
    assert ask(demo.port, "GET", "/health").json["target"]["name"] == "demo"


def test_llm_params_make_a_pseudo_model_of_the_demo(serve: Serve) -> None:
    proxy = serve(
        DEMO="true", LLM_PARAMS="model=short,upstream_model_name=demo,max_tokens=2,enable_think_tag_filtering=no"
    )
    models = ask(proxy.port, "GET", "/v1/models").json["data"]
    assert [model["id"] for model in models] == ["demo", "short"]
    choice = chat(proxy.port, model="short").json["choices"][0]
    assert (choice["finish_reason"], choice["message"]["content"][:7]) == ("length", "<think>")


SEED = r"""
curl http://localhost:5000/health

curl http://localhost:5000/v1/chat/completions \
  -H "Content-Type: application/json" \
  -H "Authorization: Bearer $OPENAI_API_KEY" \
  -d '{
    "model": "gpt-4",
    "messages": [{"role": "user", "content": "Hello!"}],
    "stream": true
  }'

curl http://localhost:5000/v1/chat/completions \
  -H "Content-Type: application/json" \
  -H "Authorization: Bearer $OPENAI_API_KEY" \
  -d '{
    "model": "gpt-4",
    "messages": [{"role": "user", "content": "Hello!"}]
  }'

curl http://localhost:5000/v1/chat/completions \
  -H "Content-Type: application/json" \
  -H "Authorization: Bearer $OPENAI_API_KEY" \
  -d '{invalid json}'
"""


@pytest.mark.parametrize("base", ["/", "", "/v1", "/v1/", "/some/prefix/"])
def test_the_commands_people_know_work_as_printed(serve: Serve, upstream: Upstream, base: str) -> None:
    proxy = serve(TARGET_BASE_URL=upstream.url + base)
    shown = []
    for command in SEED.strip().split("\n\n"):
        line = command.replace("localhost:5000", f"127.0.0.1:{proxy.port}").replace(
            "curl ", "curl -sS -w '%{http_code}' "
        )
        environ = {**clean_environment(), "OPENAI_API_KEY": "sk-mine"}
        ended = subprocess.run(
            ["bash", "-c", line], env=environ, capture_output=True, text=True, timeout=PATIENCE_S, check=True
        )
        shown.append((ended.stdout[-3:], ended.stdout[:-3]))
    assert [status for status, _ in shown] == ["200", "200", "200", "400"]
    assert '"reachable":true' in shown[0][1]
    assert "there" in shown[1][1]
    assert shown[1][1].endswith("data: [DONE]\n\n")
    assert '"Hello there!"' in shown[2][1]
    assert "not valid JSON" in shown[3][1]
    seen = upstream.last("")
    assert seen["target"].endswith("/v1/chat/completions")
    assert dict(seen["headers"])["Authorization"] == "Bearer sk-mine"
