"""Kept answers in a file: bounded, shared by processes, and never in the way, whatever becomes of the file."""

from __future__ import annotations

import fcntl
import os
import random
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from argoproxy.protocol.cache.kept_answer import AnswerForm, KeptAnswer
from argoproxy.stores.answers import sqlite_answers
from argoproxy.stores.answers.sqlite_answers import FILE_NAME, SqliteAnswers

ROOT = Path(__file__).resolve().parents[2]
MIB = 1024 * 1024


class Clock:
    """The time of day, as the test sets it."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def key_of(number: int) -> bytes:
    return sha256(b"%d" % number).digest()


def answer_of(number: int, size: int = 100) -> KeptAnswer:
    """Return an answer that does not get shorter by compression."""
    return KeptAnswer(AnswerForm.DOCUMENT, random.Random(number).randbytes(size))


class Keeper:
    """Stores in one folder, as several workers have them."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "state" / FILE_NAME
        self.clock = Clock()
        self.opened: list[SqliteAnswers] = []

    def store(self, max_bytes: int = MIB, pause_s: float = 0) -> SqliteAnswers:
        self.opened.append(SqliteAnswers(self.path, max_bytes, self.clock, pause_s))
        return self.opened[-1]


@pytest.fixture
def keeper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Keeper]:
    made = Keeper(tmp_path)
    yield made
    for one in made.opened:
        one.close()


def read(store: SqliteAnswers, number: int) -> KeptAnswer | None:
    found = store.read(key_of(number))
    return found.answer if found else None


def write(store: SqliteAnswers, number: int, size: int = 100) -> None:
    store.write(key_of(number), answer_of(number, size), 60)


def is_kept(store: SqliteAnswers, number: int) -> bool:
    """Write an answer and return whether it can be read."""
    write(store, number)
    return read(store, number) == answer_of(number)


def test_one_worker_reads_what_another_has_written(keeper: Keeper) -> None:
    first, second = keeper.store(), keeper.store()
    assert read(first, 1) is None
    write(second, 1)
    keeper.clock.now += 12.5
    found = first.read(key_of(1))
    assert found
    assert (found.answer, found.age_s) == (answer_of(1), 12.5)
    assert read(first, 2) is None


def test_a_new_answer_takes_the_place_of_the_old_one(keeper: Keeper) -> None:
    store = keeper.store()
    write(store, 1)
    keeper.clock.now += 50
    store.write(key_of(1), answer_of(2), 60)
    found = store.read(key_of(1))
    assert found
    assert (found.answer, found.age_s) == (answer_of(2), 0)


def test_a_clock_that_goes_back_makes_no_answer_live_longer(keeper: Keeper) -> None:
    store = keeper.store()
    write(store, 1)
    keeper.clock.now -= 10
    found = store.read(key_of(1))
    assert found
    assert found.age_s == 0
    keeper.clock.now -= 3600
    assert read(store, 1) is None


def test_the_file_stays_within_its_bound_and_the_oldest_go_first(keeper: Keeper) -> None:
    store = keeper.store(MIB)
    for number in range(400):
        write(store, number, 10_000)
    assert keeper.path.stat().st_size < 1.2 * MIB
    kept = [number for number in range(400) if read(store, number)]
    assert kept == list(range(kept[0], 400))
    assert 60 < len(kept) < 110


def test_answers_that_have_ended_make_room_first(keeper: Keeper) -> None:
    store = keeper.store(MIB)
    store.write(key_of(0), answer_of(0), 10_000)
    for number in range(1, 60):
        write(store, number, 10_000)
    keeper.clock.now += 61
    for number in range(100, 160):
        write(store, number, 10_000)
    assert read(store, 0) == answer_of(0)
    assert not any(read(store, number) for number in range(1, 50))


