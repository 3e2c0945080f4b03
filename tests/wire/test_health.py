from __future__ import annotations

import re
import threading
import time
from datetime import UTC, datetime
from typing import Any

import pytest

from argoproxy import __version__
from tests.support.client import Answer, ask
from tests.support.fixtures import Serve
from tests.support.processes import Proxy, Upstream, eventually, free_port
from tests.support.scripts import reply


def behind(serve: Serve, upstream: Upstream, *steps: Any) -> tuple[Proxy, str]:
    """Give a proxy whose upstream answers everything so, and the script's name."""
    script = upstream.script(*steps)
    return serve(TARGET_BASE_URL=f"{upstream.url}/s/{script}", TARGET_API_KEY="sk-probe-123"), script


@pytest.mark.parametrize(
    "step",
    [
        reply(body=b'{"data": []}'),
        reply("401 Unauthorized", b"no"),
        reply("404 Not Found", b"no"),
        reply("500 Oops", b"no"),
        ["send", "HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\nand so on"],
    ],
)
def test_any_answer_means_reachable(serve: Serve, upstream: Upstream, step: Any) -> None:
    proxy, script = behind(serve, upstream, step)
    answer = ask(proxy.port, "GET", "/health", Authorization="Bearer theirs")
    assert answer.status == 200
    told = answer.json
    assert (told["status"], told["version"]) == ("healthy", __version__)
    assert abs((datetime.now(UTC) - datetime.fromisoformat(told["timestamp"])).total_seconds()) < 600
    assert (told["target"]["reachable"], told["target"]["name"]) == (True, "openai")
    assert told["target"]["ms"] > 0
    seen = upstream.last(script)
    assert (seen["method"], seen["target"]) == ("GET", f"/s/{script}/v1/models")
    assert dict(seen["headers"])["Authorization"] == "Bearer sk-probe-123"
    assert re.fullmatch(r"[^:]*", told["target"]["name"])


def test_nobody_there_is_a_503(serve: Serve) -> None:
    proxy = serve(TARGET_BASE_URL=f"http://127.0.0.1:{free_port()}")
    answer = ask(proxy.port, "GET", "/health")
    assert answer.status == 503
    assert answer.json["status"] == "unhealthy"
    assert (answer.json["target"]["reachable"], answer.json["target"]["error"]) == (False, "upstream_unreachable")
    live = ask(proxy.port, "GET", "/health/live")
    assert (live.status, live.json["status"]) == (200, "alive")


@pytest.mark.parametrize("worker_class", ["gthread", "gevent", "sync"])
def test_readiness_asks_no_upstream_and_no_key(serve: Serve, upstream: Upstream, worker_class: str) -> None:
    script = upstream.script(["hold"])
    settings = {"ENABLE_AUTH": "true", "API_KEY_SECRET": "k-1", "WORKER_CLASS": worker_class}
    proxy = serve(TARGET_BASE_URL=f"{upstream.url}/s/{script}", **settings)
    answer = ask(proxy.port, "GET", "/health/ready")
    assert (answer.status, answer.json["status"], answer.json["version"]) == (200, "ready", __version__)
    assert ask(proxy.port, "POST", "/health/ready", b"{}", Authorization="Bearer k-1").status == 405
    assert upstream.count(script) == 0


def test_an_upstream_that_hangs_is_a_503_in_5_seconds(serve: Serve, upstream: Upstream) -> None:
    proxy, _ = behind(serve, upstream, ["hold"])
    begun = time.monotonic()
    answer = ask(proxy.port, "GET", "/health")
    assert answer.status == 503
    assert time.monotonic() - begun > 3
    assert answer.json["target"]["error"] == "total_timeout"


def test_probes_at_the_same_time_share_one(serve: Serve, upstream: Upstream) -> None:
    proxy, script = behind(serve, upstream, ["await"], reply(body=b"{}"))
    answers: list[Answer] = []
    threads = [threading.Thread(target=lambda: answers.append(ask(proxy.port, "GET", "/health"))) for _ in range(10)]
    for thread in threads:
        thread.start()
    eventually(lambda: upstream.seen(script))
    begun = time.monotonic()
    upstream.open(script, 10)
    for thread in threads:
        thread.join()
    assert [answer.status for answer in answers] == [200] * 10
    assert upstream.count(script) <= 1 + (time.monotonic() - begun), "those that come later share what is kept"


def test_probes_ask_the_upstream_once_a_second_at_most(serve: Serve, upstream: Upstream) -> None:
    proxy, script = behind(serve, upstream, reply(body=b"{}"))
    begun = time.monotonic()
    documents = [ask(proxy.port, "GET", "/health").json for _ in range(50)]
    assert upstream.count(script) <= 1 + (time.monotonic() - begun)
    assert {document["status"] for document in documents} == {"healthy"}
    assert len({document["timestamp"] for document in documents}) == upstream.count(script), "its own time is told"
    eventually(lambda: ask(proxy.port, "GET", "/health").json["timestamp"] != documents[-1]["timestamp"])


def test_a_kept_answer_is_not_told_for_long(serve: Serve) -> None:
    port = free_port()
    proxy = serve(TARGET_BASE_URL=f"http://127.0.0.1:{port}")
    assert ask(proxy.port, "GET", "/health").status == 503
    upstream = Upstream(port=port)
    try:
        eventually(lambda: ask(proxy.port, "GET", "/health").status == 200)
    finally:
        upstream.stop()
    eventually(lambda: ask(proxy.port, "GET", "/health").status == 503)


@pytest.mark.parametrize("path", ["/", "/health", "/health/live", "/health/ready", "/health/"])
def test_head_is_answered_too(proxy: Proxy, path: str) -> None:
    answer = ask(proxy.port, "HEAD", path)
    assert (answer.status, answer.body) == (200, b"")
    assert int(answer.header("Content-Length")) > 0
