"""What a process reads that is no worker: the same as the workers, and it changes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from argoproxy.protocol.resilience.failures import FailureKind
from argoproxy.protocol.resilience.waiting import PlaceLimits, Pool, hash_name
from argoproxy.shared_state.mapped_file import ObservedFile
from argoproxy.shared_state.state_observer import UNUSED, StateObserver
from argoproxy.shared_state.upstream_memory import SharedMemory
from argoproxy.shared_state.upstream_state import UpstreamState
from argoproxy.telemetry.slots import Slots, make_folder

URLS = ("http://one/",)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found = make_folder([tmp_path])
    assert found
    return found


def take_slot(folder: Path) -> int:
    slots = Slots(folder)
    with slots.exclusive():
        return slots.take()


def test_an_upstream_that_nobody_asked_is_closed(folder: Path) -> None:
    assert StateObserver(folder).describe("one", URLS) == UNUSED
    assert not list(folder.glob("shared-*"))


def test_the_state_is_that_of_the_workers(folder: Path) -> None:
    state = UpstreamState("one", SharedMemory(folder, take_slot(folder)).of("one", URLS))
    open_attempt = state.force("m1")
    for _ in range(3):
        state.force("m1").fail(FailureKind.SERVER_ERROR)
    seen, own = StateObserver(folder).describe("one", URLS), state.describe()
    assert (seen["models"]["m1"]["reason"], seen["openings"]) == ("server_error", 1)
    assert (seen["state"], seen["open_streams"]) == (own["state"], own["open_streams"])
    open_attempt.close()
    assert StateObserver(folder).describe("one", URLS)["open_streams"] == own["open_streams"] - 1


def test_what_waits_for_a_place_is_counted(folder: Path) -> None:
    places = SharedMemory(folder, take_slot(folder)).places
    places.most_waiting = 5
    limits = PlaceLimits((Pool(hash_name("one"), 1),), 5, 60.0)
    tickets = [places.take(1, [limits]) for _ in range(3)]
    observer = StateObserver(folder)
    assert (observer.describe("one", URLS)["waiting"], observer.describe("two", URLS)["waiting"]) == (2, 0)
    for ticket in tickets:
        if ticket:
            ticket.release()


def test_a_file_that_is_no_memory_is_refused(folder: Path) -> None:
    for content in (b"", bytes(8 * 512)):
        (folder / "odd").write_bytes(content)
        with pytest.raises(OSError, match="another"):
            ObservedFile(folder / "odd", 0, 0)
