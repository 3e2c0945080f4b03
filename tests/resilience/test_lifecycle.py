"""Circuits and counts over the life of a proxy: workers of all kinds, killed ones, reloads, probes that die."""

from __future__ import annotations

import os
import signal

import pytest

from tests.resilience.farm import WORKERS, Farm, attempts, reload, speaker, state
from tests.support.client import STREAM_BODY, Client, chat
from tests.support.processes import eventually


@pytest.mark.parametrize("worker_class", ["gthread", "gevent", "sync"])
def test_every_kind_of_worker_shares_circuits(farm: Farm, worker_class: str) -> None:
    one = farm.upstream("one")
    farm.write("one", "two", breaker={"open": "60s"})
    proxy = farm.serve({"WORKER_CLASS": worker_class})
    one.switch("refused")
    answers = [chat(proxy.port, stream=True) for _ in range(8 * WORKERS)]
    assert {speaker(answer) for answer in answers} == {"two"}
    assert 1 <= sum(attempts(answer) - 1 for answer in answers) <= 3
    one.switch("ok")
    eventually(lambda: speaker(chat(proxy.port, stream=True)) == "one")


def test_a_reload_keeps_an_open_circuit(farm: Farm) -> None:
    one = farm.upstream("one")
    file = farm.write("one", "two", breaker={"open": "300s"})
    proxy = farm.serve()
    one.switch("status", status=500)
    assert {speaker(chat(proxy.port)) for _ in range(6)} == {"two"}
    wasted = len(one.chats())
    reload(proxy, file)
    assert {speaker(chat(proxy.port)) for _ in range(6)} == {"two"}
    assert len(one.chats()) == wasted
    one.switch("ok")
    eventually(lambda: speaker(chat(proxy.port)) == "one")


def test_a_reload_with_another_address_begins_anew(farm: Farm) -> None:
    """The old state said nothing about the server that has the name now."""
    one = farm.upstream("one")
    farm.write("one", "two", breaker={"open": "300s"})
    proxy = farm.serve()
    one.switch("refused")
    assert {speaker(chat(proxy.port)) for _ in range(6)} == {"two"}
    moved = {"one": {"base_url": farm.upstream("three").url}}
    reload(proxy, farm.write("one", "two", options=moved, breaker={"open": "300s"}))
    eventually(lambda: speaker(chat(proxy.port)) == "three")


def test_a_cooldown_outlives_all_workers(farm: Farm) -> None:
    one = farm.upstream("one")
    farm.write("one", "two")
    proxy = farm.serve()
    one.switch("status", status=429, headers=[["Retry-After", "3000"]])
    assert speaker(chat(proxy.port)) == "two"
    one.switch("ok")
    for _ in range(WORKERS):
        proxy.replace_worker()
    assert {speaker(chat(proxy.port)) for _ in range(WORKERS)} == {"two"}
    assert len(one.chats()) == 1


def test_a_probe_whose_worker_is_killed_is_made_again(farm: Farm) -> None:
    """The request that finds out whether an upstream is back may die with its worker: its turn is taken over."""
    one = farm.upstream("one")
    farm.write("one", "two", breaker={"open": "1s"})
    proxy = farm.serve()
    one.switch("status", status=500)
    assert {speaker(chat(proxy.port)) for _ in range(6)} == {"two"}
    one.switch("held")
    before = len(one.chats())

    def is_probing() -> bool:
        client = Client(proxy.port)
        client.send("POST", "/v1/chat/completions", STREAM_BODY)
        clients.append(client)
        return len(one.chats()) > before

    clients: list[Client] = []
    eventually(is_probing)
    for pid in proxy.workers():
        os.kill(pid, signal.SIGKILL)
    for client in clients:
        client.leave()
    one.switch("ok")
    eventually(lambda: len(proxy.workers()) == WORKERS)
    eventually(lambda: speaker(chat(proxy.port)) == "one")
    assert speaker(chat(proxy.port)) == "one"


@pytest.mark.parametrize("kind", ["held", "silent", "refused"])
def test_killed_workers_leave_no_counts(farm: Farm, kind: str) -> None:
    one = farm.upstream("one")
    farm.write("one", "two")
    proxy = farm.serve()
    one.switch(kind)
    clients = [Client(proxy.port) for _ in range(12)]
    for client in clients:
        client.send("POST", "/v1/chat/completions", STREAM_BODY)
    if kind != "refused":
        eventually(lambda: one.active() == len(clients))
        eventually(lambda: state(proxy, "one")["open_streams"] == len(clients))
    killed = proxy.workers()
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: not set(killed) & set(proxy.workers()) and len(proxy.workers()) == WORKERS)
    eventually(lambda: state(proxy, "one")["open_streams"] == 0)
    for client in clients:
        client.leave()
    one.switch("ok")
    eventually(lambda: speaker(chat(proxy.port)) == "one")


def test_one_worker_alone_needs_no_others(farm: Farm) -> None:
    one = farm.upstream("one")
    farm.write("one", "two")
    proxy = farm.serve({"WORKERS": "1"})
    one.switch("refused")
    assert {speaker(chat(proxy.port)) for _ in range(8)} == {"two"}
    one.switch("ok")
    eventually(lambda: speaker(chat(proxy.port)) == "one")
