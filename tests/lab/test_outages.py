"""An upstream that is away for a while, or starts anew in the middle of everything."""

from __future__ import annotations

import threading
import time
from collections import Counter
from contextlib import ExitStack

import pytest

from tests.support.client import STREAM_BODY, Answer, Client, chat
from tests.support.fixtures import Serve
from tests.support.processes import Upstream, eventually
from tests.support.scripts import CHUNKED, chunked, event

CLIENTS = 6
#: What a request that met a broken upstream is told.
TOLD = {"upstream_unreachable", "upstream_disconnected", "upstream_reply_cut_short"}


def what_it_says(answer: Answer) -> str:
    """Give "" for a whole answer, else the code of its failure."""
    if answer.status != 200:
        return str(answer.error["code"])
    errors = [chunk["error"]["code"] for chunk in answer.chunks if "error" in chunk]
    assert answer.whole
    assert bool(errors) != answer.body.endswith(b"data: [DONE]\n\n")
    return "".join(errors)


@pytest.mark.parametrize("worker_class", ["gthread", "gevent"])
def test_an_outage_is_told_and_passes(start: Serve, worker_class: str) -> None:
    upstream = Upstream()
    proxy = start(TARGET_BASE_URL=upstream.url, WORKER_CLASS=worker_class)
    told: list[tuple[float, str]] = []
    enough = threading.Event()

    def client() -> None:
        while not enough.wait(0.01):
            begun = time.monotonic()
            told.append((begun, what_it_says(chat(proxy.port, stream=True))))

    clients = [threading.Thread(target=client) for _ in range(CLIENTS)]
    for thread in clients:
        thread.start()
    eventually(lambda: len(told) > 50)
    before = len(told)
    upstream.stop()
    down_at = time.monotonic()
    eventually(lambda: Counter(code for _, code in told[before:])["upstream_unreachable"] > 10)
    during = len(told)
    again = Upstream(port=upstream.port)
    up_at = time.monotonic()
    eventually(lambda: sum(at > up_at for at, _ in told) > 50)
    enough.set()
    for thread in clients:
        thread.join()
    assert {code for _, code in told[:before]} == {""}
    assert {code for at, code in told[before:during] if at > down_at} <= TOLD
    assert {code for at, code in told if at > up_at} == {""}
    assert {line["ending"] for line in proxy.lines()} <= {"complete", "upstream_error", "upstream_broken"}
    again.stop()


@pytest.mark.parametrize("worker_class", ["gthread", "gevent"])
def test_a_restart_cuts_what_was_running_and_nothing_else(start: Serve, worker_class: str) -> None:
    upstream = Upstream()
    proxy = start(TARGET_BASE_URL=upstream.url, WORKER_CLASS=worker_class)
    script = upstream.script(["send", CHUNKED + chunked(event("a"))], ["hold"])
    with ExitStack() as stack:
        clients = [stack.enter_context(Client(proxy.port)) for _ in range(CLIENTS)]
        for client in clients:
            client.send("POST", "/v1/chat/completions", STREAM_BODY, X_Script=script)
        for client in clients:
            client.until(b'"a"')
        before = proxy.descriptors()
        upstream.stop()
        again = Upstream(port=upstream.port)
        answers = [client.answer() for client in clients]
    assert {answer.text for answer in answers} == {"a"}
    assert {what_it_says(answer) for answer in answers} <= TOLD
    assert [chat(proxy.port).status for _ in range(20)] == [200] * 20
    eventually(lambda: proxy.descriptors() < before)
    again.stop()
