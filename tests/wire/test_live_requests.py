"""Which requests are under way, as a process beside the workers reads it (docs/console.md)."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from argoproxy.console.live.request_reader import RequestReader
from argoproxy.console.views.recent_requests import RecentRequest
from argoproxy.console.views.sources import SettingsReader
from argoproxy.server.runtime import folder_at
from argoproxy.telemetry.live.live_files import OpenRequest
from tests.support.client import CHAT_BODY, STREAM_BODY, Client
from tests.support.fixtures import Serve
from tests.support.processes import ROOT, Proxy, Upstream, eventually, free_port, shell
from tests.support.scripts import CHUNKED, DONE, END, chunked, event, reply

CHAT = "/v1/chat/completions"


@pytest.fixture(scope="module", params=["gthread", "gevent"])
def proxy(request: pytest.FixtureRequest, serve: Serve, upstream: Upstream) -> Proxy:
    console = f"127.0.0.1:{free_port()}"
    settings = {"WORKER_CLASS": str(request.param), "WORKERS": "1", "MAX_CONCURRENT": "1", "QUEUE_WAIT": "120"}
    return serve(TARGET_BASE_URL=upstream.url, CONSOLE=console, **settings)


@pytest.fixture
def requests(proxy: Proxy) -> RequestReader:
    # The master listens a moment before it can be found by its port.
    return RequestReader(eventually(lambda: folder_at(proxy.port)))


@pytest.fixture
def client(proxy: Proxy) -> Iterator[Client]:
    with Client(proxy.port) as made:
        yield made


def find_one(requests: RequestReader, phase: str) -> OpenRequest:
    """Wait until one request is in a phase."""

    def find() -> OpenRequest | None:
        found = [one for one in requests.read_open() if one["phase"] == phase]
        return found[0] if len(found) == 1 else None

    found: OpenRequest = eventually(find)
    return found


def find_ended(proxy: Proxy, requests: RequestReader, request_id: str) -> RecentRequest:
    sources = SettingsReader(proxy.environ, Path(), folder_at(proxy.port)).read()
    assert sources.config.journal is None

    def find() -> RecentRequest | None:
        return next((one for one in requests.read_ended(sources, time.time()) if one.id == request_id), None)

    ended: RecentRequest = eventually(find)
    return ended


def test_a_stream_is_listed_until_it_ends(
    proxy: Proxy, upstream: Upstream, requests: RequestReader, client: Client
) -> None:
    script = upstream.script(
        ["await"],
        ["send", CHUNKED + chunked(event("Hello"))],
        ["await"],
        ["send", chunked(event(" you", "stop") + DONE) + END],
    )
    client.send("POST", CHAT, STREAM_BODY, X_Script=script)
    asked = find_one(requests, "asked")
    assert (asked["model"], asked["is_stream"], asked["bytes_sent"]) == ("m1", True, 0)
    upstream.open(script)
    sent = find_one(requests, "sent")
    assert (sent["id"], sent["upstream"]) == (asked["id"], asked["upstream"])
    assert sent["bytes_sent"] > 0
    assert sent["elapsed_ms"] >= (sent["first_byte_ms"] or 0) > 0
    upstream.open(script)
    answer = client.answer()
    assert answer.whole
    eventually(lambda: not requests.read_open())
    ended = find_ended(proxy, requests, answer.id)
    assert (ended.id, ended.model, ended.ending, ended.status) == (asked["id"], "m1", "complete", 200)


def test_a_reply_that_is_collected_was_answered(upstream: Upstream, requests: RequestReader, client: Client) -> None:
    body = b'{"id":"x","choices":[]}'
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    script = upstream.script(["send", head], ["await"], ["send", body.decode()])
    client.send("POST", CHAT, CHAT_BODY, X_Script=script)
    assert find_one(requests, "answered")["is_stream"] is False
    upstream.open(script)
    assert client.answer().whole


def test_the_terminal_shows_it(
    proxy: Proxy, upstream: Upstream, requests: RequestReader, client: Client, tmp_path: Path
) -> None:
    def run(words: str) -> subprocess.CompletedProcess[bytes]:
        return shell(f"python {ROOT / 'cot_proxy.py'} top {words}", tmp_path, {})

    script = upstream.script(["await"], reply(body=b'{"choices":[]}'))
    client.send("POST", CHAT, CHAT_BODY, X_Script=script)
    asked = find_one(requests, "asked")
    shown = json.loads(run(f"--json --port {proxy.port}").stdout)
    assert [(one["id"], one["phase"]) for one in shown["open"]] == [(asked["id"], "asked")]
    assert b"1 under way" in run(f"--port {proxy.port}").stdout
    with Client(proxy.port) as other:
        other.send("POST", CHAT, CHAT_BODY)
        assert find_one(requests, "waits")["model"] == "m1"
        upstream.open(script)
        assert other.answer().status == 200
    assert client.answer().status == 200
    missing = run(f"--once --port {free_port()}")
    assert (missing.returncode, b"No proxy" in missing.stderr) == (1, True)


def test_a_worker_that_is_killed_takes_its_requests_along(
    proxy: Proxy, upstream: Upstream, requests: RequestReader, client: Client
) -> None:
    script = upstream.script(["await"])
    client.send("POST", CHAT, STREAM_BODY, X_Script=script)
    find_one(requests, "asked")
    (worker,) = proxy.workers()
    os.kill(worker, signal.SIGKILL)
    eventually(lambda: not requests.read_open())
