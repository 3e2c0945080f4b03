"""Every ending there is, seen once in the log for its request."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.client import Answer, Client, ask, chat
from tests.support.fixtures import Serve
from tests.support.processes import Upstream, eventually
from tests.support.scripts import CHUNKED, DONE, bodies, chunked, completion, event, reply

CHAT = "/v1/chat/completions"


def asked(method: str, path: str, body: bytes | None = None) -> Callable[[int, str], Answer]:
    return lambda port, script: ask(port, method, path, body, X_Script=script)


def streamed(port: int, script: str) -> Answer:
    return chat(port, stream=True, headers={"X-Script": script})


def plain(port: int, script: str) -> Answer:
    return chat(port, headers={"X-Script": script})


DONE_STREAM = [["send", CHUNKED + bodies([event("a", "stop"), DONE])]]
CASES: dict[str, tuple[list[Any], Callable[[int, str], Answer], int, str, str]] = {
    "a stream": (DONE_STREAM, streamed, 200, "complete", ""),
    "a plain answer": ([reply(body=completion("a"))], plain, 200, "complete", ""),
    "HEAD": ([["send", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"]], asked("HEAD", "/v1/x"), 200, "complete", ""),
    "204": ([["send", "HTTP/1.1 204 No Content\r\n\r\n"]], asked("DELETE", "/v1/x"), 204, "complete", ""),
    "304": ([["send", "HTTP/1.1 304 Not Modified\r\n\r\n"]], asked("GET", "/v1/x"), 304, "complete", ""),
    "an empty body": ([reply()], asked("GET", "/v1/x"), 200, "complete", ""),
    "a redirect": ([reply("302 Found", b"", Location="/x")], asked("GET", "/v1/x"), 302, "complete", ""),
    "a forwarded error": ([reply("404 Not Found", b"no")], asked("GET", "/v1/x"), 404, "upstream_error", ""),
    "HEAD of an error": (
        [["send", "HTTP/1.1 404 No\r\nContent-Length: 5\r\n\r\n"]],
        asked("HEAD", "/v1/x"),
        404,
        "upstream_error",
        "",
    ),
    "a bad request": ([], asked("POST", CHAT, b"{"), 400, "refused", ""),
    "a hidden path": ([], asked("GET", "/v1/../x"), 404, "refused", "not_found"),
    "the upstream's refusal": ([reply("429 Slow down", b"{}")], plain, 429, "upstream_error", ""),
    "an error in a stream": (
        [
            ["send", CHUNKED + chunked(event("a"))],
            ["read"],
            ["send", bodies(['data: {"error": {"message": "x"}}\n\n'])],
        ],
        streamed,
        200,
        "upstream_error",
        "",
    ),
    "a silence": ([["hold"]], plain, 504, "upstream_timeout", "first_byte_timeout"),
    "a silence in a stream": (
        [["send", CHUNKED + chunked(event("a"))], ["hold"]],
        streamed,
        200,
        "upstream_timeout",
        "idle_timeout",
    ),
    "a cut before the head": ([["close"]], plain, 502, "upstream_broken", "upstream_disconnected"),
    "a cut stream": (
        [["send", CHUNKED + chunked(event("a"))], ["read"], ["close"]],
        streamed,
        200,
        "upstream_broken",
        "upstream_reply_cut_short",
    ),
    "a cut download": (
        [["send", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab"], ["close"]],
        asked("GET", "/v1/x"),
        200,
        "upstream_broken",
        "upstream_reply_cut_short",
    ),
}


@pytest.mark.parametrize(("steps", "request_it", "status", "ending", "code"), CASES.values(), ids=CASES.keys())
def test_each_ending_is_told_once(
    serve: Serve,
    upstream: Upstream,
    steps: list[Any],
    request_it: Callable[[int, str], Answer],
    status: int,
    ending: str,
    code: str,
) -> None:
    proxy = serve(TARGET_BASE_URL=upstream.url, API_REQUEST_TIMEOUT="5")
    answer = request_it(proxy.port, upstream.script(*steps))
    line = proxy.line(answer.id)
    assert answer.status == status
    assert (line["status"], line["ending"], line.get("code", "")) == (str(status), ending, code)
    assert float(line["total_ms"]) > 0
    assert line["bytes_sent"] == str(len(answer.body))


@pytest.mark.parametrize(
    ("steps", "mark"),
    [([["hold"]], b""), ([["send", CHUNKED + chunked(event("a"))], ["hold"]], b"content")],
    ids=["before the first byte", "in a stream"],
)
def test_a_client_that_left_is_told_once_and_is_no_error(
    serve: Serve, upstream: Upstream, steps: list[Any], mark: bytes
) -> None:
    proxy = serve(TARGET_BASE_URL=upstream.url)
    mine = f"leaving-{bool(mark)}"
    script = upstream.script(*steps)
    with Client(proxy.port) as client:
        body = json.dumps({"model": "m1", "messages": [{"role": "user", "content": "Hi"}], "stream": True}).encode()
        client.send("POST", CHAT, body, X_Script=script, X_Request_Id=mine)
        if mark:
            client.until(mark)
        else:
            eventually(lambda: upstream.seen(script))
    eventually(lambda: mine in proxy.log())
    assert upstream.left(script)
    (line,) = [line for line in proxy.lines() if line.get("client_request_id") == mine]
    assert (line["ending"], line["status"]) == ("client_gone", "200" if mark else "499")
    assert "ERROR" not in proxy.log()


def test_neither_bodies_nor_queries_nor_keys_are_logged(serve: Serve, upstream: Upstream) -> None:
    proxy = serve(TARGET_BASE_URL=upstream.url, DEBUG="true", TARGET_API_KEY="canary-key-of-ours")
    chat(
        proxy.port,
        "/v1/chat/completions?q=canary-query",
        headers={"Authorization": "Bearer canary-key"},
        secret="canary-body",
    )
    answer = ask(proxy.port, "POST", "/v1/x?q=canary-query", b"canary-body", X_Api_Key="canary-key")
    proxy.line(answer.id)
    assert "canary" not in proxy.log()
