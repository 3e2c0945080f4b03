"""Counters and the ledger of a host: exact whichever worker asks, settled once, and as documented in trouble."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from argoproxy.errors import StateUnavailable
from argoproxy.protocol.limits.limits import Claim, LimitKind
from argoproxy.stores.limit_store import LedgerEntry, Reservation
from argoproxy.stores.local import local_limits, usage_database
from argoproxy.stores.local.local_limits import LocalLimits
from argoproxy.stores.sqlite_file import SqliteFile
from tests.support.full_disk import full_disk
from tests.support.processes import ROOT, eventually

NOW = 1_795_400_000.0
RPM, TPM = "key:a/rpm", "key:a/tpm"
CONCURRENT, BUDGET = "key:a/concurrent", "key:a/budget/total"


def claim(row: str, limit: int, amount: int = 1) -> Claim:
    return Claim(row, LimitKind(row.split("/")[1]), "key:a", limit, amount)


def entry(request_id: str, **values: Any) -> LedgerEntry:
    return LedgerEntry(request_id, NOW, "a", "ann", "red", "m1", "main", **values)


def reserve(request_id: str, *claims: Claim, tokens: int = 0) -> Reservation:
    return Reservation(claims, entry(request_id, cost_nanos=7), tokens)


def ledger(folder: Path) -> list[dict[str, Any]]:
    with closing(sqlite3.connect(folder / "usage.sqlite3")) as database:
        database.row_factory = sqlite3.Row
        return [dict(row) for row in database.execute("SELECT * FROM ledger ORDER BY number")]


def written(store: LocalLimits, folder: Path) -> list[dict[str, Any]]:
    """Return the ledger, with all that has ended."""
    store.flush()
    return ledger(folder)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LocalLimits]:
    store = LocalLimits(tmp_path)
    yield store
    store.close()


def test_nothing_is_opened_before_the_first_request(store: LocalLimits, tmp_path: Path) -> None:
    store.close()
    assert list(tmp_path.iterdir()) == []


def test_all_claims_are_granted_or_none(store: LocalLimits) -> None:
    first = store.admit(reserve("1", claim(BUDGET, 10, 4), claim(RPM, 1)), NOW)
    assert first.refused is None
    assert {row: level.remaining for row, level in first.levels.items()} == {BUDGET: 6, RPM: 0}
    second = store.admit(reserve("2", claim(BUDGET, 10, 4), claim(RPM, 1)), NOW)
    assert second.refused
    assert (second.refused.row, second.retry_after_s) == (RPM, 60.0)
    assert second.levels[BUDGET].remaining == 6


def test_a_request_is_settled_once(store: LocalLimits, tmp_path: Path) -> None:
    claims = [claim(BUDGET, 10, 8), claim(CONCURRENT, 1), claim(RPM, 5), claim(TPM, 100, 60)]
    store.admit(reserve("1", *claims), NOW)
    for _ in range(2):
        store.settle("1", {BUDGET: 3, RPM: 1, TPM: 20}, entry("1", ending="complete", prompt_tokens=20), NOW)
    levels = store.admit(reserve("2", *claims[1:], claim(BUDGET, 10, 2)), NOW).levels
    assert {row: level.remaining for row, level in levels.items()} == {BUDGET: 5, CONCURRENT: 0, RPM: 3, TPM: 20}
    assert [(row["request_id"], row["ending"], row["prompt_tokens"]) for row in written(store, tmp_path)] == [
        ("1", "complete", 20)
    ]


def test_a_request_may_ask_for_more_once(store: LocalLimits) -> None:
    store.admit(reserve("1", claim(RPM, 2)), NOW)
    more = Claim("upstream:b/rpm", LimitKind.RPM, "upstream:b", 1, 1)
    assert store.extend("1", [more], NOW).refused is None
    assert store.extend("1", [more], NOW).refused is None
    store.admit(reserve("2", claim(RPM, 2)), NOW)
    assert store.extend("2", [more], NOW).refused == more
    store.settle("1", {RPM: 1}, None, NOW)
    assert store.extend("2", [more], NOW).refused is None
    assert store.extend("unknown", [more], NOW).refused is None


def run(code: str, *arguments: object) -> subprocess.Popen[str]:
    """Run code in a worker of its own, with `store` for the folder that is the first argument."""
    head = (
        "import itertools, os, resource, signal, sys, time; from pathlib import Path\n"
        "from tests.stores.test_local_limits import *; store = LocalLimits(Path(sys.argv[1]), max_wait_s=30.0)\n"
    )
    command = [sys.executable, "-c", head + code, *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def read_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    return process.stdout.readline().strip()


def kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def wait_for(process: subprocess.Popen[str]) -> int:
    process.communicate()
    return process.returncode


#: Has requests admitted until all places are taken, and waits.
TAKE_ALL = """
for number in itertools.count():
    claims = [claim(CONCURRENT, 3), claim(BUDGET, 100, 9), claim(TPM, 1000, 50), claim(RPM, 100)]
    if store.admit(reserve(f"{sys.argv[2]}-{number}", *claims, tokens=5), NOW).refused: break
