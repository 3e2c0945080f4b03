"""The journal on real Gunicorn: what stands in it for every way a request can end."""

from __future__ import annotations

import json
import os
import random
import signal
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.support.client import Client, ask, chat
from tests.support.fixtures import Serve
from tests.support.journal_reader import JournalReader
from tests.support.processes import Proxy, Upstream, eventually, shell
from tests.support.scripts import CHUNKED, DONE, chunked, completion, event, reply, stream

Json = dict[str, Any]

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture(scope="module")
def pages(serve: Serve, upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> JournalReader:
    folder = tmp_path_factory.mktemp("journal") / "deep" / "logs"
    return JournalReader(
        serve(TARGET_BASE_URL=upstream.url, OUTPUT_PATH=str(folder), TARGET_API_KEY="sk-target-1"), folder
    )


def text_of(document: Json) -> Any:
    return document["choices"][0]["message"]["content"]


@pytest.mark.parametrize("mode", ["off", "stream", "non_stream"])
@pytest.mark.parametrize("asks", [False, True])
def test_both_sides_of_an_exchange_stand_there(pages: JournalReader, asks: bool, mode: str) -> None:
    answer = chat(pages.proxy.port, stream=asks, timeout=30, headers={"X-Upstream-Mode": mode, "X-Request-Id": "mine"})
    client, (server,) = pages.of(answer)
    assert client["input"]["timeout"] == 30
    assert "timeout" not in server["input"]
    assert text_of(client["output"]) == "Hello there!"
    assert text_of(server["output"]).startswith("<think>")
    streams = asks if mode == "off" else mode == "stream"
    for line in (client, server):
        assert (line["send_mode"], line["return_mode"]) == (
            "stream" if streams else "non_stream",
            "stream" if asks else "non_stream",
        )
        told = (line["ending"], line["model"], line["upstream"], line["client_request_id"], line["status"])
        assert told == ("complete", "m1", "openai", "mine", 200)
        assert line["timestamp"].endswith("Z")
    log = (pages.folder / "log.log").read_text()
    assert f"id={answer.id}" in log


def test_a_fallback_is_two_requests_upstream(pages: JournalReader) -> None:
    answer = chat(pages.proxy.port, model="stream-only")
    client, (refused, taken) = pages.of(answer)
    assert (refused["send_mode"], refused["status"], taken["send_mode"]) == ("non_stream", 400, "stream")
    assert "stream mode" in refused["output"]["error"]["message"]
    assert refused["ending"] == "upstream_error"
    assert text_of(client["output"]) == "Hello there!"
    assert client["ending"] == taken["ending"] == "complete"


def test_what_had_arrived_stands_there_when_a_stream_breaks(pages: JournalReader, upstream: Upstream) -> None:
    script = upstream.script(["send", CHUNKED + chunked(event("Hello "))], ["read"], ["close"])
    answer = chat(pages.proxy.port, stream=True, headers={"X-Script": script})
    client, (server,) = pages.of(answer)
    for line in (client, server):
        assert text_of(line["output"]) == "Hello "
        assert line["output"]["error"]["code"]
        assert line["ending"] == "upstream_broken"


def test_what_had_arrived_stands_there_when_the_client_leaves(pages: JournalReader, upstream: Upstream) -> None:
    script = upstream.script(["send", CHUNKED + chunked(event("Hello "))], ["hold"])
    body = json.dumps({"model": "m1", "stream": True, "messages": [{"role": "user", "content": "Hi"}]}).encode()
    with Client(pages.proxy.port) as client:
        client.send("POST", "/v1/chat/completions", body, X_Script=script)
        head = client.head()
        client.until(b"Hello")
    line, (server,) = pages.of(head)
    assert line["ending"] == server["ending"] == "client_gone"
    assert text_of(line["output"]) == text_of(server["output"]) == "Hello "


@pytest.mark.parametrize("asks", [False, True])
def test_errors_stand_there(pages: JournalReader, upstream: Upstream, asks: bool) -> None:
    error = {"message": "no", "type": "t", "param": None, "code": "c"}
    script = upstream.script(reply("429 Too Many", json.dumps({"error": error}).encode()))
    client, (server,) = pages.of(chat(pages.proxy.port, stream=asks, headers={"X-Script": script}))
    for line in (client, server):
        assert (line["output"], line["status"], line["ending"]) == ({"error": error}, 429, "upstream_error")
    refused, none = pages.of(chat(pages.proxy.port, stream=asks, messages=[]))
    assert (refused["output"]["error"]["param"], refused["status"], none) == ("messages", 400, [])
    unread, none = pages.of(ask(pages.proxy.port, "POST", "/v1/chat/completions", b"{"))
    assert (unread["input"], unread["output"]["error"]["type"], none) == ({"bytes": 1}, "invalid_request_error", [])


def test_secrets_and_pictures_do_not_stand_there(pages: JournalReader, upstream: Upstream) -> None:
    picture = "data:image/png;base64," + "A" * 5000
    parts = [{"type": "image_url", "image_url": {"url": picture}}, {"type": "text", "text": "x" * 5000}]
    script = upstream.script(reply(body=completion("your key is sk-target-1")))
    said = [{"role": "user", "content": parts}, {"role": "user", "content": "is sk-target-1 a key?"}]
    answer = chat(pages.proxy.port, messages=said, headers={"X-Script": script})
    client, (server,) = pages.of(answer)
    for line in (client, server):
        text = json.dumps(line)
        assert "sk-target" not in text
        assert "AAAA" * 60 not in text
        assert "x" * 5000 in text


def test_embeddings_and_other_paths(pages: JournalReader, upstream: Upstream) -> None:
    body = json.dumps({"model": "e", "input": "x"}).encode()
    client, (server,) = pages.of(ask(pages.proxy.port, "POST", "/v1/embeddings", body))
    assert client["output"]["data"] == server["output"]["data"]
    assert (client["input"], client["model"]) == ({"model": "e", "input": "x"}, "e")
    passed, (server,) = pages.of(ask(pages.proxy.port, "POST", "/v1/audits?q=secret", b'{"model": "m1", "x": "y"}'))
    assert (passed["path"], passed["method"], passed["status"]) == ("/v1/audits", "POST", 200)
    assert passed["input"] == server["input"] == {"bytes": 25}
    assert list(passed["output"]) == list(server["output"]) == ["bytes"]


def test_native_mode_and_the_gateways_own_chat(serve: Serve, upstream: Upstream, tmp_path: Path) -> None:
    settings = {"USE_NATIVE_OPENAI": "true", "NATIVE_OPENAI_BASE_URL": upstream.url, "OUTPUT_PATH": str(tmp_path)}
    native = JournalReader(serve(**settings), tmp_path)
    for asks in (False, True):
        client, (server,) = native.of(chat(native.proxy.port, stream=asks))
        assert client["output"] == server["output"]
        assert text_of(client["output"]).endswith("Hello there!")
    settings = {"ARGO_BASE_URL": f"{upstream.url}/argoapi", "ARGO_USER": "me", "OUTPUT_PATH": str(tmp_path)}
    argo = JournalReader(serve(**settings), tmp_path)
    for asks in (False, True):
        body = json.dumps({"model": "gpt4o", "prompt": ["Hi"], "stream": asks}).encode()
        client, (server,) = argo.of(ask(argo.proxy.port, "POST", "/v1/chat", body))
        assert server["input"]["user"] == "me"
        assert "you said" in json.dumps(client["output"])
        assert client["output"] == server["output"]


def test_bodies_may_be_left_out(serve: Serve, upstream: Upstream, tmp_path: Path) -> None:
    settings = {"TARGET_BASE_URL": upstream.url, "OUTPUT_PATH": str(tmp_path), "JOURNAL_BODIES": "meta"}
    pages = JournalReader(serve(**settings), tmp_path)
    client, (server,) = pages.of(chat(pages.proxy.port, bytes="what it says"))
    for line in (client, server):
        assert list(line["input"]) == list(line["output"]) == ["bytes"]
        assert "what it says" not in json.dumps(line)
        assert line["usage"]["total_tokens"] == 10


def test_a_folder_that_cannot_be_written_refuses_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for command in (f"python {ROOT / 'app.py'} --demo", f"python {ROOT / 'app.py'} config validate --demo"):
        ended = shell(f"{command} --output_path file/logs", tmp_path, {})
        assert ended.returncode == 2
        assert b"can't be written" in ended.stderr
        assert b"Traceback" not in ended.stderr


def test_a_folder_that_vanishes_later_costs_nothing(serve: Serve, upstream: Upstream, tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    proxy = serve(TARGET_BASE_URL=upstream.url, OUTPUT_PATH=str(folder))
    pages = JournalReader(proxy, folder)
    pages.of(chat(proxy.port))
    folder.rename(tmp_path / "elsewhere")
    folder.write_text("in the way")
    assert chat(proxy.port).status == 200
    eventually(lambda: proxy.coded("journal_lines_lost"))
    folder.unlink()
    pages.of(chat(proxy.port))


def test_the_logs_command_tells_of_it(pages: JournalReader, tmp_path: Path) -> None:
    answer = chat(pages.proxy.port, messages=[{"role": "user", "content": "It's me"}])
    pages.of(answer)
    program = f"python {ROOT / 'cot_proxy.py'} logs"
    where = {"OUTPUT_PATH": str(pages.folder)}
    shown = shell(f"{program} show {answer.id[:12]}", tmp_path, where).stdout.decode()
    assert "Hello there!" in shown
    curl = shell(f"{program} show {answer.id} --curl", tmp_path, where).stdout.decode()
    assert curl.startswith("curl ")
    assert "It'" in curl
    at_a_port = shell(f"{program} show {answer.id} --curl --output_path {pages.folder} --port 6001", tmp_path, {})
    assert "http://localhost:6001/v1/chat/completions" in at_a_port.stdout.decode()
    stats = shell(f"{program} stats", tmp_path, where).stdout.decode()
    assert "m1" in stats
    tail = shell(f"{program} tail --no-follow", tmp_path, where).stdout.decode()
    assert answer.id[:8] in tail
    flagged = shell(f"{program} stats --output_path {pages.folder}", tmp_path, {}).stdout.decode()
    assert "m1" in flagged
    none = shell(f"{program} stats", tmp_path, {})
    assert (none.returncode, b"Traceback" in none.stderr) == (2, False)


EXCHANGES, AT_ONCE = 1_000, 16


def test_every_exchange_of_eight_workers_stands_there_once(upstream: Upstream, tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    settings = {"TARGET_BASE_URL": upstream.url, "OUTPUT_PATH": str(folder), "WORKERS": "8", "VERBOSE": "false"}
    sizes = {"JOURNAL_MAX_BYTES": str(2 * 1024 * 1024), "JOURNAL_FILES": "1000"}
    proxy = Proxy(tmp_path, {**settings, **sizes})
    dice = random.Random(5)
    script = upstream.script(*stream(event("Hi", "stop"), DONE), body="read")
    waiting = [dice.choice((1, 1, 2, 3, 5, 8, 200) if number % 40 == 0 else (1, 2)) for number in range(EXCHANGES)]
    answered: list[str] = []
    lock = threading.Lock()

    def work() -> None:
        while True:
            with lock:
                if not waiting:
                    return
                size = waiting.pop()
            try:
                answer = chat(proxy.port, stream=True, headers={"X-Script": script}, x="x" * 1000 * size)
            except (AssertionError, OSError):
                continue
            if answer.whole:
                answered.append(answer.id)

    threads = [threading.Thread(target=work) for _ in range(AT_ONCE)]
    for thread in threads:
        thread.start()
    while len(waiting) > EXCHANGES // 2:
        time.sleep(0.05)
    os.kill(proxy.workers()[0], signal.SIGKILL)
    for thread in threads:
        thread.join()
    assert proxy.stop() == 0
    assert len(answered) > EXCHANGES - 100
    for name in ("client", "server"):
        assert len(list(folder.glob(f"{name}_interaction.jsonl*"))) > 1
        ids, broken = counted(folder, name)
        assert set(ids.values()) == {1}
        assert broken <= AT_ONCE, "only what the killed worker was writing"
        assert len(set(answered) - set(ids)) <= AT_ONCE, "only what it had not begun to write"


def counted(folder: Path, name: str) -> tuple[Counter[str], int]:
    """Count the lines of all files by their ids, and those that are broken."""
    ids, broken = Counter[str](), 0
    for file in folder.glob(f"{name}_interaction.jsonl*"):
        for line in file.read_bytes().splitlines():
            try:
                ids[json.loads(line)["logging_id"]] += 1
            except ValueError:
                broken += 1
    return ids, broken
