"""A stop that costs nobody anything: who balances load is told first, streams run to their end."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support.client import STREAM_BODY, Answer, Client, ask, chat
from tests.support.fixtures import Serve
from tests.support.processes import PATIENCE_S, Proxy, Upstream, eventually, is_listening
from tests.support.scripts import CHUNKED, DONE, bodies, chunked, event

STREAMS = 100
#: Time enough to ask a few things before nobody is let in any more.
DELAY_S = 4


@pytest.mark.parametrize("worker_class", ["gthread", "gevent"])
def test_rollout_cuts_streams(upstream: Upstream, tmp_path: Path, worker_class: str) -> None:
    """A stop loses nothing: who is being served gets the rest, and until the delay is over newcomers are let in."""
    settings = {
        "TARGET_BASE_URL": upstream.url,
        "WORKER_CLASS": worker_class,
        "WORKERS": "2",
        "DRAIN_DELAY": str(DELAY_S),
    }
    proxy = Proxy(tmp_path, settings)
    words = [event(f"{word} ") for word in range(30)]
    begun = ["send", CHUNKED + "".join(map(chunked, words[:10]))]
    script = upstream.script(begun, ["await"], ["send", bodies([*words[10:], event("", "stop"), DONE])])
    answers: list[Answer] = []
    work = [
        threading.Thread(target=lambda: answers.append(chat(proxy.port, stream=True, headers={"X-Script": script})))
        for _ in range(STREAMS)
    ]
    for thread in work:
        thread.start()
    eventually(lambda: upstream.count(script) == STREAMS)
    assert [ask(proxy.port, "GET", path).status for path in ("/health", "/health/ready")] == [200, 200]
    asked_at = time.monotonic()
    proxy.process.send_signal(signal.SIGTERM)
    drained = eventually(lambda: (found := ask(proxy.port, "GET", "/health")).status == 503 and found)
    assert drained.json["status"] == "draining"
    ready = ask(proxy.port, "GET", "/health/ready")
    assert (ready.status, ready.json["status"]) == (503, "draining")
    assert ready.json["reason"]
    assert ask(proxy.port, "GET", "/health/live").status == 200
    assert chat(proxy.port).status == 200, "until the delay is over everybody is served"
    eventually(lambda: not is_listening(proxy.port))
    assert time.monotonic() - asked_at > 0.9 * DELAY_S
    assert proxy.process.poll() is None
    upstream.open(script, STREAMS)
    for thread in work:
        thread.join()
    assert [answer.text for answer in answers] == ["".join(f"{word} " for word in range(30))] * STREAMS
    assert all(answer.body.endswith(DONE.encode()) for answer in answers)
    assert proxy.process.wait(PATIENCE_S) == 0


def test_a_second_signal_stops_at_once(upstream: Upstream, tmp_path: Path) -> None:
    proxy = Proxy(tmp_path, {"TARGET_BASE_URL": upstream.url, "WORKERS": "1", "DRAIN_DELAY": "600"})
    assert chat(proxy.port).status == 200
    proxy.process.send_signal(signal.SIGTERM)
    eventually(lambda: ask(proxy.port, "GET", "/health").status == 503)
    assert proxy.stop() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["TERM", "INT"])
@pytest.mark.parametrize("worker_class", ["gthread", "gevent", "sync"])
def test_what_does_not_end_in_time_is_told_so(
    upstream: Upstream, start: Serve, tmp_path: Path, worker_class: str, number: int
) -> None:
    graceful_s = "10" if number == signal.SIGTERM else "600"
    settings = {"WORKER_CLASS": worker_class, "WORKERS": "2", "OUTPUT_PATH": str(tmp_path / "journal")}
    proxy = start(TARGET_BASE_URL=upstream.url, GRACEFUL_TIMEOUT=graceful_s, **settings)
    begun = upstream.script(["send", CHUNKED + chunked(event("Hi"))], ["hold"])
    silent = upstream.script(["hold"])
    answers: dict[str, Answer] = {}
    clients = {script: Client(proxy.port) for script in (begun, silent)}
    for script, client in clients.items():
        client.send("POST", "/v1/chat/completions", STREAM_BODY, X_Script=script)
    clients[begun].until(b'"Hi"')
    eventually(lambda: upstream.seen(silent))
    proxy.process.send_signal(number)
    for script, client in clients.items():
        with client:
            answers[script] = client.answer()
    assert proxy.process.wait(PATIENCE_S) == 0
    # One that still boots on a busy machine may be ended by SIGTERM.
    assert "was sent SIGKILL" not in proxy.log(), "no worker is killed"
    assert (answers[begun].text, answers[begun].chunks[-1]["error"]["code"]) == ("Hi", "proxy_stopping")
    assert answers[begun].whole
    assert (answers[silent].status, answers[silent].error["code"]) == (503, "proxy_stopping")
    for answer in answers.values():
        line = proxy.line(answer.id)
        assert (line["ending"], line["code"]) == ("internal", "proxy_stopping")
    entries = (tmp_path / "journal" / "client_interaction.jsonl").read_text().splitlines()
    assert [json.loads(entry)["ending"] for entry in entries] == ["internal"] * 2


@pytest.mark.parametrize("worker_class", ["gthread", "gevent"])
def test_a_killed_worker_costs_its_own_streams_only(upstream: Upstream, start: Serve, worker_class: str) -> None:
    proxy = start(TARGET_BASE_URL=upstream.url, WORKER_CLASS=worker_class, WORKERS="2")
    eventually(lambda: len(proxy.workers()) == 2)  # the first one listens before the second is there
    words = [event("word ")] * 20
    begun = ["send", CHUNKED + "".join(map(chunked, words[:5]))]
    script = upstream.script(begun, ["await"], ["send", bodies([*words[5:], event("", "stop"), DONE])])
    with ExitStack() as stack:
        clients = [stack.enter_context(Client(proxy.port)) for _ in range(40)]
        for client in clients:
            client.send("POST", "/v1/chat/completions", STREAM_BODY, X_Script=script)
        for client in clients:
            client.until(b"word ", 5)
        least_used = min(proxy.workers(), key=lambda pid: len(os.listdir(f"/proc/{pid}/fd")))
        os.kill(least_used, signal.SIGKILL)
        eventually(lambda: least_used not in proxy.workers())
        upstream.open(script, 40)
        answers = [client.answer() for client in clients]
    whole = [answer for answer in answers if answer.whole]
    assert len(whole) >= 20, "those of the other one"
    assert all(answer.text == "word " * 20 and answer.body.endswith(DONE.encode()) for answer in whole)
    assert all(DONE.encode() not in answer.body for answer in answers if not answer.whole)
    eventually(lambda: len(proxy.workers()) == 2)
    assert [chat(proxy.port).status for _ in range(10)] == [200] * 10


@pytest.mark.parametrize("worker_class", ["gthread", "gevent"])
def test_no_time_out_of_workers_ends_a_healthy_stream(upstream: Upstream, start: Serve, worker_class: str) -> None:
    proxy = start(TARGET_BASE_URL=upstream.url, WORKER_CLASS=worker_class, GUNICORN_CMD_ARGS="--timeout 6")
    assert chat(proxy.port).status == 200
    (pid,) = proxy.workers()
    silence: list[Any] = [["send", CHUNKED + chunked(event("a"))], ["sleep", 10]]
    script = upstream.script(*silence, ["send", bodies([event("b", "stop"), DONE])])
    assert chat(proxy.port, stream=True, headers={"X-Script": script}).text == "ab"
    assert proxy.workers() == [pid]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT], ids=["TERM", "INT", "QUIT"])
@pytest.mark.parametrize("worker_class", ["gthread", "gevent", "sync"])
def test_who_has_nothing_to_do_stops_quietly(upstream: Upstream, start: Serve, worker_class: str, number: int) -> None:
    proxy = start(TARGET_BASE_URL=upstream.url, WORKER_CLASS=worker_class, GRACEFUL_TIMEOUT="600")
    assert chat(proxy.port).status == 200
    proxy.process.send_signal(number)
    assert proxy.process.wait(PATIENCE_S) == 0
    assert "was sent SIGKILL" not in proxy.log()
    assert "Traceback" not in proxy.log()