print(number, flush=True)
time.sleep(600)
"""


def test_worker_killed_with_slots(store: LocalLimits, tmp_path: Path) -> None:
    """What a killed worker held is free for the next request; its money and its prompts are charged."""
    killed = run(TAKE_ALL, tmp_path, "a")
    assert read_line(killed) == "3"
    full = reserve("b", claim(CONCURRENT, 3))
    refused = store.admit(full, NOW).refused
    assert refused
    assert refused.kind == LimitKind.CONCURRENT
    kill(killed)
    assert store.admit(full, NOW).refused is None
    claims = [claim(BUDGET, 100, 0), claim(TPM, 1000, 0), claim(RPM, 101), claim(CONCURRENT, 3)]
    levels = store.admit(reserve("c", *claims), NOW).levels
    assert {row: level.limit - level.remaining for row, level in levels.items()} == {
        BUDGET: 27,
        TPM: 15,
        RPM: 4,
        CONCURRENT: 2,
    }
    assert [(row["request_id"], row["ending"], row["cost_nanos"]) for row in ledger(tmp_path)] == [
        (f"a-{number}", "abandoned", 7) for number in range(3)
    ]


def test_the_next_worker_settles_what_the_one_in_its_slot_had(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        worker = run(TAKE_ALL, tmp_path, name)
        assert read_line(worker) == "3"
        kill(worker)
    assert [row["request_id"] for row in ledger(tmp_path)] == [
        f"{name}-{number}" for name in "ab" for number in range(3)
    ]
    assert sorted(file.name for file in (tmp_path / "slots").glob("slot-*")) == ["slot-0"]


def test_a_worker_that_runs_is_not_taken_for_a_killed_one(store: LocalLimits, tmp_path: Path) -> None:
    worker = run(TAKE_ALL, tmp_path, "a")
    assert read_line(worker) == "3"
    store.sweep(NOW)
    assert store.admit(reserve("b", claim(CONCURRENT, 3)), NOW).refused
    kill(worker)
    store.sweep(NOW)
    assert len(ledger(tmp_path)) == 3


def test_what_a_killed_worker_left_waits_for_the_database(tmp_path: Path) -> None:
    """The worker that takes its slot while the file is locked charges it later, once."""
    killed = run(TAKE_ALL, tmp_path, "a")
    assert read_line(killed) == "3"
    wait_for_entries(tmp_path, 0)
    kill(killed)
    store = LocalLimits(tmp_path, lambda _: None, 0.01, 600.0)
    with locked(tmp_path):
        for _ in range(2):
            with pytest.raises(StateUnavailable):
                store.admit(reserve("b", claim(CONCURRENT, 3)), NOW)
    levels = store.admit(reserve("b", claim(CONCURRENT, 3), claim(BUDGET, 100, 0)), NOW).levels
    assert {row: level.remaining for row, level in levels.items()} == {CONCURRENT: 2, BUDGET: 73}
    assert [row["request_id"] for row in written(store, tmp_path)] == ["a-0", "a-1", "a-2"]
    store.close()


#: Has requests admitted and settles them, some never, until it is killed.
WORK = """
random = __import__("random").Random(int(sys.argv[2]))
for number in itertools.count():
    request_id = f"{sys.argv[2]}-{number}"
    claims = [claim(CONCURRENT, 4), claim(BUDGET, 10**12, 7)]
    if store.admit(reserve(request_id, *claims), time.time()).refused is None:
        cost = random.randrange(14)
        store.settle(request_id, {BUDGET: cost}, entry(request_id, ending="complete", cost_nanos=cost), time.time())
