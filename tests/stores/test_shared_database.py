"""What a host does with the database of all replicas. With a real one: tests/scale/."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from argoproxy.config.values.config_error import ConfigError
from argoproxy.errors import AuthenticationError, StateUnavailable
from argoproxy.protocol.keys.key_record import KeyBook, KeyRecord, SecretDigest
from argoproxy.protocol.keys.key_token import digest_of
from argoproxy.stores.keys.key_ring import KeyRing
from argoproxy.stores.limit_store import LedgerEntry, Reservation
from argoproxy.stores.local.ledger_outbox import LedgerOutbox
from argoproxy.stores.local.local_limits import LocalLimits
from argoproxy.stores.postgres.host_task import HostTask, LastSuccess
from argoproxy.stores.postgres.key_follower import KeyFollower
from argoproxy.stores.postgres.key_publisher import KeyPublisher, SharedKeys
from argoproxy.stores.postgres.ledger_delivery import BATCH, LedgerDelivery
from argoproxy.stores.postgres.postgres_schema import RefusedRows
from tests.support.processes import eventually

NOW = 1_795_400_000.0
PEPPER = b"0123456789abcdef" * 4
HEADERS = (("Authorization", "Bearer k-0123456789abcdef"),)
AWAY = StateUnavailable("The database of keys and usage can't be used now: it is away.")


def make_book(*names: str) -> KeyBook:
    secret = SecretDigest(digest_of(PEPPER, b"k-0123456789abcdef"), "", NOW, None, "")
    return KeyBook({name: KeyRecord(name, name, NOW, (secret,)) for name in names}, {})


class Keys:
    """The keys of all replicas, as a test sets them."""

    def __init__(self) -> None:
        self.stamp, self.book, self.trouble, self.reads = "1", make_book("ann"), False, 0

    def read_stamp(self) -> str:
        if self.trouble:
            raise AWAY
        return self.stamp

    def read_shared(self) -> SharedKeys:
        self.reads += 1
        return SharedKeys(1, self.read_stamp(), PEPPER, self.book)


def follow(keys: Keys, folder: Path, grace_s: float = 60.0) -> KeyFollower:
    return KeyFollower(keys, KeyPublisher(folder), grace_s, lambda: None, lambda: None)


def test_keys_are_published_when_they_have_changed(tmp_path: Path) -> None:
    keys = Keys()
    follower = follow(keys, tmp_path / "keys")
    for _ in range(3):
        follower.step()
    assert keys.reads == 1
    ring = KeyRing(tmp_path / "keys", ())
    assert ring.authenticate(HEADERS).name == "ann"
    keys.book, keys.stamp = make_book(), "2"
    follower.step()
    with pytest.raises(AuthenticationError):
        ring.authenticate(HEADERS)


def test_known_keys_stay_valid_for_their_grace(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    keys = Keys()
    patient, strict = follow(keys, tmp_path), follow(keys, tmp_path, grace_s=-1.0)
    patient.step()
    ring = KeyRing(tmp_path, ())
    keys.trouble = True
    for _ in range(3):
        patient.step()
    assert caplog.text.count("code=shared_keys_unavailable") == 1
    assert ring.authenticate(HEADERS).name == "ann"
    for _ in range(3):
        strict.step()
    assert caplog.text.count("code=shared_keys_withdrawn") == 1
    assert ring.find_fault()
    with pytest.raises(StateUnavailable):
        ring.authenticate(HEADERS)
    keys.trouble = False
    strict.step()
    assert "code=shared_keys_available" in caplog.text
    assert ring.authenticate(HEADERS).name == "ann"
    assert not ring.find_fault()


def test_keys_that_can_not_be_declared_stop_no_others(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def declare() -> None:
        raise ConfigError(["keys: a mistake"])

    KeyFollower(Keys(), KeyPublisher(tmp_path), 60.0, declare, lambda: None).step()
    assert "code=keys_not_declared" in caplog.text
    assert KeyRing(tmp_path, ()).authenticate(HEADERS).name == "ann"


def test_a_pepper_that_differs_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "keys.pepper").write_bytes(b"f" * 64)
    KeyPublisher(tmp_path).publish(Keys().read_shared)
    assert (tmp_path / "keys.pepper").read_bytes().strip() == PEPPER


class Database:
    """Remembers the ids of the entries that are written; refuses some."""

    def __init__(self, *refused: str) -> None:
        self.ids: list[str] = []
        self.trouble, self.closed, self._refused = False, False, refused
        self.rowcount = 0

    def execute(self, query: str, params: Any = None) -> None:
        ids = params[0]
        if set(ids) & set(self._refused):
            raise RefusedRows("A value is refused.")
        self.ids += ids

    def write(self, work: Any) -> Any:
        if self.trouble:
            raise AWAY
        return work(self)

    read = write

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def limits(tmp_path: Path) -> Iterator[LocalLimits]:
    store = LocalLimits(tmp_path)
    yield store
    store.close()


def serve(limits: LocalLimits, *ids: str) -> None:
    for request_id in ids:
        entry = LedgerEntry(request_id, NOW, "k", "ann", "", "m", "up")
        limits.admit(Reservation((), entry, 0), NOW)
        limits.settle(request_id, {}, entry, NOW)


def deliver(
    limits: LocalLimits, database: Database, folder: Path, dropped: Counter[str], most_kept: int = 1000
) -> LedgerDelivery:
    def count_dropped(reason: str, count: int) -> None:
        dropped[reason] += count

    delivered = LastSuccess(folder / "delivered")
    return LedgerDelivery(LedgerOutbox(limits), database, most_kept, delivered, count_dropped)


def test_entries_are_moved_once(limits: LocalLimits, tmp_path: Path) -> None:
    database = Database()
    dropped = Counter[str]()
    delivery = deliver(limits, database, tmp_path, dropped)
    assert dict(dropped) == {"backlog": 0, "refused": 0}
    ids = [f"r{number:04}" for number in range(BATCH + 3)]
    limits.write(lambda file: file.execute("PRAGMA synchronous"), NOW)
    serve(limits, *ids)
    delivery.step()
    delivery.finish()
    assert database.ids == ids
    assert LastSuccess(tmp_path / "delivered").age_s is not None
    delivery.close()
    assert database.closed


def test_entries_wait_while_the_database_is_away(
    limits: LocalLimits, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    database = Database()
    database.trouble = True
    dropped = Counter[str]()
    delivery = deliver(limits, database, tmp_path, dropped, most_kept=3)
    serve(limits, "a", "b", "c")
    delivery.step()
    assert "ledger_entries_dropped" not in caplog.text
    serve(limits, "d", "e")
    delivery.step()
    assert "code=ledger_entries_dropped count=2" in caplog.text
    assert dict(dropped) == {"backlog": 2, "refused": 0}
    assert caplog.text.count("code=ledger_not_delivered") == 1
    database.trouble = False
    delivery.step()
    assert database.ids == ["c", "d", "e"]
    assert "code=ledger_delivered" in caplog.text


def test_an_entry_that_is_refused_stops_no_other(
    limits: LocalLimits, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    database = Database("b")
    serve(limits, "a", "b", "c")
    dropped = Counter[str]()
    deliver(limits, database, tmp_path, dropped).step()
    assert database.ids == ["a", "c"]
    assert "code=ledger_entries_dropped count=1" in caplog.text
    assert dict(dropped) == {"backlog": 0, "refused": 1}


class Steps:
    """Counts what it is asked for."""

    def __init__(self) -> None:
        self.steps, self.finished, self.closed = 0, 0, 0
        self.stepped = threading.Event()

    def step(self) -> float:
        self.steps += 1
        self.stepped.set()
        if self.steps == 1:
            raise ValueError("the first one fails")
        return 0.001

    def finish(self) -> None:
        self.finished += 1

    def close(self) -> None:
        self.closed += 1


def test_one_worker_does_it_and_another_takes_over(tmp_path: Path) -> None:
    first, second = Steps(), Steps()
    tasks = [HostTask(tmp_path / "host" / "task.lock", steps) for steps in (first, second)]
    tasks[0].start()
    eventually(lambda: first.steps > 2)
    tasks[1].start()
    seen = first.steps
    eventually(lambda: first.steps > seen)
    assert second.steps == 0
    tasks[0].stop()
    assert (first.finished, first.closed) == (0, 1)
    eventually(lambda: second.steps > 2)
    tasks[1].finish()
    assert (second.finished, second.closed) == (1, 1)


def test_a_success_that_never_was_has_no_age(tmp_path: Path) -> None:
    assert LastSuccess(tmp_path / "missing").age_s is None
