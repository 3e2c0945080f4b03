"""What an exchange held is let go when it ends: no garbage collection is waited for."""

from __future__ import annotations

import gc

import pytest

from argoproxy.protocol.framing import Chunked
from argoproxy.protocol.timeouts import Timeouts
from argoproxy.transport import Transport
from argoproxy.upstreams import UpstreamRequest
from argoproxy.watch import Poller, Watch
from argoproxy.wire.waiting import Exchange
from tests.lab.scripts import CHUNKED, END, Step, chunked, reply
from tests.wire.processes import Upstream


@pytest.mark.parametrize("steps", [reply(body=b"whole"), ["send", CHUNKED + chunked("whole") + END]])
def test_an_exchange_leaves_no_garbage(upstream: Upstream, steps: Step) -> None:
    url = f"{upstream.url}/s/{upstream.script(steps)}"
    transport, watch = Transport(1, 15.0), Watch(None, Poller())
    gc.disable()
    try:
        came = transport.open(UpstreamRequest("GET", url, ()), Timeouts(), watch)
        assert came.read() == b"whole"
        came.close()
        del came
        transport.close()
        assert not [one for one in gc.get_objects() if isinstance(one, Exchange | Chunked)]
    finally:
        gc.enable()
        watch.close()
