"""`upstreams`: the states of a running proxy on the command line."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from argoproxy import __version__
from tests.support.client import CHAT_BODY, Client, ask, chat
from tests.support.fixtures import Serve
from tests.support.processes import ROOT, Proxy, Upstream, clean_environment, eventually, free_port
from tests.support.scrape import scrape, summary, total
from tests.support.scripts import reply

SECRET, SENT = "sk-upstream-secret-1", "sent-model-1"
KEY = {"Authorization": "Bearer k-1"}


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


@pytest.fixture
def failing(start: Serve, upstream: Upstream, tmp_path: Path) -> Proxy:
    """Give a proxy of four workers whose first upstream is down, and whose second one has a broken model."""
    broken = upstream.script(reply("500 Oops", b"no"))
    upstreams = {
        "down": {"base_url": f"http://127.0.0.1:{free_port()}/v1", "api_key": SECRET},
        "partly": {"base_url": f"{upstream.url}/s/{broken}/v1", "api_key": SECRET},
        "spare": {"base_url": upstream.url, "api_key": SECRET},
    }
    models = {"m1": {"upstream": ["down", "partly", "spare"], "upstream_model_name": SENT}}
    config = tmp_path / "config.yaml"
    config.write_text(json.dumps({"upstreams": upstreams, "models": models, "breaker": {"open": "600s"}}))
    settings = {"WORKERS": "4", "METRICS_OPEN": "true", "API_KEY_SECRET": "k-1", "ENABLE_AUTH": "true"}
    proxy = start(CONFIG_PATH=str(config), **settings)
    eventually(lambda: len(proxy.workers()) == 4)
    for _ in range(4):
        assert chat(proxy.port, headers=KEY).status == 200
    return proxy


def test_upstreams_that_are_left_alone_are_shown_with_the_reason(failing: Proxy, tmp_path: Path) -> None:
    ended = run(tmp_path, "--port", str(failing.port), API_KEY_SECRET="k-1")
    assert (ended.returncode, ended.stderr) == (0, "")
    rows = [re.split(r"\s{2,}", line.strip()) for line in ended.stdout.splitlines()[1:]]
    assert [row[0] for row in rows] == ["down", "partly", SENT, "spare"]
    assert (rows[0][1][-4:], rows[0][5]) == ("open", "no connection")
    assert rows[1] == ["partly", "closed", "0", "0"]
    assert (rows[2][1][-4:], rows[2][3]) == ("open", "server errors (5xx)")
    assert rows[3] == ["spare", "closed", "0", "0"]


def test_metrics_are_the_same_in_all_workers(failing: Proxy) -> None:
    # A request is counted when its answer has ended, which its client may see a moment earlier.
    eventually(lambda: total(scrape(failing), "argoproxy_upstream_attempts_total", upstream="spare", result="ok") == 4)
    for _ in range(8):
        counts = scrape(failing)
        assert total(counts, "argoproxy_upstream_circuit_openings_total", upstream="down") == 1
        assert total(counts, "argoproxy_upstream_open_models", upstream="partly") == 1
        assert total(counts, "argoproxy_upstream_attempts_total", upstream="down", result="connect") == 3
        assert total(counts, "argoproxy_upstream_attempts_total", upstream="partly", result="server_error") == 3
        assert total(counts, "argoproxy_upstream_fallbacks_total", upstream="partly") == 3


def test_health_shows_no_more_than_names_and_numbers(failing: Proxy, upstream: Upstream) -> None:
    answer = ask(failing.port, "GET", "/health")
    shown = {target["name"]: target for target in answer.json["upstreams"]}
    assert (shown["down"]["reason"], shown["partly"]["open_models"]) == ("connect", 1)
    for hidden in ("127.0.0.1", "localhost", "http", str(upstream.port), SECRET, SENT, "m1"):
        assert hidden not in answer.body.decode().replace(__version__, ""), hidden


def test_requests_that_wait_are_shown_in_each_place(start: Serve, upstream: Upstream, tmp_path: Path) -> None:
    proxy = start(TARGET_BASE_URL=upstream.url, MAX_CONCURRENT="1", QUEUE_WAIT="600", WORKERS="2")
    script = upstream.script(["await"], reply(body=b"{}"))
    with Client(proxy.port) as served, Client(proxy.port) as waiting:
        served.send("POST", "/v1/chat/completions", CHAT_BODY, X_Script=script)
        eventually(lambda: upstream.count(script) == 1)
        waiting.send("POST", "/v1/chat/completions", CHAT_BODY, X_Script=script)
        eventually(lambda: summary(proxy)["upstreams"]["openai"]["waiting"] == 1)
        target = ask(proxy.port, "GET", "/health").json["target"]
        assert (target["open_streams"], target["waiting"]) == (1, 1)
        assert total(scrape(proxy), "argoproxy_upstream_waiting_requests", upstream="openai") == 1
        shown = run(tmp_path, "--port", str(proxy.port)).stdout.splitlines()[1]
        assert shown.split() == ["openai", "closed", "1", "1"]
        upstream.open(script, 2)


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