def test_one_answer_does_not_take_the_room_of_all(keeper: Keeper) -> None:
    store = keeper.store(MIB)
    write(store, 1)
    write(store, 2, MIB // 2)
    assert (read(store, 1), read(store, 2)) == (answer_of(1), None)


def test_only_the_owner_may_read_it(keeper: Keeper) -> None:
    store = keeper.store()
    write(store, 1)
    files = sorted(keeper.path.parent.iterdir())
    assert {file.name.removeprefix(FILE_NAME) for file in files} == {"", "-wal", "-shm", ".lock"}
    assert {oct(file.stat().st_mode & 0o777) for file in files} == {"0o600"}
    assert oct(keeper.path.parent.stat().st_mode & 0o777) == "0o700"


def test_a_file_that_is_deleted_is_made_anew(keeper: Keeper) -> None:
    first, second = keeper.store(), keeper.store()
    write(first, 1)
    assert read(second, 1)
    for file in keeper.path.parent.iterdir():
        file.unlink()
    assert (read(second, 1), read(first, 1)) == (None, None)
    assert is_kept(first, 2)
    assert read(second, 2) == answer_of(2)


def test_a_log_without_its_file_is_not_used(keeper: Keeper) -> None:
    """An operator deletes the file alone: SQLite would take what its log holds for parts of the new one."""
    first, second = keeper.store(), keeper.store()
    for number in range(50):
        write(first, number, 3000)
    read(second, 1)
    keeper.path.unlink()
    assert not any(read(store, number) for number in range(50) for store in (second, first))
    assert is_kept(second, 1)
    assert read(first, 1) == answer_of(1)
    with sqlite3.connect(keeper.path) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    database.close()


@pytest.mark.parametrize("place", [0, 4096, 8192])
def test_a_damaged_file_is_deleted(keeper: Keeper, place: int) -> None:
    store = keeper.store()
    write(store, 1)
    store.close()
    with keeper.path.open("r+b") as file:
        file.seek(place)
        file.write(b"\xff" * 4096)
    for number in range(3):
        write(store, number)
        read(store, number)
    assert is_kept(store, 7)


def test_damage_under_open_connections_gives_no_wrong_answer(keeper: Keeper) -> None:
    """Another program has written over the file."""
    stores = [keeper.store(), keeper.store()]
    for number in range(200):
        write(stores[number % 2], number, 1000)
    keeper.path.write_bytes(random.Random(1).randbytes(keeper.path.stat().st_size))
    for number in range(400):
        for store in stores:
            assert read(store, number) in (None, answer_of(number, 1000), answer_of(number))
        write(stores[0], number)
    keeper.path.unlink(missing_ok=True)
    assert is_kept(stores[1], 1000)


def test_an_answer_whose_bytes_are_damaged_is_none(keeper: Keeper) -> None:
    store = keeper.store()
    write(store, 1)
    with sqlite3.connect(keeper.path) as database:
        database.execute("UPDATE answers SET text = x'00'")
    database.close()
    assert read(store, 1) is None
    assert is_kept(store, 1)


def test_a_file_of_another_version_is_made_anew(keeper: Keeper) -> None:
    write(keeper.store(), 1)
    with sqlite3.connect(keeper.path) as database:
        database.execute("PRAGMA user_version = 7")
    database.close()
    store = keeper.store()
    read(store, 1)
    assert is_kept(store, 2)


def test_a_locked_file_keeps_nobody_waiting(keeper: Keeper) -> None:
    """What is there can be read; what comes is not kept, until the lock is free."""
    store, patient = keeper.store(), keeper.store(pause_s=1000)
    write(store, 1)
    assert read(patient, 1)
    with keeper.path.with_name(f"{FILE_NAME}.lock").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert read(store, 1) == answer_of(1)
        write(store, 2)
        write(patient, 2)
    assert (read(store, 1), read(store, 2)) == (answer_of(1), None)
    assert is_kept(store, 3)
    assert not is_kept(patient, 4)
    assert read(patient, 3) == answer_of(3)


def test_a_program_that_locks_the_database_keeps_nobody_waiting(keeper: Keeper) -> None:
    store = keeper.store()
    write(store, 1)
    other = sqlite3.connect(keeper.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    write(store, 2)
    assert (read(store, 1), read(store, 2)) == (answer_of(1), None)
    other.execute("COMMIT")
    other.close()
    assert is_kept(store, 3)


def test_a_file_in_trouble_is_left_alone_for_a_while(keeper: Keeper, caplog: pytest.LogCaptureFixture) -> None:
    """One line of each worker tells that, and one that it is over."""
    store, patient = keeper.store(), keeper.store(pause_s=1000)
    write(store, 1)
    away = keeper.path.parent.rename(keeper.path.parent.with_name("away"))
    keeper.path.parent.write_text("a file in the place of the folder")
    for number in range(20):
        write(store, number)
        assert read(store, number) is read(patient, number) is None
    keeper.path.parent.unlink()
    away.rename(keeper.path.parent)
    assert (read(store, 1), read(patient, 1)) == (answer_of(1), None)
    codes = [record.getMessage().partition(":")[0].partition(" ")[0] for record in caplog.records]
    assert codes == ["code=cache_unavailable", "code=cache_unavailable", "code=cache_available"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_can_not_be_written(keeper: Keeper) -> None:
    keeper.path.parent.mkdir(mode=0o500)
    store = keeper.store()
    write(store, 1)
    assert read(store, 1) is None


def run(code: str, path: Path, *words: str) -> subprocess.Popen[bytes]:
    """Run code with a store in another process."""
    head = (
        "import random, resource, sys; from pathlib import Path\n"
        "from argoproxy.stores.answers.sqlite_answers import SqliteAnswers\n"
        "from tests.stores.test_sqlite_answers import *\n"
        f"store = SqliteAnswers(Path(sys.argv[1]), {MIB}, pause_s=0)\n"
    )
    return subprocess.Popen([sys.executable, "-c", head + code, str(path), *words], cwd=ROOT)


def test_a_full_disk_costs_the_answer_only(keeper: Keeper) -> None:
    """A limit of the size of files stands for the disk."""
    store = SqliteAnswers(keeper.path, MIB)
    write(store, 1)
    code = (
        "before = resource.getrlimit(resource.RLIMIT_FSIZE)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), before[1]))\n"
        "for number in range(100, 140):\n"
        "    write(store, number, 5000)\n"
        "    assert read(store, number) in (None, answer_of(number, 5000))\n"
        "assert read(store, 1) in (None, answer_of(1))\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, before)\n"
        "assert is_kept(store, 7)\n"
    )
    for size in (0, 4096, 50_000):
        assert run(code, keeper.path, str(size)).wait(300) == 0
    assert is_kept(store, 8)
    store.close()


def test_processes_that_write_at_once_and_are_killed_leave_a_sound_file(keeper: Keeper) -> None:
    code = (
        "for number in range(10 ** 9):\n"
        "    one = random.randrange(300); write(store, one, 5000)\n"
        "    two = random.randrange(300); assert read(store, two) in (None, answer_of(two, 5000))\n"
        "    if number == 20: print('.', flush=True)\n"
    )
    for _ in range(3):
        processes = [run(code, keeper.path) for _ in range(3)]
        watcher = SqliteAnswers(keeper.path, MIB)
        seen = set[int]()
        while len(seen) < 60:
            seen |= {number for number in range(300) if read(watcher, number) == answer_of(number, 5000)}
        for process in processes:
            assert process.poll() is None
            process.send_signal(signal.SIGKILL)
            process.wait()
        watcher.close()
        with sqlite3.connect(keeper.path) as database:
            assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        database.close()
    assert keeper.path.stat().st_size < 1.5 * MIB


def test_nothing_is_opened_before_it_is_used(keeper: Keeper) -> None:
    keeper.store().close()
    assert not keeper.path.exists()
    assert sqlite_answers.MAX_WAIT_S < 1
