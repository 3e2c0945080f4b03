"""What real processes know together, and what is left of those that are killed."""

from __future__ import annotations

import fcntl
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.shared_state.state_worker import StateWorker
from tests.support.processes import ROOT, eventually

#: How long a circuit is open: long, or not at all, so that it is half-open at once.
LONG, NO_TIME = 1000.0, 1e-9

Start = Callable[..., StateWorker]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    workers: list[StateWorker] = []

    def start_worker(open_s: float = LONG) -> StateWorker:
        workers.append(StateWorker(tmp_path, open_s))
        return workers[-1]

    yield start_worker
    for worker in workers:
        worker.process.communicate()


def open_circuit(worker: StateWorker, kind: str = "server_error", model: str = "m") -> None:
    for _ in range(3):
        worker.call("force", model)
        worker.call("fail", kind)


def wait_for_streams(worker: StateWorker, count: int) -> None:
    eventually(lambda: worker.call("streams") == count)


def test_all_workers_see_each_other_s_streams_and_not_those_of_a_killed_one(start: Start) -> None:
    workers = [start() for _ in range(3)]
    for count, worker in enumerate(workers, 1):
        for _ in range(count):
            worker.call("begin", "m")
    for worker in workers:
        wait_for_streams(worker, 6)
    workers[2].kill()
    wait_for_streams(workers[0], 3)
    wait_for_streams(workers[1], 3)
    # Its slot is taken over, and its row begins at 0.
    successor = start()
    assert successor.slot == 2
    successor.call("begin", "m")
    wait_for_streams(workers[0], 4)


def test_the_counts_stay_exact_whatever_happens(start: Start) -> None:
    chance = random.Random(22)
    workers = {start(): 0 for _ in range(3)}
    for _ in range(120):
        worker = chance.choice(list(workers))
        action = chance.choice(["begin"] * 4 + ["succeed", "close", "fail", "kill"])
        if action == "begin":
            worker.call("begin", "m")
            workers[worker] += 1
        elif action == "kill" and len(workers) > 1:
            worker.kill()
            del workers[worker]
            workers[start()] = 0
        elif action != "kill" and workers[worker]:
            worker.call(action, *(["refused"] if action == "fail" else []))
            workers[worker] -= 1
    for worker in workers:
        wait_for_streams(worker, sum(workers.values()))


def test_a_failure_anywhere_counts_everywhere(start: Start) -> None:
    workers = [start() for _ in range(3)]
    for worker in workers:
        assert worker.call("begin", "m") is False
        worker.call("fail", "timeout")
    for worker in workers:
        assert worker.call("begin", "m") is None
        assert worker.call("begin", "other") is False
        shown = worker.call("describe")
        assert shown["models"]["m"]["state"] == "open"
        assert shown["models"]["m"]["reason"] == "timeout"
    assert not start().call("begin", "m")


def test_one_probe(start: Start) -> None:
    workers = [start(NO_TIME) for _ in range(4)]
    open_circuit(workers[0])
    for _ in range(5):
        for worker in workers:
            worker.send("begin", "m")
        leased = [worker for worker in workers if worker.receive()]
        assert len(leased) == 1
        # Neither a success nor a failure: the client left, and the next request is the probe.
        leased[0].call("close")


def test_the_lease_of_a_worker_that_is_killed_is_free_again(start: Start) -> None:
    first, second = start(NO_TIME), start(NO_TIME)
    open_circuit(first)
    assert first.call("begin", "m")
    assert not second.call("begin", "m")
    assert first.call("lease_active_probe")
    assert not second.call("lease_active_probe")
    first.kill()
    eventually(lambda: second.call("begin", "m"))
    eventually(lambda: second.call("lease_active_probe"))
    second.call("succeed")
    assert second.call("begin", "m") is False


def test_a_successor_does_not_keep_the_lease_of_its_slot(start: Start) -> None:
    first, second = start(NO_TIME), start(NO_TIME)
    open_circuit(first, "connect")
    assert first.call("begin", "m")
    first.kill()
    successor = start(NO_TIME)
    assert successor.slot == first.slot
    assert successor.call("begin", "m")
    assert not second.call("begin", "m")


def test_a_process_that_is_forked_counts_in_a_row_of_its_own(start: Start) -> None:
    first = start()
    first.call("begin", "m")
    assert first.call("fork") == 2
    wait_for_streams(first, 1)


def test_a_process_that_is_forked_and_finds_no_row_writes_to_no_other(start: Start, tmp_path: Path) -> None:
    first = start()
    first.call("begin", "m")
    shutil.rmtree(tmp_path)
    first.call("fork")
    assert first.call("streams") == 1


def test_greenlets_go_on_while_one_waits_for_the_lock(start: Start, tmp_path: Path) -> None:
    pytest.importorskip("gevent")
    start()
    script = """
from gevent import monkey
monkey.patch_all()
import sys, threading
from pathlib import Path
from argoproxy.protocol.resilience.failures import FailureKind
from tests.shared_state.state_worker import Commands
commands = Commands(Path(sys.argv[1]), 1000.0)
turns = []
def fail():
    for _ in range(20):
        commands.force("m")
        commands.fail("timeout")
    turns.append("end")
failing = [threading.Thread(target=fail) for _ in range(4)]
def turn():
    while "end" not in turns:
        turns.append("turn")
        threading.Event().wait(0.001)
beside = threading.Thread(target=turn)
for thread in (*failing, beside):
    thread.start()
for thread in (*failing, beside):
    thread.join()
print(turns.index("end"), turns.count("end"), commands.streams(), commands.begin("m"))
"""
    with (tmp_path / "shared.lock").open() as file:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX)
        command = [sys.executable, "-c", script, str(tmp_path)]
        ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    turns, ends, streams, begun = ended.stdout.split()
    assert int(turns) > 20
    assert (ends, streams, begun) == ("4", "0", "None")


def test_a_worker_that_is_stopped_with_the_lock_does_not_stop_the_others(start: Start, tmp_path: Path) -> None:
    first = start(NO_TIME)
    first.call("begin", "m")
    with (tmp_path / "shared.lock").open() as file:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX)
        for _ in range(3):
            first.call("begin", "m")
            first.call("fail", "server_error")
        # It is half-open, and the lease of the probe needs the lock.
        assert first.call("begin", "m") is None
    assert first.call("begin", "m")


def shown_models(worker: StateWorker) -> Any:
    return worker.call("describe")["models"]


def test_bad_client_key_opens_breaker(start: Start) -> None:
    """It must not: neither a client's key nor its prompt is the upstream's fault."""
    worker = start()
    for kind in ("credentials", "refused", "context_length", "content_policy") * 5:
        assert worker.call("begin", "m") is False
        worker.call("fail", kind)
    assert shown_models(worker) == {}
    assert worker.call("describe")["state"] == "closed"


def test_longer_cooldown_wins(start: Start) -> None:
    first, second = start(), start()
    for worker, seconds in ((first, 1000), (second, 2000), (first, 30)):
        worker.call("force", "m")
        worker.call("fail", "rate_limited", seconds)
    for worker in (first, second):
        assert 1900 < worker.call("due", "m") <= 2000
        assert shown_models(worker)["m"]["state"] == "cooling"
        assert worker.call("begin", "m") is None
        assert worker.call("begin", "other") is False
