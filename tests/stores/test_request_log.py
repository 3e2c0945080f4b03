"""The log of a worker: what it says wherever it ends, and how a full file is followed by another one."""

from __future__ import annotations

import marshal
from http import HTTPStatus
from pathlib import Path

import pytest

from argoproxy.protocol.limits.limits import Claim, LimitKind
from argoproxy.stores.limit_store import LedgerEntry, Reservation
from argoproxy.stores.local import request_log
from argoproxy.stores.local.counter_table import CounterTable
from argoproxy.stores.local.request_log import (
    EMPTY,
    LogContent,
    RequestLog,
    encode_running,
    encode_settled,
    logged_slots,
)
from tests.support.full_disk import full_disk

CLAIMS = [
    Claim("key:a/rpm", LimitKind.RPM, "key:a", 5, 1),
    Claim("key:a/budget/2026-11", LimitKind.BUDGET, "key:a", 10**17, 10**9, 1_796_083_200.0),
]


def entry(number: int, model: str = "m") -> LedgerEntry:
    return LedgerEntry(str(number), 1.5, "a", "ann", "", model, "up", prompt_tokens=number)


def running(number: int) -> Reservation:
    return Reservation(CLAIMS, entry(number, "\ud800é\n"), 7)


@pytest.fixture
def table(tmp_path: Path) -> CounterTable:
    return CounterTable(tmp_path / "counters")


def write(log: RequestLog, table: CounterTable, record: bytes, *needed: bytes) -> None:
    table.log_ends[log.slot] = log.append(record, lambda: needed)


def test_it_tells_what_runs_and_what_ended(tmp_path: Path, table: CounterTable) -> None:
    log = RequestLog(tmp_path, 3, table)
    assert log.read() == LogContent()
    more = running(1)._replace(claims=CLAIMS[:1])
    for record in (encode_running(running(0)), encode_running(more), encode_running(running(1))):
        write(log, table, record)
    write(log, table, encode_settled("0", entry(0)))
    write(log, table, encode_settled("9", None))
    content = RequestLog(tmp_path, 3, table).read()
    assert content.settled == {"0": entry(0)}
    assert list(content.open) == ["1"]
    request = content.open["1"]
    assert (list(request.claims), request.abandoned_tokens, request.if_abandoned) == (
        CLAIMS,
        7,
        running(1).if_abandoned,
    )
    assert logged_slots(tmp_path) == {3}


def test_values_of_other_types_are_written_as_what_they_are(tmp_path: Path, table: CounterTable) -> None:
    """A plug-in may name its upstream with a member of an enum, or with a text that is half of a character."""
    for upstream in (LimitKind.RPM, "\ud83d"):
        log, plain = RequestLog(tmp_path, 0, table), entry(1)._replace(upstream=str(upstream))
        odd = plain._replace(upstream=upstream, status=HTTPStatus.OK)
        write(log, table, encode_running(running(0)._replace(if_abandoned=odd)))
        write(log, table, encode_settled("2", odd))
        content = log.read()
        assert content.open["1"].if_abandoned == content.settled["2"] == plain._replace(status=200)
        log.remove()


def test_a_record_of_another_version_is_passed_over(tmp_path: Path, table: CounterTable) -> None:
    log = RequestLog(tmp_path, 0, table)
    for record in (marshal.dumps(7), marshal.dumps(()), marshal.dumps(([("a", "b")], 1, ("c",)))):
        write(log, table, record)
        write(log, table, encode_settled("0", entry(0)))
        assert log.read() == LogContent(settled={"0": entry(0)})


def test_what_is_not_counted_in_is_not_there(tmp_path: Path, table: CounterTable) -> None:
    """A record counts with the word of the table behind it, and not before."""
    log = RequestLog(tmp_path, 0, table)
    write(log, table, encode_running(running(0)))
    log.append(encode_running(running(1)), tuple)
    assert list(log.read().open) == ["0"]
    table.log_ends[0] = EMPTY
    assert log.read() == LogContent()


def test_without_its_end_all_records_count_that_are_whole(tmp_path: Path, table: CounterTable) -> None:
    log, ends = RequestLog(tmp_path, 0, table), list[int]()
    for number in range(3):
        write(log, table, encode_running(running(number)))
        ends.append(table.log_ends[0] & 0xFFFFFF)
    (file,) = tmp_path.glob("requests-0-*")
    text = file.read_bytes()
    table.log_ends[0] = 0
    for cut in range(ends[-1] + 1):
        file.write_bytes(text[:cut])
        assert len(log.read().open) == sum(end <= cut for end in ends)
    file.write_bytes(text[: ends[-1] - 20] + b"?" * 20 + bytes(100))
    assert list(log.read().open) == ["0", "1"]


def test_a_full_file_is_followed_by_what_is_needed(
    tmp_path: Path, table: CounterTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two files are used by turns; what is left in one of an earlier turn is never read, also without an end."""
    monkeypatch.setattr(request_log, "MIN_BYTES", 4096)
    log, kept = RequestLog(tmp_path, 0, table), encode_running(running(0))
    write(log, table, kept)
    turns = set()
    for number in range(1, 200):
        write(log, table, encode_settled(str(number), entry(number)), kept)
        turns.add(table.log_ends[0] >> 40)
        content = log.read()
        assert list(content.open) == ["0"]
        assert content.settled[str(number)] == entry(number)
        assert RequestLog(tmp_path, 0, CounterTable(tmp_path / f"lost-{number}")).read() == content
    assert turns == set(range(1, max(turns) + 1))
    assert len(turns) > 3
    assert len(list(tmp_path.glob("requests-0-*"))) == 2


def test_a_turn_that_did_not_come_to_count_changes_nothing(tmp_path: Path, table: CounterTable) -> None:
    """As often as a worker is killed that begins one: what counts stays as it is, and the next one is read later."""
    log = RequestLog(tmp_path, 0, table)
    write(log, table, encode_running(running(0)))
    for _ in range(3):
        RequestLog(tmp_path, 0, table).begin_turn([encode_running(running(1))])
        assert list(RequestLog(tmp_path, 0, table).read().open) == ["0"]
    table.log_ends[0] = RequestLog(tmp_path, 0, table).begin_turn([encode_running(running(2))])
    assert list(log.read().open) == ["2"]
    table.log_ends[0] = 0
    assert list(log.read().open) == ["2"]
    RequestLog(tmp_path, 0, table).begin_turn([encode_running(running(3))])
    assert list(log.read().open) == ["3"]


def test_a_full_disk_needs_no_other_file(tmp_path: Path, table: CounterTable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_log, "MIN_BYTES", 4096)
    log, record = RequestLog(tmp_path, 0, table), encode_settled("1", entry(1))
    log.allocate()
    assert {file.stat().st_size for file in tmp_path.glob("requests-*")} == {4096}
    with full_disk(tmp_path):
        for _ in range(200):
            write(log, table, record)
        with pytest.raises(OSError, match="too large"):
            write(log, table, encode_settled("2", entry(2, "x" * 100_000)))
        write(log, table, record)
    assert list(log.read().settled) == ["1"]


def test_a_large_record_has_a_file_that_is_large_enough(tmp_path: Path, table: CounterTable) -> None:
    log = RequestLog(tmp_path, 0, table)
    model = "x" * 2_000_000
    write(log, table, encode_settled("1", entry(1, model)))
    assert log.read().settled["1"].model == model
    log.remove()
    assert not list(tmp_path.glob("requests-*"))
