"""A kept connection that its upstream has closed meanwhile: tried once more, where that is safe, and never else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.lab.client import ask, chat
from tests.lab.scripts import CHUNKED, DONE, bodies, chunked, completion, event, reply
from tests.wire.conftest import Serve
from tests.wire.processes import Proxy, Upstream


@pytest.fixture
def warm(serve: Serve, upstream: Upstream) -> Proxy:
    """The proxy, with a connection to the upstream that it keeps."""
    proxy = serve(TARGET_BASE_URL=upstream.url, THREADS="4")
    assert proxy.line(chat(proxy.port).id)["status"] == "200", "by now the connection is let go"
    return proxy


@pytest.mark.parametrize("asks", [False, True])
def test_a_stale_connection_is_tried_once_more(warm: Proxy, upstream: Upstream, asks: bool) -> None:
    script = upstream.script(["stale"], ["send", CHUNKED + bodies([event("Hi", "stop"), DONE])])
    answer = chat(warm.port, stream=asks, headers={"X-Script": script})
    assert answer.status == 200
    assert "Hi" in answer.body.decode()
    first, second = upstream.seen(script)
    assert first["body"] == second["body"]
    assert first["connection"] != second["connection"]
    assert warm.line(answer.id)["ending"] == "complete"


def test_other_paths_and_lists_too(warm: Proxy, upstream: Upstream) -> None:
    script = upstream.script(["stale"], reply(body=b"{}"))
    assert ask(warm.port, "GET", "/v1/files", X_Script=script).body == b"{}"
    assert len(upstream.seen(script)) == 2


@pytest.mark.parametrize("size", [27, 900_000])
def test_a_small_body_that_is_passed_on_too(warm: Proxy, upstream: Upstream, size: int) -> None:
    script = upstream.script(["stale"], reply(body=b"{}"))
    assert ask(warm.port, "POST", "/v1/responses", b"x" * size, X_Script=script).body == b"{}"
    first, second = upstream.seen(script)
    assert (first["length"], first["sha256"]) == (size, second["sha256"])


def test_a_fresh_connection_is_tried_once(serve: Serve, upstream: Upstream, warm: Proxy) -> None:
    script = upstream.script(["close"])
    answer = chat(warm.port, headers={"X-Script": script})
    assert (answer.status, answer.error["code"]) == (502, "upstream_disconnected")
    assert len(upstream.seen(script)) == 2, "the kept one, then a fresh one"
    answer = chat(warm.port, headers={"X-Script": script})
    assert (answer.status, len(upstream.seen(script))) == (502, 3), "none is kept now"


BEGUN: dict[str, list[Any]] = {
    "a status line": ["send", "HTTP/1.1 200 OK\r\n"],
    "one byte": ["send", "H"],
    "an interim reply": ["send", "HTTP/1.1 103 Early\r\n\r\n"],
    "a part of the body": ["send", CHUNKED + chunked(event("Hi"))],
}


@pytest.mark.parametrize("step", BEGUN.values(), ids=BEGUN.keys())
def test_nothing_is_tried_again_once_a_byte_came_back(warm: Proxy, upstream: Upstream, step: list[Any]) -> None:
    script = upstream.script(step, ["close"])
    assert chat(warm.port, headers={"X-Script": script}).status == 502
    assert len(upstream.seen(script)) == 1


def test_an_upload_that_cannot_be_sent_again_is_not(warm: Proxy, upstream: Upstream) -> None:
    script = upstream.script(["stale"], reply(body=b"{}"))
    sent = b"5\r\nhello\r\n0\r\n\r\n"
    answer = ask(warm.port, "POST", "/v1/files", sent, X_Script=script, Transfer_Encoding="chunked")
    assert (answer.status, len(upstream.seen(script))) == (502, 1)
    body = json.dumps({"model": "m1", "messages": [{"role": "user", "content": "Hi"}]}).encode()
    again = upstream.script(reply(body=completion("Hi")))
    assert ask(warm.port, "POST", "/v1/chat/completions", body, X_Script=again).status == 200


@pytest.mark.parametrize("worker_class", ["gthread", "gevent"])
def test_over_tls_one_fresh_connection_is_made(
    serve: Serve, tls_upstream: Upstream, ca_file: Path, worker_class: str
) -> None:
    door = serve(TARGET_BASE_URL=tls_upstream.url, REQUESTS_CA_BUNDLE=str(ca_file), WORKER_CLASS=worker_class)
    for _ in range(5):
        assert door.line(chat(door.port).id)["status"] == "200"
        before = tls_upstream.stats()["accepts"]
        script = tls_upstream.script(["stale"], reply(body=completion("Hi")))
        answer = chat(door.port, headers={"X-Script": script})
        assert (answer.status, len(tls_upstream.seen(script))) == (200, 2)
        asked_about = 2
        assert tls_upstream.stats()["accepts"] - before - asked_about <= 2
