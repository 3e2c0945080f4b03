"""Clients that send their next request as soon as they have an answer."""

from __future__ import annotations

import threading

import pytest

from tests.support.client import CHAT_BODY, Client, chat
from tests.support.fixtures import Serve
from tests.support.processes import Upstream

GET = b"GET /v1/models HTTP/1.1\r\nHost: door\r\n\r\n"
POST = b"POST /v1/chat/completions HTTP/1.1\r\nHost: door\r\nContent-Length: %d\r\n\r\n" % len(CHAT_BODY) + CHAT_BODY
CHUNKS = b"POST /v1/chat/completions HTTP/1.1\r\nHost: door\r\nTransfer-Encoding: chunked\r\n\r\n"
CHUNKED = CHUNKS + b"%x\r\n%b\r\n0\r\n\r\n" % (len(CHAT_BODY), CHAT_BODY)
QUICK = 5
WORKER_CLASSES = ("gthread", "gevent")


def ask_quickly(client: Client) -> None:
    """Send requests until a thread waits for the next one."""
    for _ in range(QUICK):
        client.sock.sendall(POST)
        assert client.answer().status == 200


@pytest.mark.parametrize("worker_class", WORKER_CLASSES)
def test_whatever_follows_quick_requests_is_served(serve: Serve, upstream: Upstream, worker_class: str) -> None:
    door = serve(TARGET_BASE_URL=upstream.url, WORKER_CLASS=worker_class)
    followers = {
        "pipelined": (GET + POST + GET, 3),
        "chunked": (CHUNKED, 1),
        "chunked, then another": (CHUNKED + GET, 2),
        "a probe": (b"GET /health/live HTTP/1.1\r\nHost: door\r\n\r\n", 1),
        "an empty line first": (b"\r\n" + GET, 1),
    }
    with Client(door.port) as client:
        for name, (data, count) in followers.items():
            ask_quickly(client)
            client.sock.sendall(data)
            assert [client.answer().status for _ in range(count)] == [200] * count, name


@pytest.mark.parametrize("worker_class", WORKER_CLASSES)
def test_a_request_cut_anywhere_after_quick_ones_is_served(serve: Serve, upstream: Upstream, worker_class: str) -> None:
    door = serve(TARGET_BASE_URL=upstream.url, WORKER_CLASS=worker_class)
    with Client(door.port) as client:
        for cut in range(1, len(POST), 9):
            ask_quickly(client)
            client.sock.sendall(POST[:cut])
            client.sock.sendall(POST[cut:])
            assert client.answer().status == 200, cut


@pytest.mark.parametrize("worker_class", WORKER_CLASSES)
def test_a_malformed_request_after_quick_ones_is_refused(serve: Serve, upstream: Upstream, worker_class: str) -> None:
    door = serve(TARGET_BASE_URL=upstream.url, WORKER_CLASS=worker_class)
    with Client(door.port) as client:
        ask_quickly(client)
        client.sock.sendall(b"GET /v1/models HTTP/1.1\r\nHost : door\r\n\r\n")
        assert client.answer().error["code"] == "malformed_request"


def test_a_client_that_leaves_after_quick_requests_costs_nothing(serve: Serve, upstream: Upstream) -> None:
    door = serve(TARGET_BASE_URL=upstream.url, THREADS="2")
    for _ in range(QUICK):
        with Client(door.port) as client:
            ask_quickly(client)
    assert chat(door.port).status == 200
    assert "Traceback" not in door.log()


def test_more_quick_clients_than_threads_are_all_served(serve: Serve, upstream: Upstream) -> None:
    door = serve(TARGET_BASE_URL=upstream.url, THREADS="3")
    done: list[int] = []

    def work(number: int) -> None:
        with Client(door.port) as client:
            for _ in range(QUICK):
                ask_quickly(client)
        done.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(done) == list(range(12))
