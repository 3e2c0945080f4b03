"""The journal on real Gunicorn: the lines of requests that are more, or less, than one call and its answer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.client import ask, chat
from tests.support.fixtures import Serve
from tests.support.journal_reader import JournalReader
from tests.support.processes import Upstream
from tests.support.scripts import reply

OWN = """
from argoproxy.api import Document, UpstreamProtocolError, UpstreamRequest

class Files:
    def __init__(self, base_url, token): self.base_url, self.token = base_url, token
    def completion_request(self, call):
        return UpstreamRequest("POST", f"{self.base_url}/said", (), b'{"pass": "%b"}' % self.token.encode())
    def read_completion(self, reply, call):
        choice = {"index": 0, "message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}
        yield [Document.of({"id": "1", "object": "chat.completion", "choices": [choice]})]
    def read_error(self, status, headers, body): return UpstreamProtocolError("no")
    def forward_request(self, request): return UpstreamRequest("GET", f"{self.base_url}/files", (), is_streamed=False)
"""


@pytest.fixture(scope="module")
def pages(serve: Serve, upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> JournalReader:
    folder = tmp_path_factory.mktemp("journal")
    return JournalReader(serve(TARGET_BASE_URL=upstream.url, OUTPUT_PATH=str(folder)), folder)


@pytest.fixture(scope="module")
def argo(serve: Serve, upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> JournalReader:
    folder = tmp_path_factory.mktemp("journal")
    settings = {"ARGO_BASE_URL": f"{upstream.url}/argoapi", "ARGO_USER": "me", "OUTPUT_PATH": str(folder)}
    return JournalReader(serve(**settings), folder)


@pytest.fixture(scope="module")
def own(serve: Serve, upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> JournalReader:
    folder = tmp_path_factory.mktemp("journal")
    (folder / "own_files.py").write_text(OWN)
    options = "options: {token: tok-of-a-class-1}"
    named = f'upstreams:\n  own: {{kind: "own_files:Files", base_url: "{upstream.url}", {options}}}\n'
    (folder / "own.yaml").write_text(named)
    settings = {"CONFIG_PATH": str(folder / "own.yaml"), "OUTPUT_PATH": str(folder), "PYTHONPATH": str(folder)}
    return JournalReader(serve(**settings), folder)


def test_a_secret_among_the_options_of_a_class_is_starred(own: JournalReader) -> None:
    _, (server,) = own.of(chat(own.proxy.port))
    assert server["input"] == {"pass": "*" * len("tok-of-a-class-1")}


def test_a_class_may_say_how_it_asks_on_paths_that_are_passed_on(own: JournalReader) -> None:
    answer = ask(own.proxy.port, "GET", "/v1/files")
    assert answer.status == 200
    client, (server,) = own.of(answer)
    assert client["send_mode"] == server["send_mode"] == "non_stream"


def test_each_batch_has_its_own_end(argo: JournalReader, upstream: Upstream) -> None:
    script = upstream.script(reply("500 No", b'{"detail": "no"}'))
    body = json.dumps({"model": "v3small", "input": [*["x"] * 16, f"script:{script}"]}).encode()
    client, (first, second) = argo.of(ask(argo.proxy.port, "POST", "/v1/embeddings", body))
    assert (first["status"], first["ending"], len(first["output"]["embedding"])) == (200, "complete", 16)
    assert (second["status"], second["ending"]) == (500, "upstream_error")
    assert client["output"] == second["output"]


def test_lists_of_models_stand_there(pages: JournalReader, argo: JournalReader, upstream: Upstream) -> None:
    _, (server,) = pages.of(ask(pages.proxy.port, "GET", "/v1/models"))
    assert [model["id"] for model in server["output"]["data"]] == ["m1", "m2"]
    _, (listed, asked) = argo.of(chat(argo.proxy.port, model="gpt9ultra"))
    assert (listed["method"], listed["ending"], len(listed["output"]["data"])) == ("GET", "complete", 4)
    assert asked["input"]["model"] == "gpt9ultra"


def test_a_list_that_fails_does_not_end_as_what_was_answered_without_it(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(
        "target_base_url: http://127.0.0.1:9\nmodels: {mine: {upstream_model_name: m1}}\n"
    )
    pages = JournalReader(serve(CONFIG_PATH=str(tmp_path / "own.yaml"), OUTPUT_PATH=str(tmp_path)), tmp_path)
    for path in ("/v1/models", "/v1/models/mine"):
        client, (server,) = pages.of(ask(pages.proxy.port, "GET", path))
        assert (client["status"], client["ending"]) == (200, "complete")
        assert (server["ending"], server["output"]["error"]["code"]) == ("upstream_error", "upstream_unreachable")


def test_of_what_is_passed_on_the_sizes_stand_there(pages: JournalReader) -> None:
    answer = ask(pages.proxy.port, "POST", "/v1/moderations", b'{"model": "m1"}')
    client, (server,) = pages.of(answer)
    assert client["input"] == server["input"] == {"bytes": 15}
    assert client["output"] == server["output"] == {"bytes": len(answer.body)}
    unread, _ = pages.of(ask(pages.proxy.port, "POST", "/v1/chat/completions", b"{"))
    assert unread["input"] == {"bytes": 1}


def test_the_question_whether_argo_answers_has_no_body(argo: JournalReader) -> None:
    client, (server,) = argo.of(ask(argo.proxy.port, "GET", "/v1/status"))
    assert client["input"] is None
    assert server["input"]["messages"]


def test_a_clients_key_that_comes_back_is_starred(pages: JournalReader, upstream: Upstream) -> None:
    key = "sk-of-a-client-0123456789"
    told = json.dumps({"error": {"message": f"Incorrect API key provided: {key}."}}).encode()
    for header in ({"Authorization": f"Bearer {key}"}, {"X-API-Key": key}):
        answer = chat(pages.proxy.port, headers={**header, "X-Script": upstream.script(reply("401 No", told))})
        client, (server,) = pages.of(answer)
        for line in (client, server):
            assert line["output"]["error"]["message"] == f"Incorrect API key provided: {'*' * len(key)}."
