from __future__ import annotations

import fcntl
import json
import logging
import math
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from argoproxy.config.values.config_error import ConfigError
from argoproxy.telemetry.journal.writer import (
    CLIENT_FILE,
    LOG_FILE,
    SERVER_FILE,
    WARNING_INTERVAL_S,
    JournalFiles,
    encode_line,
)
from argoproxy.telemetry.rotating_file import RotatingFile, rotated_files
from tests.support.processes import ROOT, spawn

FILES = (CLIENT_FILE, SERVER_FILE, LOG_FILE)
START = """
import os, random, signal, sys
from pathlib import Path
from argoproxy.telemetry.journal.writer import JournalFiles
folder, name, count = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
"""
#: Sizes from 1 to 200 KB, most of them small.
WRITE = f"""{START}
journal, sizes = JournalFiles(folder, 4_000_000, 1000), random.Random(name)
for number in range(count):
    text = "x" * int(1000 * 200 ** sizes.random())
    line = {{"logging_id": f"{{name}}-{{number}}", "output": text}}
    journal.write(line, [line] * (number % 3))
sys.exit(journal.lost)
"""
#: Lines of 4 MB, so that a kill most likely cuts one.
WRITE_FOR_EVER = f"""{START}
journal = JournalFiles(folder, 4_000_000, 1000)
line = {{"logging_id": name, "output": "x" * 4_000_000}}
while True:
    journal.write(line, [])
    os.write(1, b"x")
"""
#: What a kill in the middle of a write leaves: half a line, and the lock gone with its holder.
DIE_IN_A_LINE = f"""{START}
import fcntl
file = os.open(folder / "client_interaction.jsonl", os.O_RDWR | os.O_APPEND | os.O_CREAT)
fcntl.flock(file, fcntl.LOCK_EX)
os.write(file, b'{{"logging_id": "hal')
os.kill(os.getpid(), signal.SIGKILL)
"""