"""


def test_killed_at_any_moment_counters_and_ledger_agree(tmp_path: Path) -> None:
    """Workers die one after the other while others go on; every request is in the ledger once, and is charged."""
    workers = [run(WORK, tmp_path, number) for number in range(3)]
    for number in range(3, 9):
        wait_for_entries(tmp_path, 50 * number - 100)
        kill(workers.pop(0))
        workers.append(run(WORK, tmp_path, number))
    for worker in workers:
        kill(worker)
    store = LocalLimits(tmp_path)
    store.sweep(time.time())
    level = store.admit(reserve("last", claim(BUDGET, 10**12, 0), claim(CONCURRENT, 4)), time.time()).levels
    rows = written(store, tmp_path)
    assert len({row["request_id"] for row in rows}) == len(rows)
    assert 10**12 - level[BUDGET].remaining == sum(row["cost_nanos"] for row in rows)
    assert level[CONCURRENT].remaining == 3
    store.close()


def wait_for_entries(folder: Path, entries: int) -> None:
    def are_there() -> bool:
        try:
            return len(ledger(folder)) >= entries
        except sqlite3.OperationalError:  # it is not there yet
            return False

    eventually(are_there)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    with SqliteFile(folder / "usage.sqlite3", [], 60.0).exclusive():
        yield


@contextmanager
def overwritten(folder: Path) -> Iterator[None]:
    """Damage the file, and remove it at last, as an operator would."""
    file = folder / "usage.sqlite3"
    file.write_bytes(os.urandom(file.stat().st_size))
    yield
    for one in folder.glob("usage.sqlite3*"):
        one.unlink()


@contextmanager
def newer(folder: Path) -> Iterator[None]:
    """Let a newer version have written the file."""
    for version in (99, len(usage_database.MIGRATIONS)):
        with closing(sqlite3.connect(folder / "usage.sqlite3")) as database:
            database.execute(f"PRAGMA user_version={version}")
        if version == 99:
            yield


@contextmanager
def no_folder(folder: Path) -> Iterator[None]:
    """Let the folder be on a disk that is not there for a while."""
    folder.rename(folder.with_name("away"))
    yield
    folder.with_name("away").rename(folder)


TROUBLES = {
    "locked": (locked, "another process keeps them locked"),
    "overwritten": (overwritten, "their database is damaged"),
    "full_disk": (full_disk, "the disk is full"),
    "newer": (newer, "a newer version"),
    "no_folder": (no_folder, "their files are missing"),
}
NEW = "key:b/rpm"


@pytest.mark.parametrize("trouble", TROUBLES)
def test_trouble(tmp_path: Path, trouble: str) -> None:
    """Counters that are known go on, others can't be used; what ends meanwhile is written down afterwards, once."""
    folder = tmp_path / "state"
    folder.mkdir()
    reports: list[str | None] = []
    store = LocalLimits(folder, reports.append, 0.01, 600.0)
    states: list[bool] = []
    make_trouble, reason = TROUBLES[trouble]
    store.admit(reserve("1", claim(RPM, 9), claim(CONCURRENT, 1)), NOW)
    store.flush()
    if trouble == "newer":
        store.close()
    with make_trouble(folder):
        for _ in range(3):
            if trouble != "full_disk":
                with pytest.raises(StateUnavailable, match=reason):
                    store.admit(reserve("2", claim(RPM, 9), claim(NEW, 9)), NOW)
            store.settle("1", {RPM: 1}, entry("1", ending="complete"), NOW)
        if trouble != "no_folder":
            known = store.admit(reserve("5", claim(RPM, 9), claim(CONCURRENT, 1)), NOW)
            assert {row: level.remaining for row, level in known.levels.items()} == {RPM: 7, CONCURRENT: 0}
            store.settle("5", {RPM: 1}, None, NOW)
        assert store.admit(reserve("3"), NOW).refused is None
        store.settle("3", {}, entry("3", ending="complete"), NOW)
        with pytest.raises(StateUnavailable, match=reason):
            store.flush()
        states.append(store.is_up)
    assert store.admit(reserve("4", claim(RPM, 9), claim(CONCURRENT, 1), claim(NEW, 9)), NOW).refused is None
    assert [(row["request_id"], row["ending"]) for row in written(store, folder)] == [
        ("1", "complete"),
        ("3", "complete"),
    ]
    assert [*states, store.is_up] == [False, True]
    assert len(reports) == 2
    assert reason in str(reports[0])
    assert reports[1] is None
    store.close()


