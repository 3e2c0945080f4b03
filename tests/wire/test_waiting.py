from __future__ import annotations

import socket
import time

import pytest

from argoproxy.errors import UpstreamTimeout
from argoproxy.protocol.routing.timeouts import Timeouts
from argoproxy.transport.connect import Resolver
from argoproxy.transport.exchange import Exchange
from argoproxy.transport.watch import Poller, Watch

IDLE_S = 1.0


@pytest.mark.parametrize("phase", ["head", "body"])
def test_the_total_time_runs_out_while_bytes_are_always_there(phase: str) -> None:
    exchange = Exchange(Watch(None, Poller()), Timeouts(total_s=0.05), "http://up/", Resolver().lookup)
    if phase == "head":
        exchange.expect_head()
    exchange.record_progress()
    time.sleep(0.06)
    with pytest.raises(UpstreamTimeout) as caught:
        exchange.record_progress()
    assert caught.value.code == "total_timeout"


def test_silence_is_timed_from_the_last_byte_on() -> None:
    watch = Watch(None, Poller())
    exchange = Exchange(watch, Timeouts(idle_s=IDLE_S), "http://up/", Resolver().lookup)
    quiet, other = socket.socketpair()
    with quiet, other:
        assert exchange.wait(quiet, tick_s=IDLE_S / 2) == 0
        exchange.record_progress()
        begun = time.monotonic()
        with pytest.raises(UpstreamTimeout) as caught:
            exchange.wait(quiet)
    assert caught.value.code == "idle_timeout"
    assert time.monotonic() - begun > 0.9 * IDLE_S
    watch.close()
