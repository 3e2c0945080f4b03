"""What an exchange held is let go when it ends: no garbage collection is waited for."""

from __future__ import annotations

import gc
from contextlib import suppress

import pytest

from argoproxy.errors import ProxyError
from argoproxy.protocol.routing.timeouts import Timeouts
from argoproxy.transport.exchange import Exchange
from argoproxy.transport.framing import ChunkedReader
from argoproxy.transport.transport import Transport
from argoproxy.transport.watch import Poller, Watch
from argoproxy.upstreams import UpstreamRequest
from tests.support.processes import Upstream, eventually
from tests.support.scripts import CHUNKED, END, Step, chunked, reply

FAILURES = {
    "refused": "http://127.0.0.1:1",
    "no such name": "http://nobody.invalid",
    "a refusing name": "http://localhost:1",
    "no TLS": "https://localhost:{port}",
    "cut": "http://localhost:{port}/s/{cut}",
}


def exchanges() -> int:
    return sum(isinstance(one, Exchange) for one in gc.get_objects())


@pytest.mark.parametrize("url", FAILURES.values(), ids=FAILURES)
def test_a_failure_leaves_no_garbage_either(upstream: Upstream, url: str) -> None:
    asked = url.format(port=upstream.port, cut=upstream.script(["close"]))
    transport, watch = Transport(1, 15.0), Watch(None, Poller())
    gc.collect()
    gc.disable()
    before = exchanges()
    try:
        with suppress(ProxyError):
            transport.open(UpstreamRequest("GET", asked, ()), Timeouts(), watch)
        transport.close()
        eventually(lambda: exchanges() <= before)
    finally:
        gc.enable()
        watch.close()


@pytest.mark.parametrize("steps", [reply(body=b"whole"), ["send", CHUNKED + chunked("whole") + END]])
def test_an_exchange_leaves_no_garbage(upstream: Upstream, steps: Step) -> None:
    url = f"{upstream.url}/s/{upstream.script(steps)}"
    transport, watch = Transport(1, 15.0), Watch(None, Poller())
    gc.collect()
    gc.disable()
    try:
        came = transport.open(UpstreamRequest("GET", url, ()), Timeouts(), watch)
        assert came.read() == b"whole"
        came.close()
        del came
        transport.close()
        assert not [one for one in gc.get_objects() if isinstance(one, Exchange | ChunkedReader)]
    finally:
        gc.enable()
        watch.close()
