"""The file of the counters in trouble: answers come as documented, none is lost, and what ran meanwhile is charged."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from argoproxy.stores.sqlite_file import SqliteFile
from tests.limits.limited import (
    TOKEN_NANOS,
    Json,
    Limited,
    StartLimited,
    answers_of,
    cost_of,
    read_ledger,
)
from tests.limits.metered import begin, document, end, held, usage_event
from tests.support.client import Answer, ask
from tests.support.processes import eventually, stopped
from tests.support.storm import is_state_unavailable

FILE = "usage.sqlite3"
#: Enough requests to meet every worker.
SPREAD = 24


@contextmanager
def locked(limited: Limited) -> Iterator[None]:
    """Have another process hold the lock."""
    with SqliteFile(limited.state / FILE, [], 60.0).exclusive():
        yield


@contextmanager
def full_disk(limited: Limited) -> Iterator[None]:
    """Let files of the workers have a page and no more, as on a full disk: a transaction needs several."""
    allowed = {pid: resource.prlimit(pid, resource.RLIMIT_FSIZE) for pid in limited.proxy.workers()}
    for pid, (_, hard) in allowed.items():
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (4096, hard))
    try:
        yield
    finally:
        for pid, limits in allowed.items():
            resource.prlimit(pid, resource.RLIMIT_FSIZE, limits)


@contextmanager
def damaged(limited: Limited) -> Iterator[None]:
    """Overwrite the file, and put a fresh one in its place at last, as an operator would."""
    file = limited.state / FILE
    file.write_bytes(os.urandom(file.stat().st_size))
    try:
        yield
    finally:
        for one in limited.state.glob(f"{FILE}*"):
            if not one.name.endswith(".lock"):
                one.unlink()


TROUBLES = {"locked": locked, "full_disk": full_disk, "damaged": damaged}


def is_refused_for_trouble(answer: Answer) -> bool:
    """Return whether an answer says that the counters can't be used; it says when to come again."""
    return is_state_unavailable(answer) and float(answer.header("Retry-After")) > 0


@pytest.fixture
def own(limited_with: StartLimited) -> Limited:
    """A proxy of which every worker has made its files for metrics: those grow no more."""
    limited = limited_with()
    key = limited.new_key("first")
    for _ in range(4):
        answers_of(limited.at_once(SPREAD, key))
    return limited


@pytest.mark.parametrize("trouble", TROUBLES)
def test_known_limits_hold_and_only_new_ones_are_refused(own: Limited, name: str, trouble: str) -> None:
    """Counters in memory go on; one that would have to be read from the file can't be used, unless reading works."""
    key, free = own.new_key(name, rpm=100_000, budget="100/total"), own.new_key(f"{name[:50]}-free")
    new, spent = own.new_key(f"{name[:50]}-new", rpm=100_000), own.new_key(f"{name[:50]}-spent", rpm=1)
    assert own.chat(key).status == 200
    own.settled(name, 1)
    assert [own.chat(spent).status for _ in range(2)] == [200, 429]
    workers = own.proxy.workers()
    for worker in workers:  # each has then the files of its metrics, which can't be begun on a full disk
        with stopped([other for other in workers if other != worker]):
            assert {own.chat(key).status, own.chat(free).status} == {200}
    with TROUBLES[trouble](own):
        answers = [own.chat_once(new) for _ in range(SPREAD)]
        if trouble != "full_disk":
            assert all(map(is_refused_for_trouble, answers)), {(answer.status, answer.body) for answer in answers}
        assert {own.chat_once(one).status for one in (key, free) for _ in range(SPREAD)} == {200}
        assert {own.chat_once(spent).status for _ in range(SPREAD)} == {429}
        for path in ("/health/live", "/metrics"):
            assert ask(own.proxy.port, "GET", path).status == 200
    assert {own.chat(one).status for one in (key, new) for _ in range(SPREAD)} == {200}
    assert sorted(own.proxy.workers()) == sorted(workers)


def test_allow(limited_with: StartLimited, name: str) -> None:
    """With `on_store_failure: allow` requests go on without limits."""
    limited = limited_with(on_store_failure="allow")
    key = limited.new_key(name, rpm=1, concurrent=1, budget="0.001/total")
    with locked(limited):
        assert {limited.chat(key).status for _ in range(SPREAD)} == {200}
    eventually(lambda: limited.chat(key).status == 429)


@pytest.mark.parametrize("trouble", ["locked", "full_disk"])
def test_settle_replay(own: Limited, name: str, trouble: str) -> None:
    """What ends while nothing can be written is written later, once."""
    key = own.new_key(name, concurrent=8, budget="100/total")
    script = own.script(*held(document(3, 100)))
    clients = own.at_once(8, key, script)
    own.upstream_has(script, 8)
    with TROUBLES[trouble](own):
        own.upstream.open(script, 8)
        for client in clients:
            assert client.answer().status == 200
            client.leave()

    def find_late() -> list[Json] | None:
        own.chat(key, max_tokens=7)
        late = [entry for entry in own.entries(name) if entry["completion_tokens"] == 100]
        return late if len(late) >= 8 else None

    late = eventually(find_late)
    assert len({entry["request_id"] for entry in late}) == len(late) == 8
    assert cost_of(late) == 8 * 103 * TOKEN_NANOS


def test_the_file_is_deleted_while_requests_run(own: Limited, name: str) -> None:
    """Counters begin anew in a new file; the requests that ran are settled there or lost, and no one waits."""
    key = own.new_key(name, concurrent=4, rpm=100_000, budget="100/total")
    script = own.script(*begin("a"), ["await"], *end(usage_event(3, 7)))
    with ExitStack() as stack:
        clients = [stack.enter_context(own.send(key, script, stream=True)) for _ in range(4)]
        for client in clients:
            client.until(b'"a"')
        for file in own.state.glob(f"{FILE}*"):
            file.unlink()
        eventually(lambda: {own.chat(key).status for _ in range(SPREAD)} == {200})
        own.upstream.open(script, 4)
        for client in clients:
            client.until(b"[DONE]")
    assert {own.chat(key).status for _ in range(SPREAD)} == {200}
    eventually(lambda: len(read_ledger(own.state)) >= SPREAD)


def test_a_log_line_for_each_change_and_no_more(own: Limited, name: str) -> None:
    key = own.new_key(name, rpm=100_000)
    before = own.proxy.log().count("\n")
    with locked(own):
        for _ in range(SPREAD):
            assert is_refused_for_trouble(own.chat_once(key))
    eventually(lambda: own.chat(key).status == 200)
    lines = own.proxy.log().splitlines()[before:]
    others = [line for line in lines if " request " not in line]
    assert len(others) <= 2 * len(own.proxy.workers()), others
