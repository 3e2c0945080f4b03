"""What a worker tells the console: only while that is open, and nothing of a worker that has ended."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from argoproxy.errors import Ending
from argoproxy.telemetry.live.live_files import ENDED, MARK, OPEN, WATCHED_S, LiveFolder, OpenRequest, encode, join
from argoproxy.telemetry.live.live_requests import LONGEST_NAME, MOST_ENDED, LiveRequests
from argoproxy.telemetry.outcome import Outcome
from argoproxy.telemetry.slots import Slots
from tests.support.processes import ROOT, spawn


@dataclass
class Asked:
    id: str
    model: str = "m1"


def describe(request: Asked, now: float) -> OpenRequest:
    return {
        "id": request.id,
        "at": now,
        "model": request.model,
        "sent_model": "",
        "upstream": "up",
        "key": "",
        "phase": "asked",
        "is_stream": True,
        "elapsed_ms": 0.0,
        "first_byte_ms": None,
        "silent_ms": 0.0,
        "bytes_sent": 0,
        "tokens": None,
    }


def ended(number: int, model: str = "m1") -> Outcome:
    return Outcome(
        id=str(number),
        client_request_id="",
        method="POST",
        route="/v1/chat/completions",
        path="/v1/chat/completions",
        model=model,
        upstream="up",
        key="",
        send_mode="stream",
        return_mode="stream",
        status=200,
        ending=Ending.COMPLETE,
        code=None,
        first_byte_s=0.25,
        overhead_s=None,
        total_s=1.5,
        bytes_sent=10,
        prompt_tokens=3,
        completion_tokens=None,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder in which this process holds slot 0."""
    slots = Slots(tmp_path)
    with slots.exclusive():
        assert slots.take() == 0
    return tmp_path


@pytest.fixture
def live(folder: Path) -> LiveRequests[Asked]:
    made = LiveRequests[Asked](folder, 0, describe)
    made._start = lambda: None  # type: ignore[method-assign]  # the test publishes
    return made


def test_nothing_is_written_while_nothing_looks(folder: Path, live: LiveRequests[Asked]) -> None:
    live.begin("1", Asked("1"))
    live.publish()
    assert not list(folder.glob("live-*"))


def test_a_request_is_open_until_its_outcome(folder: Path, live: LiveRequests[Asked]) -> None:
    reader = LiveFolder(folder)
    assert reader.look(OPEN) == []
    for number in (1, 2):
        live.begin(str(number), Asked(str(number)))
    live.publish()
    assert [one["id"] for one in reader.look(OPEN)] == ["1", "2"]
    assert reader.look(ENDED) == []
    live(ended(1))
    live.publish()
    assert [one["id"] for one in reader.look(OPEN)] == ["2"]
    assert [(one["id"], one["ending"]) for one in reader.look(ENDED)] == [("1", "complete")]
    assert not list(folder.glob("*.new"))


def test_only_the_last_requests_are_remembered(folder: Path, live: LiveRequests[Asked]) -> None:
    reader = LiveFolder(folder)
    reader.look(ENDED)
    for number in range(MOST_ENDED + 10):
        live(ended(number))
    live.publish()
    assert [one["id"] for one in reader.look(ENDED)] == [str(number) for number in range(10, MOST_ENDED + 10)]
    live(ended(9999))
    live.publish()
    assert reader.look(ENDED)[-1]["id"] == "9999"


def test_files_go_when_nothing_looks_any_more(folder: Path, live: LiveRequests[Asked]) -> None:
    reader = LiveFolder(folder)
    reader.look(OPEN)
    live.begin("1", Asked("1"))
    live.publish()
    assert reader.look(OPEN)
    long_ago = time.time() - WATCHED_S - 1
    os.utime(folder / MARK, (long_ago, long_ago))
    live.publish()
    assert [file.name for file in folder.glob("live-*")] == [MARK]
    os.utime(folder / MARK)
    live.publish()
    assert [one["id"] for one in reader.look(OPEN)] == ["1"]
    assert reader.look(ENDED) == []


def test_a_worker_that_takes_a_slot_removes_what_the_one_before_has_left(
    folder: Path, live: LiveRequests[Asked]
) -> None:
    reader = LiveFolder(folder)
    reader.look(OPEN)
    live.begin("1", Asked("1"))
    live.publish()
    LiveRequests[Asked](folder, 0, describe)
    assert reader.look(OPEN) == []


def test_requests_of_a_worker_that_was_killed_are_not_read(tmp_path: Path) -> None:
    LiveFolder(tmp_path).look(OPEN)
    code = """
import pathlib, sys
from argoproxy.telemetry.slots import Slots
folder = pathlib.Path(sys.argv[1])
with Slots(folder).exclusive():
    assert Slots(folder).take() == 0
(folder / "live-open-0").write_text(sys.argv[2])
print("ready", flush=True)
sys.stdin.read()
"""
    command = [sys.executable, "-c", code, str(tmp_path), join([encode(describe(Asked("1"), 1.0))])]
    with spawn(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as worker:
        assert worker.stdout
        assert worker.stdout.readline() == b"ready\n"
        assert [one["id"] for one in LiveFolder(tmp_path).look(OPEN)] == ["1"]
        worker.kill()
        worker.wait()
    assert LiveFolder(tmp_path).look(OPEN) == []


@pytest.mark.parametrize("text", ["", "[", '[{"id"', "\x00"])
def test_what_can_not_be_read_is_left_out(folder: Path, text: str) -> None:
    (folder / f"{OPEN}-0").write_text(text)
    assert LiveFolder(folder).look(OPEN) == []


@pytest.mark.parametrize("text", ['[{"id":"a","new":1}]', '{"a":1}', '["a"]', "1", "null"])
@pytest.mark.parametrize("name", [OPEN, ENDED])
def test_requests_of_another_version_are_left_out(folder: Path, name: str, text: str) -> None:
    reader = LiveFolder(folder)
    reader.write(name, 0, text)
    assert reader.look(name) == []


@pytest.mark.parametrize("model", ["x" * 10_000, "\ud800", "</script>", '"\\\n', "模型"])
def test_names_that_clients_choose_come_through(folder: Path, live: LiveRequests[Asked], model: str) -> None:
    reader = LiveFolder(folder)
    reader.look(OPEN)
    live.begin("1", Asked("1", model))
    live(ended(2, model))
    live.publish()
    shown = {reader.look(name)[0]["model"] for name in (OPEN, ENDED)}
    assert shown == {model[:LONGEST_NAME]}


def test_what_can_not_be_brought_up_to_date_is_taken_away(folder: Path, live: LiveRequests[Asked]) -> None:
    reader = LiveFolder(folder)
    reader.look(OPEN)
    live.begin("1", Asked("1"))
    live.publish()
    assert reader.look(OPEN)
    (folder / f"{ENDED}-0.new").mkdir()  # can't be written
    live(ended(2))
    with pytest.raises(IsADirectoryError):
        live.publish()
    assert reader.look(OPEN) == []
    (folder / f"{ENDED}-0.new").rmdir()
    live.publish()
    assert [one["id"] for one in reader.look(OPEN)] == ["1"]
    assert [one["id"] for one in reader.look(ENDED)] == ["2"]


def test_a_folder_that_is_gone_is_no_error(tmp_path: Path) -> None:
    assert LiveFolder(tmp_path / "gone").look(OPEN) == []
