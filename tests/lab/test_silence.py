"""A hundred streams that say nothing for long: alive, and next to free. SILENCE_S=120 for the two minutes."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.client import STREAM_BODY, Answer, Client, chat
from tests.support.fixtures import Serve
from tests.support.processes import PATIENCE_S, UNCOVERED, Upstream, eventually
from tests.support.scripts import CHUNKED, DONE, bodies, chunked, event

SILENCE_S = float(os.environ.get("SILENCE_S", "6"))
STREAMS = 100
#: Chats whose CPU is the yardstick: a second of silence, with its heartbeat, costs less than one of them.
CHATS = 200


def cpu_s(pid: int) -> float:
    """Give the CPU a process has had, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.parametrize("worker_class", ["gthread", "gevent"])
def test_a_silent_stream_lives_and_costs_nothing(upstream: Upstream, start: Serve, worker_class: str) -> None:
    proxy = start(TARGET_BASE_URL=upstream.url, WORKER_CLASS=worker_class, HEARTBEAT="1", **UNCOVERED)
    assert chat(proxy.port).status == 200
    (pid,) = proxy.workers()
    used = cpu_s(pid)
    for _ in range(CHATS):
        assert chat(proxy.port).status == 200
    of_a_chat_s = (cpu_s(pid) - used) / CHATS
    silence: list[Any] = [["send", CHUNKED + chunked(event("a"))], ["await"]]
    script = upstream.script(*silence, ["send", bodies([event("b", "stop"), DONE])])
    answers: list[Answer] = []

    def listen() -> None:
        with Client(proxy.port, SILENCE_S + PATIENCE_S) as client:
            client.send("POST", "/v1/chat/completions", STREAM_BODY, X_Script=script)
            answers.append(client.answer())

    listeners = [threading.Thread(target=listen) for _ in range(STREAMS)]
    for thread in listeners:
        thread.start()
    eventually(lambda: upstream.count(script) == STREAMS)
    begun, used = time.monotonic(), cpu_s(pid)
    time.sleep(SILENCE_S)
    share = (cpu_s(pid) - used) / (time.monotonic() - begun) / STREAMS
    upstream.open(script, STREAMS)
    for thread in listeners:
        thread.join()
    print(f"{worker_class}: {share:.5%} of a core for each of {STREAMS} streams silent for {SILENCE_S:.0f} s", end="")
    print(f", where a chat takes {1000 * of_a_chat_s:.1f} ms of it")
    assert {answer.text for answer in answers} == {"ab"}
    assert min(answer.body.count(b": heartbeat") for answer in answers) >= 2
    assert share < of_a_chat_s
