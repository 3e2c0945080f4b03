"""What an exchange held is let go when it ends: no garbage collection is waited for."""

from __future__ import annotations

import gc

from argoproxy.protocol.timeouts import Timeouts
from argoproxy.transport import Transport
from argoproxy.upstreams import UpstreamRequest
from argoproxy.watch import Poller, Watch
from argoproxy.wire.waiting import Exchange
from tests.wire.processes import Upstream


def test_an_exchange_leaves_no_garbage(upstream: Upstream) -> None:
    transport, watch = Transport(1, 15.0), Watch(None, Poller())
    gc.disable()
    try:
        reply = transport.open(UpstreamRequest("GET", f"{upstream.url}/v1/x", ()), Timeouts(), watch)
        assert reply.read()
        reply.close()
        del reply
        transport.close()
        assert not [one for one in gc.get_objects() if isinstance(one, Exchange)]
    finally:
        gc.enable()
        watch.close()