def test_what_is_kept_is_bounded(store: LocalLimits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_limits, "MOST_KEPT", 5)
    store.admit(reserve("0"), NOW)
    with locked(tmp_path):
        for number in range(9):
            store.settle(str(number), {}, entry(str(number)), NOW)
    store.close()
    assert len(ledger(tmp_path)) == 5


def test_what_could_not_be_counted_is_bounded_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_limits, "MOST_KEPT", 5)
    folder = tmp_path / "state"
    folder.mkdir()
    store = LocalLimits(folder, lambda _: None, 0.01, 600.0)
    for number in range(9):
        store.admit(reserve(str(number), claim(BUDGET, 100)), NOW)
    with no_folder(folder):
        eventually(partial(is_refused_for_trouble, store))
        for number in range(9):
            store.settle(str(number), {BUDGET: 1}, entry(str(number)), NOW)
    assert len(written(store, folder)) == 5
    store.close()


def is_refused_for_trouble(store: LocalLimits) -> bool:
    try:
        store.admit(reserve("none", claim(BUDGET, 0)), NOW)
    except StateUnavailable:
        return True
    return False


def test_what_is_kept_is_written_without_another_request(tmp_path: Path) -> None:
    store = LocalLimits(tmp_path, retry_s=0.001)
    store.admit(reserve("1"), NOW)
    store.flush()
    with locked(tmp_path):
        store.settle("1", {}, entry("1"), NOW)
    eventually(lambda: ledger(tmp_path))
    store.close()


def test_what_is_kept_is_written_when_a_worker_stops(tmp_path: Path) -> None:
    code = "store.admit(reserve('1'), NOW)\nwith full_disk(Path()): store.settle('1', {}, entry('1'), NOW)\n"
    assert wait_for(run(code, tmp_path)) == 0
    assert [row["request_id"] for row in ledger(tmp_path)] == ["1"]


def is_admitted(store: LocalLimits) -> bool:
    return store.admit(reserve("look", claim(BUDGET, 10, 6)), NOW).refused is None


def test_files_that_are_deleted_are_begun_anew(store: LocalLimits, tmp_path: Path) -> None:
    """Another worker counts in the same new file; requests that ran are written down there."""
    other = LocalLimits(tmp_path)
    for number, one in enumerate((store, other)):
        one.admit(reserve(str(number), claim(BUDGET, 10, 4)), NOW)
    for file in tmp_path.glob("usage.sqlite3*"):
        file.unlink()
    shutil.rmtree(tmp_path / "slots")
    for one in (store, other):
        eventually(partial(is_admitted, one))
        one.settle("look", {}, None, NOW)
    assert store.admit(reserve("2", claim(BUDGET, 10, 6), claim(CONCURRENT, 2)), NOW).refused is None
    assert other.admit(reserve("3", claim(BUDGET, 10, 6)), NOW).refused
    assert other.admit(reserve("4", claim(BUDGET, 10, 4), claim(CONCURRENT, 2)), NOW).refused is None
    for number, one in enumerate((store, other)):
        one.settle(str(number), {BUDGET: 1}, entry(str(number)), NOW)
        one.flush()
    assert [row["request_id"] for row in ledger(tmp_path)] == ["0", "1"]
    assert other.admit(reserve("5", claim(CONCURRENT, 2)), NOW).refused
    other.close()