class Clock:
    """A clock that goes when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def journal_in(folder: Path, max_bytes: int = 1_000_000, files: int = 5) -> JournalFiles:
    return JournalFiles(folder, max_bytes, files)


def process(code: str, *arguments: object) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return spawn(command, cwd=ROOT, stdout=subprocess.PIPE)


def texts(file: Path) -> list[bytes]:
    """Give the lines of a file and the older ones beside it, oldest first."""
    return [line for part in (*reversed(rotated_files(file)), file) for line in part.read_bytes().splitlines()]


def ids(file: Path) -> list[str]:
    return [json.loads(line)["logging_id"] for line in texts(file)]


def parsed(line: bytes) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Have no file grow beyond a size: what a full disk does, in the middle of a write."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_an_exchange_is_a_line_for_the_client_and_one_for_each_request_upstream(tmp_path: Path) -> None:
    journal = journal_in(tmp_path / "made" / "of two")
    journal.write(
        {"logging_id": "1", "output": "é\n\ud800"}, [{"logging_id": "1", "n": 0}, {"logging_id": "1", "n": 1}]
    )
    journal.write({"logging_id": "2"}, [])
    journal.log("two\nlines\n")
    journal.log("\ud800")
    folder = tmp_path / "made" / "of two"
    assert [json.loads(line) for line in texts(folder / CLIENT_FILE)] == [
        {"logging_id": "1", "output": "é\n\ud800"},
        {"logging_id": "2"},
    ]
    assert [json.loads(line)["n"] for line in texts(folder / SERVER_FILE)] == [0, 1]
    assert texts(folder / LOG_FILE) == [b"two", b"lines", b"\\ud800"]
    assert journal.lost == 0


def test_only_the_owner_may_read_it(tmp_path: Path) -> None:
    journal = journal_in(tmp_path / "logs", max_bytes=10)
    for _ in range(2):
        journal.write({"logging_id": "1"}, [{}])
        journal.log("x")
    assert (tmp_path / "logs").stat().st_mode & 0o777 == 0o700
    assert {file.stat().st_mode & 0o777 for file in (tmp_path / "logs").iterdir()} == {0o600}


def test_a_full_file_is_put_aside_and_the_oldest_is_deleted(tmp_path: Path) -> None:
    line = {"logging_id": "00"}
    journal = journal_in(tmp_path, max_bytes=2 * len(encode_line(line)), files=2)
    for number in range(11):
        journal.write({"logging_id": f"{number:02}"}, [])
    assert ids(tmp_path / CLIENT_FILE) == ["06", "07", "08", "09", "10"]
    assert sorted(file.name for file in tmp_path.iterdir()) == [CLIENT_FILE, f"{CLIENT_FILE}.1", f"{CLIENT_FILE}.2"]


def test_a_line_longer_than_a_file_may_be_has_one_for_itself(tmp_path: Path) -> None:
    journal = journal_in(tmp_path, max_bytes=100)
    for text in ("", "x" * 200, ""):
        journal.write({"logging_id": text}, [])
    assert [len(file.read_bytes().splitlines()) for file in tmp_path.iterdir()] == [1, 1, 1]


@pytest.mark.parametrize(
    ("files", "there", "left"),
    [
        (3, [2, 3], {1: "full", 2: "2", 3: "3"}),
        (3, [1, 3], {1: "full", 2: "1", 3: "3"}),
        (3, [1, 2, 3], {1: "full", 2: "1", 3: "2"}),
        (2, [1, 2, 3, 4, 17], {1: "full", 2: "1"}),
        (1, [1, 2], {1: "full"}),
        (0, [1], {}),
    ],
    ids=["killed before the last step", "killed on the way", "all there", "fewer than before", "one", "none"],
)
def test_rotation_fills_gaps_and_keeps_no_more_than_configured(
    tmp_path: Path, files: int, there: list[int], left: dict[int, str]
) -> None:
    path = tmp_path / "x"
    for number in there:
        (tmp_path / f"x.{number}").write_text(str(number))
    (tmp_path / "x.bak").write_text("not ours")
    path.write_text("full")
    RotatingFile(path, 1, files).append(b"new\n")
    assert path.read_text() == "new\n"
    assert {int(file.suffix[1:]): file.read_text() for file in rotated_files(path)} == left
    assert (tmp_path / "x.bak").exists()


def test_others_notice_that_a_file_was_put_aside(tmp_path: Path) -> None:
    journals = [journal_in(tmp_path, max_bytes=100) for _ in range(3)]
    for number in range(30):
        journals[number % 3].write({"logging_id": f"{number:02}"}, [])
    kept = ids(tmp_path / CLIENT_FILE)
    assert kept == [f"{number:02}" for number in range(30 - len(kept), 30)]
    assert len(rotated_files(tmp_path / CLIENT_FILE)) == 5


def test_threads_share_it(tmp_path: Path) -> None:
    journal = journal_in(tmp_path, max_bytes=20_000, files=1000)

    def write(name: int) -> None:
        for number in range(100):
            journal.write({"logging_id": f"{name}-{number}", "output": "x" * 500}, [])

    threads = [threading.Thread(target=write, args=(name,)) for name in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(ids(tmp_path / CLIENT_FILE)) == sorted(
        f"{name}-{number}" for name in range(8) for number in range(100)
    )
    assert journal.lost == 0


def test_processes_lose_and_double_no_line_across_rotations(tmp_path: Path) -> None:
    count = 60
    workers = [process(WRITE, tmp_path, name, count) for name in range(8)]
    assert [worker.wait() for worker in workers] == [0] * 8
    for worker in workers:
        worker.communicate()
    written = {f"{name}-{number}": number % 3 for name in range(8) for number in range(count)}
    assert Counter(ids(tmp_path / CLIENT_FILE)) == dict.fromkeys(written, 1)
    assert Counter(ids(tmp_path / SERVER_FILE)) == {name: times for name, times in written.items() if times}
    for file in (CLIENT_FILE, SERVER_FILE):
        assert len(rotated_files(tmp_path / file)) > 2
        assert all(part.stat().st_size <= 4_000_000 for part in rotated_files(tmp_path / file))


def test_a_killed_worker_spoils_no_line_of_another(tmp_path: Path) -> None:
    count = 40
    doomed = [process(WRITE_FOR_EVER, tmp_path, "doomed", 0) for _ in range(2)]
    workers = [process(WRITE, tmp_path, name, count) for name in range(3)]
    for worker in doomed:
        assert worker.stdout
        worker.stdout.read(1)
        worker.kill()
        worker.communicate()
    assert [worker.wait() for worker in workers] == [0] * 3
    for worker in workers:
        worker.communicate()
    journal_in(tmp_path, 4_000_000, 1000).write({"logging_id": "last"}, [])
    lines = texts(tmp_path / CLIENT_FILE)
    whole = [line["logging_id"] for line in map(parsed, lines) if line]
    assert len(lines) - len(whole) <= len(doomed)
    written = {*(f"{name}-{number}" for name in range(3) for number in range(count)), "last"}
    assert Counter(whole) == {**dict.fromkeys(written, 1), "doomed": whole.count("doomed")}


def test_half_a_line_is_ended_before_the_next(tmp_path: Path) -> None:
    journal = journal_in(tmp_path)
    journal.write({"logging_id": "1"}, [])
    dying = process(DIE_IN_A_LINE, tmp_path, "", 0)
    dying.communicate()
    assert dying.returncode == -signal.SIGKILL
    journal.write({"logging_id": "2"}, [])
    journal.write({"logging_id": "3"}, [])
    assert [parsed(line) and parsed(line)["logging_id"] for line in texts(tmp_path / CLIENT_FILE)] == [
        "1",
        None,
        "2",
        "3",
    ]


def test_a_disk_that_gets_full_in_a_line_costs_that_line_alone(tmp_path: Path) -> None:
    journal = journal_in(tmp_path)
    line = {"logging_id": "x" * 6000}
    with largest_file(10_000):
        journal.write(line, [])
        journal.write(line, [])
        assert journal.lost == 1
        assert (tmp_path / CLIENT_FILE).read_bytes() == encode_line(line)
    journal.write({"logging_id": "2"}, [])
    assert ids(tmp_path / CLIENT_FILE) == ["x" * 6000, "2"]
    assert journal.lost == 1


def test_a_full_disk_is_counted_and_warned_of_once_a_minute(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    journal = JournalFiles(tmp_path, 1000, 5, clock)

    def warned_of(*, steps: float) -> list[Any]:
        caplog.clear()
        clock.now += steps
        journal.write({"logging_id": "1"}, [{"logging_id": "1"}])
        journal.log("x")
        return [record.args[0] for record in caplog.records if isinstance(record.args, tuple)]

    with largest_file(0):
        assert warned_of(steps=0) == [1]
        assert warned_of(steps=WARNING_INTERVAL_S - 1) == []
        assert warned_of(steps=1) == [6]
    assert warned_of(steps=1) == []
    assert warned_of(steps=WARNING_INTERVAL_S) == [2]
    assert warned_of(steps=WARNING_INTERVAL_S) == []
    assert journal.lost == 9


def test_a_warning_may_go_into_the_log_that_fails(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    journal = journal_in(tmp_path)

    class IntoTheJournal(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            journal.log(self.format(record))

    handler, logger = IntoTheJournal(), logging.getLogger("argoproxy")
    logger.addHandler(handler)
    try:
        with largest_file(0):
            journal.log("x")
    finally:
        logger.removeHandler(handler)
    assert journal.lost == 2
    assert len(caplog.records) == 1


def test_a_deleted_folder_is_created_again(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    journals = [journal_in(folder), journal_in(folder)]
    for journal in journals:
        journal.write({"logging_id": "1"}, [])
    shutil.rmtree(tmp_path / "a")
    for journal in journals:
        journal.write({"logging_id": "2"}, [])
    assert ids(folder / CLIENT_FILE) == ["2", "2"]
    folder.rename(tmp_path / "moved")
    journals[0].write({"logging_id": "3"}, [])
    assert ids(folder / CLIENT_FILE) == ["3"]
    assert ids(tmp_path / "moved" / CLIENT_FILE) == ["2", "2"]
    assert [journal.lost for journal in journals] == [0, 0]


def test_a_file_in_the_folders_place_costs_lines_only(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    journal = journal_in(folder)
    journal.write({"logging_id": "1"}, [])
    shutil.rmtree(folder)
    folder.touch()
    journal.write({"logging_id": "2"}, [{}])
    assert journal.lost == 2
    folder.unlink()
    journal.write({"logging_id": "3"}, [])
    assert ids(folder / CLIENT_FILE) == ["3"]


def test_a_lock_that_is_kept_delays_no_line_for_long(tmp_path: Path) -> None:
    path = tmp_path / "x"
    file = RotatingFile(path, 1000, 5, max_wait_s=0.02)
    with path.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        for _ in range(2):
            with pytest.raises(TimeoutError):
                file.append(b"1\n")
    file.append(b"2\n")
    assert path.read_bytes() == b"2\n"


def test_a_write_that_hangs_holds_no_other_thread_up_for_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = RotatingFile(tmp_path / "x", 1 << 30, 5, max_wait_s=0.02)
    write, started, goes_on = os.write, threading.Event(), threading.Event()

    def hang(descriptor: int, data: bytes) -> int:
        started.set()
        goes_on.wait()
        return write(descriptor, data)

    monkeypatch.setattr(os, "write", hang)
    hanging = threading.Thread(target=file.append, args=(b"1\n",))
    hanging.start()
    started.wait()
    try:
        with pytest.raises(TimeoutError):
            file.append(b"2\n")
    finally:
        goes_on.set()
        hanging.join()
    assert (tmp_path / "x").read_bytes() == b"1\n"


def test_the_folder_is_created_at_the_start(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    journal = journal_in(folder)
    journal.check()
    assert sorted(file.name for file in folder.iterdir()) == sorted(FILES)
    journal.write({"logging_id": "1"}, [])
    journal.check()
    assert ids(folder / CLIENT_FILE) == ["1"]


def test_a_folder_that_cannot_be_written_is_refused_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "logs" / SERVER_FILE).mkdir(parents=True)
    for folder, reason in (("file", "File exists"), ("file/logs", "Not a directory"), ("logs", "Is a directory")):
        with pytest.raises(ConfigError) as refused:
            journal_in(tmp_path / folder).check()
        assert refused.value.mistakes == (f"the log folder {tmp_path / folder} can't be written: {reason}",)
    with pytest.raises(ConfigError):
        journal_in(Path("/proc/self/logs")).check()


@pytest.mark.parametrize("name", FILES)
def test_a_link_is_not_written_through(tmp_path: Path, name: str) -> None:
    victim, folder = tmp_path / "victim", tmp_path / "logs"
    victim.write_text("precious\n")
    folder.mkdir()
    (folder / name).symlink_to(victim)
    journal = journal_in(folder)
    with pytest.raises(ConfigError, match="symbolic link"):
        journal.check()
    journal.write({"logging_id": "1"}, [{"logging_id": "1"}])
    journal.log("x")
    assert journal.lost == 1
    assert victim.read_text() == "precious\n"
    assert victim.stat().st_mode & 0o777 != 0o600


def test_a_link_that_comes_later_is_not_written_through(tmp_path: Path) -> None:
    victim, folder = tmp_path / "victim", tmp_path / "logs"
    victim.write_text("precious\n")
    journal = journal_in(folder)
    journal.write({"logging_id": "1"}, [])
    (folder / CLIENT_FILE).rename(folder / "moved")
    for target in (victim, folder / "moved", tmp_path / "nowhere"):
        (folder / CLIENT_FILE).symlink_to(target)
        journal.write({"logging_id": "2"}, [])
        (folder / CLIENT_FILE).unlink()
    assert (journal.lost, victim.read_text()) == (3, "precious\n")
    assert ids(folder / "moved") == ["1"]
    assert not (tmp_path / "nowhere").exists()
    journal.write({"logging_id": "3"}, [])
    assert ids(folder / CLIENT_FILE) == ["3"]


def test_files_that_were_there_become_their_owners_alone(tmp_path: Path) -> None:
    for name in FILES:
        (tmp_path / name).touch(0o644)
    journal_in(tmp_path).check()
    assert {(tmp_path / name).stat().st_mode & 0o777 for name in FILES} == {0o600}


def test_what_is_no_plain_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / LOG_FILE)
    with pytest.raises(ConfigError, match="regular file"):
        journal_in(tmp_path).check()


def test_a_file_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / SERVER_FILE).touch(0o666)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(ConfigError, match="another user"):
        journal_in(tmp_path).check()
    assert (tmp_path / SERVER_FILE).stat().st_mode & 0o777 != 0o600


def nested(depth: int) -> Any:
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    "odd", [object(), {(): 1}, nested(5000), [*nested(600), math.nan]], ids="object name deep nan".split()
)
def test_a_value_without_json_text_is_replaced_by_an_error(odd: Any) -> None:
    line = json.loads(encode_line({"logging_id": "1", "input": {"a": 1}, "output": odd}))
    assert list(line) == ["logging_id", "input", "output"]
    assert line["input"] == {"a": 1}
    assert list(line["output"]) == ["error"]


def test_lines_are_strict_json() -> None:
    def refuse(name: str) -> None:
        raise AssertionError(name)

    document = {"a": [math.nan, {"b": -math.inf}], "c": "NaN and Infinity"}
    line = json.loads(encode_line(document), parse_constant=refuse)
    assert line == {"a": ["nan", {"b": "-inf"}], "c": "NaN and Infinity"}
    assert encode_line({"a": "Infinity", "b": 1.5}) == b'{"a":"Infinity","b":1.5}\n'


def test_an_unused_journal_keeps_no_file_open(tmp_path: Path) -> None:
    journal = JournalFiles(tmp_path, 1000, 1)
    journal.write({"logging_id": "a"}, [{"logging_id": "a"}])
    journal.log("a")
    before = len(os.listdir("/proc/self/fd"))
    del journal
    assert len(os.listdir("/proc/self/fd")) == before - 3
