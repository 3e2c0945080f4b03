"""A kept connection that its upstream has closed meanwhile: tried once more, where that is safe, and never else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.client import ask, chat
from tests.support.fixtures import Serve
from tests.support.processes import Proxy, Upstream
from tests.support.scripts import CHUNKED, DONE, bodies, chunked, completion, event, reply


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
    assert upstream.count(script) == 2


@pytest.mark.parametrize("size", [27, 900_000])
def test_a_small_body_that_is_passed_on_too(warm: Proxy, upstream: Upstream, size: int) -> None:
    script = upstream.script(["stale"], reply(body=b"{}"))
    assert ask(warm.port, "POST", "/v1/audits", b"x" * size, X_Script=script).body == b"{}"
    first, second = upstream.seen(script)
    assert (first["length"], first["sha256"]) == (size, second["sha256"])


def test_a_fresh_connection_is_tried_once(serve: Serve, upstream: Upstream, warm: Proxy) -> None:
    script = upstream.script(["close"])
    answer = chat(warm.port, headers={"X-Script": script})
    assert (answer.status, answer.error["code"]) == (502, "upstream_disconnected")
    assert upstream.count(script) == 2, "the kept one, then a fresh one"
    answer = chat(warm.port, headers={"X-Script": script})
    assert (answer.status, upstream.count(script)) == (502, 3), "none is kept now"


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
    assert upstream.count(script) == 1


NO_CONTENT = "HTTP/1.1 204 No Content\r\nContent-Type: application/json\r\n\r\n"
LATE = '{"error": "late'
WITHOUT_BODY = {
    "204": ("GET", NO_CONTENT),
    "204 in chunks": ("GET", "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n"),
    "204 and a part of a body": ("GET", "HTTP/1.1 204 No Content\r\n\r\n{"),
    "304": ("GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 40\r\n\r\n"),
    "a length of 0 and a body": ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n{"),
    "204 behind an interim reply": ("GET", "HTTP/1.1 103 Early\r\n\r\n" + NO_CONTENT),
    "HEAD": ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 40\r\n\r\n"),
}


@pytest.mark.parametrize(("method", "head"), WITHOUT_BODY.values(), ids=WITHOUT_BODY.keys())
def test_a_connection_is_not_kept_where_a_body_may_follow_that_is_not_to_be(
    warm: Proxy, upstream: Upstream, method: str, head: str
) -> None:
    """A sloppy upstream sends it later: it would be read as the reply to the next request."""
    script = upstream.script(["send", head], ["asked"], ["send", "HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n"])
    assert ask(warm.port, method, "/v1/files", X_Script=script).status in (200, 204, 304)
    assert chat(warm.port).status == 200
    assert upstream.left(script), "the connection was closed, and the next request took another"


@pytest.mark.parametrize("ending", ["close", "rst"])
def test_bytes_that_are_no_reply_make_a_connection_stale_if_it_ends(
    warm: Proxy, upstream: Upstream, ending: str
) -> None:
    """They were sent behind the reply before, too late to be seen before the connection was used again."""
    script = upstream.script(reply(body=b"{}"), ["asked"], ["send", LATE], ["read"], [ending])
    assert ask(warm.port, "GET", "/v1/files", X_Script=script).body == b"{}"
    assert chat(warm.port).status == 200


def test_bytes_that_are_no_reply_on_a_connection_that_stays_open_are_an_error(warm: Proxy, upstream: Upstream) -> None:
    """The upstream may be serving the request."""
    script = upstream.script(reply(body=b"{}"), ["asked"], ["send", LATE + "\n"], ["hold"])
    assert ask(warm.port, "GET", "/v1/files", X_Script=script).body == b"{}"
    assert chat(warm.port).status == 502
    assert chat(warm.port).status == 200


def test_an_upload_that_cannot_be_sent_again_is_not(warm: Proxy, upstream: Upstream) -> None:
    script = upstream.script(["stale"], reply(body=b"{}"))
    sent = b"5\r\nhello\r\n0\r\n\r\n"
    answer = ask(warm.port, "POST", "/v1/files", sent, X_Script=script, Transfer_Encoding="chunked")
    assert (answer.status, upstream.count(script)) == (502, 1)
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
        assert (answer.status, tls_upstream.count(script)) == (200, 2)
        asked_about = 2
        assert tls_upstream.stats()["accepts"] - before - asked_about <= 2