def test_a_killed_migration_begins_anew(tmp_path: Path) -> None:
    code = (
        "first = usage_database.MIGRATIONS\n"
        "def statements():\n"
        "    yield from list(first[0])[:2]\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "usage_database.MIGRATIONS = [statements()]\n"
        "LocalLimits(Path(sys.argv[1])).admit(reserve('1', claim(RPM, 1)), NOW)\n"
    )
    assert wait_for(run(code, tmp_path)) == -signal.SIGKILL
    store = LocalLimits(tmp_path)
    assert store.admit(reserve("1", claim(BUDGET, 10, 4)), NOW).levels[BUDGET].remaining == 6
    store.close()


def test_the_file_of_the_version_before(store: LocalLimits, tmp_path: Path) -> None:
    """Requests that ran when its workers were killed are written down, and hold nothing any more."""
    with closing(sqlite3.connect(tmp_path / "usage.sqlite3")) as database:
        for statement in usage_database.MIGRATIONS[0]:
            database.execute(statement)
        database.execute("PRAGMA user_version=1")
        columns = (
            "owner, claims, abandoned_tokens, request_id, at, key_id, key_name, team, model, upstream, ending, status"
        )
        marks = ", ".join("?" * 13)
        values = (0, "[]", 0, "1", NOW, "a", "ann", "", "m1", "main", "abandoned", 0, 0)
        database.execute(f"INSERT INTO open_requests ({columns}, is_estimated) VALUES ({marks})", values)
        database.executemany("INSERT INTO counters VALUES (?, ?, 0, NULL)", [(BUDGET, 6), (CONCURRENT, 2)])
        database.commit()
    levels = store.admit(reserve("2", claim(BUDGET, 10), claim(CONCURRENT, 2)), NOW).levels
    assert {row: level.remaining for row, level in levels.items()} == {BUDGET: 3, CONCURRENT: 1}
    assert [row["request_id"] for row in written(store, tmp_path)] == ["1"]


def test_names_that_clients_choose(store: LocalLimits, tmp_path: Path) -> None:
    names = ("\ud800", "x" * 10_000, "\0", "日本")
    for number, name in enumerate(names):
        one = entry(str(number), cost_nanos=10**30)._replace(model=name)
        store.admit(Reservation([claim(BUDGET, 10, 10**30)], one, 0), NOW)
        store.admit(Reservation([], one, 0), NOW)
        store.settle(str(number), {}, one, NOW)
    assert [row["model"] for row in written(store, tmp_path)] == ["?", "x" * 256, "\0", "日本"]


def test_counters_of_periods_that_are_over_are_removed(store: LocalLimits, tmp_path: Path) -> None:
    day_s = 86_400
    ended = [claim(BUDGET, 10, 1)._replace(row=f"{BUDGET}/{day}", resets_at=NOW + day * day_s) for day in range(3)]
    store.admit(reserve("1", *ended), NOW)
    store.settle("1", {one.row: 1 for one in ended}, None, NOW)
    store.settle("2", {}, None, NOW + 41.5 * day_s)
    store.flush()
    with closing(sqlite3.connect(tmp_path / "usage.sqlite3")) as database:
        assert database.execute("SELECT row FROM counters").fetchall() == [(ended[2].row,)]


def test_files_are_for_their_owner_only(store: LocalLimits, tmp_path: Path) -> None:
    store.admit(reserve("1"), NOW)
    store.flush()
    files = [file for pattern in ("usage*", "slots/requests*") for file in tmp_path.glob(pattern)]
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in files}
    assert len(modes) == 7
    assert set(modes.values()) == {0o600}


def test_threads_share_a_store(store: LocalLimits, tmp_path: Path) -> None:
    def work(thread: int) -> int:
        admitted = 0
        for number in range(30):
            request_id = f"{thread}-{number}"
            if store.admit(reserve(request_id, claim(BUDGET, 100), claim(CONCURRENT, 4)), NOW).refused is None:
                admitted += 1
                store.settle(request_id, {BUDGET: 1}, entry(request_id), NOW)
        return admitted

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(work, range(4))) == 100
    assert len(written(store, tmp_path)) == 100
