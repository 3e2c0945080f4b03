from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from argoproxy.telemetry.journal.reader import (
    BLOCK_BYTES,
    MAX_IDS,
    LineParser,
    Tail,
    find_ids,
    find_lines,
    open_files,
    read_lines,
)
from argoproxy.telemetry.journal.writer import CLIENT_FILE
from argoproxy.telemetry.rotating_file import RotatingFile
from tests.support.journals import client_file, journal_of


def line(number: int, size: int = 0) -> bytes:
    return json.dumps({"logging_id": str(number), "x": "x" * size}).encode() + b"\n"


def numbers(lines: Iterable[bytes]) -> list[int]:
    return [int(document["logging_id"]) for document in LineParser().parse(lines)]


def all_in(path: Path) -> list[int]:
    with open_files(path) as files:
        return numbers(read_lines(files))


def write(path: Path, max_bytes: int, numbers: Iterable[int]) -> None:
    """Write lines, with all older files kept."""
    file = RotatingFile(path, max_bytes, 1000)
    for number in numbers:
        file.append(line(number))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "x.jsonl"


@pytest.fixture
def tail(path: Path) -> Iterator[Tail]:
    with closing(Tail(path)) as tail:
        yield tail


def test_broken_lines_are_skipped_and_counted() -> None:
    lines = LineParser()
    raw = [line(1), b"\n", b"{half", b"[]\n", b'{"logging_id":5}\n', b"\xff\n", b"[" * 100_000, b'{"a":\0}\n', line(2)]
    assert [document["logging_id"] for document in lines.parse(raw)] == ["1", "2"]
    assert lines.broken == 6


def test_older_files_are_read_first(path: Path) -> None:
    write(path, 100, range(25))
    assert all_in(path) == [*range(25)]
    path.unlink()
    left = all_in(path)
    assert left == [*range(len(left))] != []
    assert all_in(path.with_name("none")) == []


def test_what_is_just_being_written_is_not_there_yet(path: Path) -> None:
    path.write_bytes(line(1) + line(2)[:-1])
    assert all_in(path) == [1]
    path.with_name("x.jsonl.1").write_bytes(line(0)[:-1])
    assert all_in(path) == [0, 1]


def test_files_put_aside_while_they_are_opened_are_neither_missed_nor_met_twice(path: Path) -> None:
    count = 4000
    writing = threading.Thread(target=write, args=(path, 10_000, range(count)))
    writing.start()
    while writing.is_alive():
        read = all_in(path)
        assert read == [*range(len(read))]
    writing.join()
    assert all_in(path) == [*range(count)]


def test_a_tail_misses_nothing_while_files_are_put_aside(path: Path, tail: Tail) -> None:
    count = 4000
    writing = threading.Thread(target=write, args=(path, 10_000, range(count)))
    read = numbers(tail.last_lines(5))
    writing.start()
    while writing.is_alive():
        read += numbers(tail.new_lines())
    writing.join()
    read += [*numbers(tail.new_lines()), *numbers(tail.new_lines())]
    assert read == [*range(count)]


