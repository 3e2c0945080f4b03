"""The console as a process beside the proxy: it starts with it, comes back, and ends with it."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
from pathlib import Path
from typing import Any

import pytest

from tests.support.client import chat
from tests.support.fixtures import Serve
from tests.support.processes import Proxy, Upstream, eventually, free_port, is_listening

TOKEN = "token-of-the-console-0123456789"


def ask(port: int, path: str, token: str = TOKEN) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
        answer = connection.getresponse()
        body = answer.read()
        is_json = answer.headers["Content-Type"] == "application/json"
        return answer.status, json.loads(body) if is_json else body.decode()
    finally:
        connection.close()


def pids_of(port: int) -> list[int]:
    """Return the processes that serve the console of a proxy at a port."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes().split(b"\0")
            if (
                command[1:4] == [b"-m", b"argoproxy", b"console"]
                and f"PORT={port}\0".encode() in (folder / "environ").read_bytes()
            ):
                found.append(int(folder.name))
        except OSError:
            continue
    return found


@pytest.fixture
def console() -> int:
    return free_port()


@pytest.fixture
def proxy(start: Serve, upstream: Upstream, console: int, tmp_path: Path) -> Proxy:
    settings = {"CONSOLE": f"127.0.0.1:{console}", "CONSOLE_TOKEN": TOKEN, "OUTPUT_PATH": str(tmp_path / "journal")}
    return start(TARGET_BASE_URL=upstream.url, **settings)


def test_it_shows_what_the_proxy_does_and_comes_back(proxy: Proxy, console: int) -> None:
    eventually(lambda: is_listening(console))
    assert f":{console}/#token=(console_token)" in eventually(
        lambda: found[0] if (found := re.findall(r"Console: .*", proxy.log())) else ""
    )
    answer = chat(proxy.port, model="m1")
    live = eventually(lambda: seen if (seen := ask(console, "/api/live")[1])["finished"] else None)
    assert (live["finished"][0]["id"], live["finished"][0]["model"]) == (answer.id, "m1")
    assert [one["name"] for one in live["upstreams"]] == [proxy.line(answer.id)["upstream"]]
    status, exchange = ask(console, f"/api/exchange/{answer.id}")
    assert (status, exchange["client"]["turns"][0]["parts"][0]["text"]) == (200, "Hi")
    assert ask(console, "/api/live", "another")[0] == 401
    assert "console.js" in ask(console, "/")[1]
    assert chat(proxy.port, path="/api/live").status == 200  # the proxy's own paths are what they were
    (pid,) = pids_of(proxy.port)
    os.kill(pid, signal.SIGKILL)
    assert chat(proxy.port).status == 200
    eventually(lambda: is_listening(console) and pids_of(proxy.port) not in ([], [pid]))
    assert ask(console, "/api/live")[0] == 200
    assert proxy.stop() == 0
    eventually(lambda: not pids_of(proxy.port))


def test_it_ends_with_a_master_that_is_killed(proxy: Proxy, console: int) -> None:
    eventually(lambda: is_listening(console))
    proxy.process.kill()
    eventually(lambda: not pids_of(proxy.port))


def test_a_port_that_is_taken_is_tried_again(start: Serve, upstream: Upstream) -> None:
    """The proxy serves meanwhile, and its log names what fails."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        proxy = start(TARGET_BASE_URL=upstream.url, CONSOLE=f"127.0.0.1:{port}", CONSOLE_TOKEN=TOKEN)
        eventually(lambda: "code=console_failed" in proxy.log())
        assert chat(proxy.port).status == 200
    eventually(lambda: is_listening(port))
    assert ask(port, "/api/live")[0] == 200


def test_without_the_setting_there_is_none(start: Serve, upstream: Upstream) -> None:
    proxy = start(TARGET_BASE_URL=upstream.url)
    assert chat(proxy.port).status == 200
    assert pids_of(proxy.port) == []
