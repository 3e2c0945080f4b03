"""Requests that Gunicorn can't parse are refused in OpenAI's shape, and quoted nowhere."""

from __future__ import annotations

import pytest

from tests.support.client import Answer, Client
from tests.support.fixtures import Serve
from tests.support.processes import Proxy, Upstream, eventually

SECRET = "sk-of-a-client-0123456789"
REST = f"Host: x\r\nAuthorization: Bearer {SECRET}\r\n\r\n"
CHUNKED = "POST /v1/files HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: {}\r\n\r\n{}"

REQUESTS = {
    "no line": (f"GET / Authorization: Bearer {SECRET}\r\n\r\n", 400),
    "no method": (f"Bearer\x7f{SECRET} / HTTP/1.1\r\n{REST}", 400),
    "another version": (f"GET / HTTP/3.{SECRET}\r\n{REST}", 400),
    "a header without a colon": (f"GET / HTTP/1.1\r\nAuthorization Bearer {SECRET}\r\n\r\n", 400),
    "a header with a blank in its name": (f"GET / HTTP/1.1\r\nBearer {SECRET}: x\r\n\r\n", 400),
    "a folded header": (f"GET / HTTP/1.1\r\nAuthorization: Bearer\r\n {SECRET}\r\n\r\n", 400),
    "an unknown coding": (CHUNKED.format(SECRET, ""), 501),
    "an expectation": (f"GET / HTTP/1.1\r\nExpect: {SECRET}\r\n{REST}", 417),
    "a long line": (f"GET /{SECRET}{'x' * 9000} HTTP/1.1\r\n{REST}", 414),
}


@pytest.fixture(params=["gthread", "gevent", "sync"], scope="module")
def proxy(request: pytest.FixtureRequest, serve: Serve, upstream: Upstream) -> Proxy:
    return serve(TARGET_BASE_URL=upstream.url, WORKER_CLASS=request.param)


def sent(proxy: Proxy, data: str) -> Answer:
    with Client(proxy.port) as client:
        client.sock.sendall(data.encode("latin-1"))
        return client.answer()


@pytest.mark.parametrize("name", REQUESTS)
def test_it_is_refused_without_a_word_of_it(proxy: Proxy, name: str) -> None:
    data, status = REQUESTS[name]
    logged = len(proxy.coded("invalid_request"))
    answer = sent(proxy, data)
    assert answer.status == status
    assert answer.error["code"] == "malformed_request"
    assert answer.header("Connection") == "close"
    assert SECRET.encode() not in answer.body
    eventually(lambda: len(proxy.coded("invalid_request")) > logged)
    assert SECRET not in proxy.log()
