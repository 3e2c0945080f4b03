"""The stock adapter of requests in place of ours: what tests without a server need."""

from __future__ import annotations

import math

import pytest
import requests
import responses
from requests.adapters import HTTPAdapter

from argoproxy.errors import UpstreamUnreachable
from argoproxy.protocol.routing.timeouts import Timeouts
from argoproxy.transport.reply import HttpReply
from argoproxy.transport.transport import Transport
from argoproxy.transport.watch import Poller, Watch
from argoproxy.upstreams import UpstreamRequest

URL = "http://up.test/v1/models"


def open_reply() -> HttpReply:
    transport = Transport(1, math.inf)
    transport.mount(HTTPAdapter())
    return transport.open(UpstreamRequest("GET", URL, ()), Timeouts(), Watch(None, Poller()))


@responses.activate
def test_a_reply_without_a_server_can_be_read() -> None:
    responses.get(URL, json={"data": []}, headers={"X-Seen": "yes"})
    reply = open_reply()
    assert (reply.status, reply.read()) == (200, b'{"data": []}')
    assert ("X-Seen", "yes") in reply.headers


@responses.activate
def test_a_failure_without_a_server_is_one_of_the_upstream() -> None:
    responses.get(URL, body=requests.ConnectionError("refused"))
    with pytest.raises(UpstreamUnreachable):
        open_reply()