@pytest.mark.parametrize("wanted", [0, 1, 3, 4, 5, 9, 10, 11, 1000])
@pytest.mark.parametrize("size", [0, BLOCK_BYTES // 2, 3 * BLOCK_BYTES])
def test_the_last_lines_are_read_from_the_end(path: Path, tail: Tail, wanted: int, size: int) -> None:
    path.with_name("x.jsonl.2").write_bytes(line(0) + line(1, size) + line(2))
    path.with_name("x.jsonl.1").write_bytes(line(3) + line(4, size) + line(5))
    path.write_bytes(line(6) + line(7, size) + line(8) + line(9) + b'{"half')
    assert numbers(tail.last_lines(wanted)) == [*range(10)][max(0, 10 - wanted) :]
    assert numbers(tail.new_lines()) == []


def test_an_empty_file_has_no_last_lines(path: Path, tail: Tail) -> None:
    path.touch()
    assert numbers(tail.last_lines(3)) == []
    path.write_bytes(line(1))
    assert numbers(tail.new_lines()) == [1]


def test_a_tail_waits_for_a_file_and_for_the_end_of_a_line(path: Path, tail: Tail) -> None:
    assert numbers(tail.last_lines(3)) == []
    assert numbers(tail.new_lines()) == []
    text = line(1) + line(2) + line(3)
    end = len(line(1))
    for cut, come in ((end - 1, []), (2 * end - 5, [1]), (3 * end, [2, 3])):
        path.write_bytes(text[:cut])
        assert numbers(tail.new_lines()) == come


def test_half_a_line_is_read_once_its_file_is_rotated(path: Path, tail: Tail) -> None:
    path.write_bytes(line(1) + b"{half")
    assert numbers(tail.last_lines(3)) == [1]
    path.rename(path.with_name("x.jsonl.1"))
    assert list(tail.new_lines()) == []
    path.write_bytes(line(2))
    assert list(tail.new_lines()) == [b"{half", line(2)]
    assert list(tail.new_lines()) == []


def test_a_tail_reads_files_it_never_saw_in_place(path: Path, tail: Tail) -> None:
    path.write_bytes(line(1))
    assert numbers(tail.last_lines(3)) == [1]
    file = RotatingFile(path, 1, 3)
    for number in (2, 3, 4):
        file.append(line(number))
    assert numbers(tail.new_lines()) == [2, 3, 4]
    for number in range(5, 12):
        file.append(line(number))
    assert numbers(tail.new_lines()) == [8, 9, 10, 11]
    assert numbers(tail.new_lines()) == []


def test_a_tail_continues_in_a_folder_that_was_created_again(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "x"
    path.parent.mkdir()
    path.write_bytes(line(1))
    with closing(Tail(path)) as tail:
        assert numbers(tail.last_lines(3)) == [1]
        shutil.rmtree(path.parent)
        assert numbers(tail.new_lines()) == []
        path.parent.touch()
        assert numbers(tail.new_lines()) == []
        path.parent.unlink()
        path.parent.mkdir()
        path.write_bytes(line(2))
        assert numbers(tail.new_lines()) == [2]


def test_a_file_that_was_emptied_is_read_from_its_start(path: Path, tail: Tail) -> None:
    path.write_bytes(line(1) + line(2))
    assert numbers(tail.last_lines(3)) == [1, 2]
    os.truncate(path, 0)
    with path.open("ab") as file:
        file.write(line(3))
    assert numbers(tail.new_lines()) == [3]


def test_ids_are_found_by_how_they_begin(tmp_path: Path) -> None:
    quoting = {"logging_id": "ca", "input": 'what is {"logging_id":"ab1"}?'}
    path = journal_of(tmp_path, *(({"logging_id": name}, []) for name in ("ab1", "ab2", "ab", "b")), (quoting, []))
    path /= CLIENT_FILE
    assert sorted(find_ids(path, "a")) == ["ab", "ab1", "ab2"]
    assert find_ids(path, "c") == {"ca": quoting}
    assert find_ids(path, "ab1") == {"ab1": {"logging_id": "ab1"}}
    assert find_ids(path, "ab") == {"ab": {"logging_id": "ab"}}
    assert find_ids(path, "x") == find_ids(path.with_name("none"), "x") == {}
    many = client_file(tmp_path, map(str, range(1000, 1100)))
    assert len(find_ids(many, "10")) == MAX_IDS


def test_the_lines_of_an_id_are_found_across_files_in_their_order(tmp_path: Path) -> None:
    def lines(name: str, count: int) -> list[dict[str, object]]:
        return [{"logging_id": name, "number": number} for number in range(count)]

    path = journal_of(tmp_path, *(({}, lines(name, 3)) for name in ("a", "b", "bb", "c"))) / "server_interaction.jsonl"
    assert find_lines(path, "b") == lines("b", 3)
    assert find_lines(path, "a") == lines("a", 3)
    assert find_lines(path, "x") == []
