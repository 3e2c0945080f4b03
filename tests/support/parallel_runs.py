"""Runs tests in processes that are forked when all tests are collected: `pytest --processes 8`.

A process takes one file of tests after another; what becomes of them is sent to the one that has collected them, which
counts and shows it. Tests with servers mostly wait, pure ones never do: so every fourth process begins with the pure
ones, and the others end with them.

pytest-xdist starts interpreters, each of which imports and collects everything by itself, and has one order for all of
them: with eight processes the suite took half a minute longer (docs/decisions/030-tests-run-in-forks.md).
"""

from __future__ import annotations

import atexit
import os
import random
import signal
import threading
import traceback
from collections.abc import Iterator, Sequence
from itertools import chain, pairwise
from multiprocessing.connection import Connection, Pipe, wait
from typing import Any, NoReturn

import pytest
from _pytest.runner import runtestprotocol

from tests.support.prctl import die_with_parent

#: The index of a file in the queue.
_INDEX_BYTES = 2

TestFile = Sequence[pytest.Item]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--processes", type=int, default=0, help="run the files of tests in so many processes")


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool | None:
    """Run the tests, if there are to be several processes."""
    options = session.config.option
    if not options.processes or options.collectonly or options.usepdb or session.testsfailed:
        return None
    files: dict[object, list[pytest.Item]] = {}
    for item in session.items:
        files.setdefault(item.path, []).append(item)
    ParallelRun(session, list(files.values())).run(options.processes)
    return True


class ParallelRun:
    """The processes, as seen by the one that forks them."""

    def __init__(self, session: pytest.Session, files: Sequence[TestFile]) -> None:
        self._session, self._files = session, files
        self._pids: dict[Connection, int] = {}
        #: The test that a process has begun.
        self._begun: dict[Connection, pytest.Item] = {}

    def run(self, count: int) -> None:
        """Run all files in so many processes. Raises what pytest raises to stop."""
        is_pure = [file[0].get_closest_marker("pure") is not None for file in self._files]
        queues = [_make_queue([index for index, pure in enumerate(is_pure) if pure is kind]) for kind in (False, True)]
        try:
            for number in range(count):
                self._fork(number, queues[:: -1 if number % 4 == 3 else 1])
            while self._pids:
                for connection in wait(list(self._pids)):
                    assert isinstance(connection, Connection)
                    self._receive(connection)
                self._stop_if_wanted()
            assert not any(os.read(queue, 1) for queue in queues), "no process is left to run the other files"
        finally:
            for queue in queues:
                os.close(queue)
            for pid in self._pids.values():
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)

    def _fork(self, number: int, queues: Sequence[int]) -> None:
        ours, theirs = Pipe(duplex=False)
        pid = os.fork()
        if pid == 0:
            TestProcess(self._session, theirs).run(number, _take_files(self._files, queues))
        theirs.close()
        self._pids[ours] = pid

    def _receive(self, connection: Connection) -> None:
        """Take what a process sends: the index of a test that begins, a report, or nothing any more."""
        try:
            message = connection.recv()
        except EOFError:
            self._end(connection)
            return
        if isinstance(message, int):
            self._begun[connection] = self._session.items[message]
            return
        hook = self._session.config.hook
        report = hook.pytest_report_from_serializable(config=self._session.config, data=message)
        self._show(report)

    def _end(self, connection: Connection) -> None:
        """Fail the test in which a process has ended, if it has not come to its end."""
        _, status = os.waitpid(self._pids.pop(connection), 0)
        if status:
            item = self._begun[connection]
            reason = (
                f"its process ended with {os.waitstatus_to_exitcode(status)}; later tests of this file were not run"
            )
            self._show(pytest.TestReport(item.nodeid, item.location, {}, "failed", reason, "call"))

    def _show(self, report: pytest.TestReport) -> None:
        hook = self._session.config.hook
        hook.pytest_runtest_logreport(report=report)
        hook.pytest_runtest_logfinish(nodeid=report.nodeid, location=report.location)

    def _stop_if_wanted(self) -> None:
        if self._session.shouldfail:
            raise self._session.Failed(self._session.shouldfail)
        if self._session.shouldstop:
            raise self._session.Interrupted(self._session.shouldstop)


class TestProcess:
    """One of the processes."""

    __test__ = False

    def __init__(self, session: pytest.Session, reports: Connection) -> None:
        self._session, self._reports = session, reports
        self._indexes = {item: index for index, item in enumerate(session.items)}

    def run(self, number: int, files: Iterator[TestFile]) -> NoReturn:
        """Run files of tests, and end."""
        status = 1
        try:
            self._prepare(number)
            for item, following in pairwise(chain(chain.from_iterable(files), (None,))):
                assert item
                item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            status = 0
        except BaseException:  # noqa: BLE001 nothing of it may go on in what was forked
            traceback.print_exc()
        finally:
            self._end(status)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> bool:
        """Run a test, and send what became of it; that it was set up and torn down only where that is looked at."""
        options = item.config.option
        is_wanted = options.durations is not None or options.xmlpath
        self._reports.send(self._indexes[item])
        for report in runtestprotocol(item, nextitem=nextitem, log=False):
            if is_wanted or report.when == "call" or not report.passed:
                self._reports.send(item.config.hook.pytest_report_to_serializable(config=item.config, report=report))
        return True

    def _prepare(self, number: int) -> None:
        """Have files, captured output and random numbers of its own."""
        die_with_parent()
        random.seed()
        plugins: Any = self._session.config.pluginmanager
        plugins.register(self)
        capture = plugins.getplugin("capturemanager")
        capture.stop_global_capturing()
        capture.start_global_capturing()
        folders: Any = self._session.config._tmp_path_factory  # type: ignore[attr-defined]
        folders._basetemp = folders.getbasetemp() / f"process-{number}"
        folders._basetemp.mkdir()

    def _end(self, status: int) -> NoReturn:
        """End as the interpreter does, but leave the memory to the kernel: to free it takes seconds."""
        capture: Any = self._session.config.pluginmanager.getplugin("capturemanager")
        capture.stop_global_capturing()
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        os._exit(status)


def _make_queue(indexes: Sequence[int]) -> int:
    """Return a pipe with the indexes of files, from which each process takes the next one."""
    queue, filled = os.pipe()
    os.write(filled, b"".join(index.to_bytes(_INDEX_BYTES, "big") for index in indexes))
    os.close(filled)
    return queue


def _take_files(files: Sequence[TestFile], queues: Sequence[int]) -> Iterator[TestFile]:
    for queue in queues:
        while index := os.read(queue, _INDEX_BYTES):
            yield files[int.from_bytes(index, "big")]
