from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from argoproxy.errors import UpstreamTimeout
from argoproxy.protocol.routing.timeouts import Timeouts
from argoproxy.transport.connect import Resolver
from argoproxy.transport.exchange import Exchange
from argoproxy.transport.watch import READABLE, WRITABLE, Poller, Watch

LIMIT_S = 0.01


@pytest.fixture
def late() -> Iterator[Exchange]:
    """An exchange whose time to connect is over."""
    with closing(Watch(None, Poller())) as watch:
        exchange = Exchange(watch, Timeouts(connect_s=LIMIT_S), "http://localhost/", Resolver().lookup)
        exchange.expect_connection()
        assert exchange.left_s > 0
        time.sleep(2 * LIMIT_S)
        yield exchange


@pytest.fixture
def connection() -> Iterator[socket.socket]:
    one, other = socket.socketpair()
    with one, other:
        yield one


def test_what_has_happened_counts_also_if_it_is_looked_at_too_late(late: Exchange, connection: socket.socket) -> None:
    assert late.wait(connection, WRITABLE) == WRITABLE
    with pytest.raises(UpstreamTimeout):  # once: there may always be something
        late.wait(connection, WRITABLE)


def test_what_has_not_happened_in_time_is_an_error(late: Exchange, connection: socket.socket) -> None:
    with pytest.raises(UpstreamTimeout) as caught:
        late.wait(connection, READABLE)
    assert caught.value.code == "connect_timeout"
