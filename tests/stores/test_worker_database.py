"""Threads that write to the file of one worker at the same time."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from argoproxy.errors import StateUnavailable
from argoproxy.stores.worker_database import WorkerDatabase, log_trouble

MIGRATIONS = (("CREATE TABLE numbers (number INTEGER)",),)
THREADS = 40


class Writers:
    """Threads that come while the first one is within its write."""

    def __init__(self, folder: Path) -> None:
        self.database = WorkerDatabase(folder / "numbers.sqlite3", MIGRATIONS, log_trouble, 30.0)
        self.results = dict[int, object]()
        self._is_first_writing, self._coming = threading.Event(), threading.Semaphore(0)

    def run(self, work: Callable[[int, sqlite3.Connection], object]) -> None:
        """Have each thread do work with its number, and keep what came of it."""
        first = threading.Thread(target=self.database.write, args=(self._wait_for_all,))
        first.start()
        self._is_first_writing.wait()
        threads = [threading.Thread(target=self._write, args=(work, number)) for number in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in (first, *threads):
            thread.join()

    def _wait_for_all(self, _: sqlite3.Connection) -> None:
        self._is_first_writing.set()
        for _number in range(THREADS):
            self._coming.acquire()

    def _write(self, work: Callable[[int, sqlite3.Connection], object], number: int) -> None:
        self._coming.release()
        try:
            self.results[number] = self.database.write(partial(work, number))
        except StateUnavailable:
            self.results[number] = None


def insert(number: int, database: sqlite3.Connection) -> int:
    database.execute("INSERT INTO numbers VALUES (?)", (number,))
    return number


def numbers_in(folder: Path) -> list[int]:
    rows = sqlite3.connect(folder / "numbers.sqlite3").execute("SELECT number FROM numbers ORDER BY number")
    return [number for (number,) in rows]


@pytest.fixture
def writers(tmp_path: Path) -> Writers:
    return Writers(tmp_path)


def test_each_thread_gets_its_own_result(writers: Writers, tmp_path: Path) -> None:
    writers.run(insert)
    writers.database.close()
    assert writers.results == {number: number for number in range(THREADS)}
    assert numbers_in(tmp_path) == list(range(THREADS))


def test_what_is_told_to_have_failed_is_not_written(writers: Writers, tmp_path: Path) -> None:
    def insert_or_fail(number: int, database: sqlite3.Connection) -> int:
        if number == THREADS // 2:
            raise sqlite3.OperationalError("disk I/O error")
        return insert(number, database)

    writers.run(insert_or_fail)
    written = [number for number, result in writers.results.items() if result is not None]
    writers.database.write(partial(insert, THREADS))
    writers.database.close()
    assert len(writers.results) == THREADS
    assert writers.results[THREADS // 2] is None
    assert numbers_in(tmp_path) == sorted([*written, THREADS])
