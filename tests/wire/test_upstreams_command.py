"""`upstreams`: the states of a running proxy on the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

from tests.support.client import ask
from tests.support.fixtures import Serve
from tests.support.processes import ROOT, Upstream, clean_environment, free_port


def run(folder: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "cot_proxy.py"), "upstreams", *arguments]
    variables = {**clean_environment(), **environ}
    return subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, timeout=60, check=False)


def test_the_states_of_a_running_proxy_are_shown(serve: Serve, upstream: Upstream, tmp_path: Path) -> None:
    keys = {"ENABLE_AUTH": "true", "API_KEY_SECRET": "k-1"}
    proxy = serve(TARGET_BASE_URL=upstream.url, **keys)
    table = run(tmp_path, "--port", str(proxy.port), **keys)
    assert (table.returncode, table.stderr) == (0, "")
    assert table.stdout.splitlines()[1].split() == ["openai", "closed", "0", "0"]
    document = json.loads(run(tmp_path, "--json", "--port", str(proxy.port), **keys).stdout)
    assert document["source"] == f"http://127.0.0.1:{proxy.port}"
    (shown,) = document["data"]
    assert {name: shown[name] for name in ("name", "state", "openings", "models", "open_streams", "waiting")} == {
        "name": "openai",
        "state": "closed",
        "openings": 0,
        "models": {},
        "open_streams": 0,
        "waiting": 0,
    }


def test_without_its_key_the_proxy_tells_less(serve: Serve, upstream: Upstream, tmp_path: Path) -> None:
    proxy = serve(TARGET_BASE_URL=upstream.url, ENABLE_AUTH="true", API_KEY_SECRET="k-1")
    ended = run(tmp_path, "--port", str(proxy.port))
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.splitlines()[1].split() == ["openai", "closed", "0", "0"]


def test_no_proxy_is_an_error(tmp_path: Path) -> None:
    port = free_port()
    ended = run(tmp_path, "--port", str(port))
    assert (ended.returncode, ended.stdout) == (1, "")
    assert f"http://127.0.0.1:{port}" in ended.stderr
    assert "connection refused" in ended.stderr


class AnotherProgram(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_error(404)

    def log_message(self, *_: object) -> None:
        pass


def test_another_program_is_an_error(tmp_path: Path) -> None:
    with HTTPServer(("127.0.0.1", 0), AnotherProgram) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        ended = run(tmp_path, "--json", "--port", str(server.server_port))
        server.shutdown()
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "is not argoproxy" in ended.stderr


def test_wrong_settings_are_named(tmp_path: Path) -> None:
    ended = run(tmp_path, "--port", "none")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "PORT 'none'" in ended.stderr


def test_health_shows_states_without_a_key(serve: Serve, upstream: Upstream) -> None:
    proxy = serve(TARGET_BASE_URL=upstream.url, ENABLE_AUTH="true", API_KEY_SECRET="k-1")
    target = ask(proxy.port, "GET", "/health").json["target"]
    assert {name: target[name] for name in ("state", "open_streams", "waiting")} == {
        "state": "closed",
        "open_streams": 0,
        "waiting": 0,
    }
