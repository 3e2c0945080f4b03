"""Heartbeats before the upstream answers: when they are sent, and what the first one sends with it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from argoproxy.errors import ClientGone
from argoproxy.pipeline.early_start import EarlyStart
from argoproxy.pipeline.shared.response_meter import ResponseMeter
from argoproxy.protocol.stream.sse import HEARTBEAT
from argoproxy.transport.watch import Poller, Watch

HEAD = [("Content-Type", "text/event-stream")]


class Server:
    """A server's start_response, and what was sent through it."""

    def __init__(self) -> None:
        self.sent: list[object] = []
        self.now = 100.0

    def start_response(self, status: str, headers: list[tuple[str, str]]) -> Callable[[bytes], object]:
        self.sent += [status, headers]
        return self.sent.append

    def clock(self) -> float:
        return self.now


def start(server: Server) -> tuple[EarlyStart, Watch, ResponseMeter]:
    watch = Watch(None, Poller())
    meter = ResponseMeter(watch, server.clock, 5)
    return EarlyStart(server.start_response, HEAD, watch, meter), watch, meter


def test_the_head_goes_out_with_the_first_heartbeat_and_once() -> None:
    server = Server()
    early, watch, meter = start(server)
    early.enable()
    assert watch.pulse
    assert watch.pulse() == 5
    assert server.sent == []
    for _ in range(2):
        server.now += 5
        assert watch.pulse() == 5
    assert early.has_started
    assert server.sent == ["200 OK", HEAD, HEARTBEAT, HEARTBEAT]
    assert (meter.bytes_sent, meter.first_byte_s) == (2 * len(HEARTBEAT), 5)


def test_no_heartbeat_is_sent_unless_enabled() -> None:
    early, watch, _ = start(Server())
    assert watch.pulse is None
    early.enable()
    early.disable()
    assert watch.pulse is None


def test_a_client_that_left_ends_the_wait() -> None:
    class Gone(Server):
        def start_response(self, status: str, headers: list[tuple[str, str]]) -> Callable[[bytes], object]:
            raise BrokenPipeError

    server = Gone()
    early, watch, _ = start(server)
    early.enable()
    server.now += 5
    assert watch.pulse
    with pytest.raises(ClientGone):
        watch.pulse()
    assert not early.has_started


def test_headers_that_become_known_go_out_with_the_head() -> None:
    server = Server()
    early, watch, _ = start(server)
    early.add_headers((("x-ratelimit-limit-requests", "60"),))
    early.enable()
    assert watch.pulse
    server.now += 5
    watch.pulse()
    assert server.sent[:2] == ["200 OK", [*HEAD, ("x-ratelimit-limit-requests", "60")]]
