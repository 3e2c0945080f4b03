"""The table of counters: whole changes whatever moment a worker is killed in, room for others, another run."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from argoproxy.protocol.limits.buckets import Counter
from argoproxy.stores.local import counter_table
from argoproxy.stores.local.counter_names import MOST_NAME_BYTES, fit_row
from argoproxy.stores.local.counter_table import MOST_CHANGES, Changed, CounterTable
from tests.support.processes import ROOT

WAIT_S = 30.0
ROWS = [f"key:{number}/budget/total" for number in range(3)]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "counters"


def add(table: CounterTable, row: str, used: int = 0, ends_at: float | None = None) -> int:
    """Add a counter, and return its place."""
    table.add(row, Counter(used, 1), ends_at)
    place = table.find(row)
    assert place is not None
    return place


def change(table: CounterTable, changes: Sequence[tuple[int, Counter]], slot: int, end: int) -> None:
    table.change([place for place, _ in changes], [counter for _, counter in changes], slot, end)


def used(table: CounterTable) -> list[int | None]:
    with table.exclusive(WAIT_S):
        places = [table.find(row) for row in ROWS]
        return [None if place is None else table.read(place).used for place in places]


def test_what_one_adds_others_find(file: Path) -> None:
    one, other = CounterTable(file), CounterTable(file)
    assert used(other) == [None] * 3
    with one.exclusive(WAIT_S):
        places = [add(one, row, number) for number, row in enumerate(ROWS)]
    assert used(other) == [0, 1, 2]
    with other.exclusive(WAIT_S):
        change(other, [(places[1], Counter(7, 8))], 3, 99)
        assert other.list_changed() == [Changed(places[1], ROWS[1], Counter(7, 8), None)]
    assert used(one) == [0, 7, 2]
    assert one.log_ends[3] == 99


def test_what_is_written_counts_as_written_unless_it_has_changed(file: Path) -> None:
    table = CounterTable(file)
    with table.exclusive(WAIT_S):
        places = [add(table, row, ends_at=12.5) for row in ROWS]
        change(table, [(place, Counter(5, 6)) for place in places], 0, 1)
        before = table.list_changed()
        assert [one.ends_at for one in before] == [12.5] * 3
        change(table, [(places[0], Counter(6, 6))], 0, 1)
        table.mark_written(before)
        assert [one.row for one in table.list_changed()] == [ROWS[0]]


def test_the_lock_is_waited_for_in_limited_time(file: Path) -> None:
    one, other = CounterTable(file), CounterTable(file)
    with one.exclusive(WAIT_S):
        for table in (one, other):
            with pytest.raises(TimeoutError):
                table.lock.acquire(0.01)
    with other.exclusive(WAIT_S):
        assert other.list_changed() == []


class Killed(Exception):
    """Stands for the end of a worker."""


class Words:
    """Words of a table, whose writer is killed after so many of them."""

    def __init__(self, words: memoryview[int], left: int) -> None:
        self._words, self.left = words, left

    def __getitem__(self, index: int) -> int:
        return self._words[index]

    def __setitem__(self, index: int, value: int) -> None:
        if not self.left:
            raise Killed
        self.left -= 1
        self._words[index] = value


def kill_within_a_change(file: Path, words: int) -> bool:
    """Let a worker be killed once it has written so many words of a change; False if it was through by then."""
    table = CounterTable(file)
    with table.exclusive(WAIT_S):
        changes = [(place, Counter(10, 2)) for row in ROWS if (place := table.find(row)) is not None]
        table._words = Words(table._words, words)  # type: ignore[assignment]
        try:
            change(table, changes, 5, 77)
        except Killed:
            return True
        return False


def test_a_change_is_whole_whenever_its_worker_is_killed(tmp_path: Path) -> None:
    """All counters and the end of the log have changed, or none of them."""
    found = []
    for words in range(100):
        file = tmp_path / str(words)
        first = CounterTable(file)
        with first.exclusive(WAIT_S):
            for row in ROWS:
                add(first, row)
        was_killed = kill_within_a_change(file, words)
        found.append((*used(first), first.log_ends[5]))
        if not was_killed:
            break
    assert set(found) == {(0, 0, 0, 0), (10, 10, 10, 77)}
    assert found == sorted(found)
    assert len(found) > 10


#: Keeps the lock until it is killed.
HOLD = """
import signal, sys; from pathlib import Path
from argoproxy.stores.local.counter_table import CounterTable
table = CounterTable(Path(sys.argv[1]))
table.lock.acquire(30.0)
print("locked", flush=True)
signal.pause()
"""


def test_a_killed_holder_lets_go(file: Path) -> None:
    table = CounterTable(file)
    with subprocess.Popen([sys.executable, "-c", HOLD, file], cwd=ROOT, stdout=subprocess.PIPE) as holder:
        assert holder.stdout
        assert holder.stdout.readline()
        with pytest.raises(TimeoutError):
            table.lock.acquire(0.01)
        holder.kill()
    with table.exclusive(0.0):
        pass


@pytest.fixture
def small(file: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[CounterTable]:
    """A table with room for four counters."""
    monkeypatch.setattr(counter_table, "ROWS", 4)
    table = CounterTable(file)
    with table.exclusive(WAIT_S):
        yield table


def test_written_counters_make_room(small: CounterTable, file: Path) -> None:
    """Neither those that have changed nor requests at once do: only the table knows them."""
    places = {row: add(small, row) for row in ("a/rpm", "b/concurrent", "c/rpm", "d/concurrent")}
    change(small, [(places["a/rpm"], Counter(1, 1)), (places["b/concurrent"], Counter(1, 1))], 0, 1)
    small.mark_written([one for one in small.list_changed() if one.row == "b/concurrent"])
    before = small.removed
    assert add(small, "e/rpm") == places["c/rpm"]
    assert small.removed == before + 1
    assert add(small, "f/rpm") == places["d/concurrent"]
    assert (small.find("c/rpm"), small.find("d/concurrent")) == (None, None)
    assert small.find("a/rpm") == places["a/rpm"]
    change(small, [(place, Counter(1, 1)) for row in ("e/rpm", "f/rpm") if (place := small.find(row))], 0, 1)
    with pytest.raises(OSError, match="no counter can make room"):
        add(small, "g/rpm")


def test_requests_at_once_are_not_read_from_the_database(file: Path) -> None:
    table = CounterTable(file)
    with table.exclusive(WAIT_S):
        assert table.read(add(table, "a/concurrent", 5)) == Counter(0, 0)


def test_a_file_of_another_run_of_the_machine_begins_anew(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = CounterTable(file)
    with table.exclusive(WAIT_S):
        change(table, [(add(table, row), Counter(5, 5)) for row in ROWS], 2, 44)
    assert used(CounterTable(file)) == [5, 5, 5]
    run = file.with_name("run")
    run.write_text("another one\n")
    monkeypatch.setattr(counter_table, "RUN_OF_MACHINE", run)
    other = CounterTable(file)
    assert (used(other), other.log_ends[2]) == ([None] * 3, 0)
    monkeypatch.setattr(counter_table, "RUN_OF_MACHINE", run.with_name("none"))
    assert used(CounterTable(file)) == [None] * 3


def test_a_request_can_not_change_any_number(file: Path) -> None:
    table = CounterTable(file)
    with table.exclusive(WAIT_S):
        place = add(table, ROWS[0])
        with pytest.raises(OSError, match="too many limits"):
            change(table, [(place, Counter(1, 1))] * (MOST_CHANGES + 1), 0, 1)


def test_long_names_are_kept_apart(file: Path) -> None:
    rows = [f"key:a/model:{'é' * 400}{end}/budget/2026-11" for end in ("x", "y")]
    names = [fit_row(row) for row in rows]
    assert len(set(names)) == 2
    assert all(len(name.encode()) <= MOST_NAME_BYTES for name in names)
    assert all(name.endswith("/2026-11") for name in names)
    table = CounterTable(file)
    with table.exclusive(WAIT_S):
        change(table, [(add(table, row), Counter(number, 1)) for number, row in enumerate(rows)], 0, 1)
        changed = table.list_changed()
        assert [(one.row, one.counter.used) for one in changed] == list(zip(names, (0, 1), strict=True))
        table.mark_written(changed)
        assert table.list_changed() == []
