"""The file of keys: all or nothing, whoever changes it at the same time, and whenever a process is killed."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from argoproxy.errors import BadRequest, Conflict, StateUnavailable
from argoproxy.protocol.keys.key_changes import Rotation
from argoproxy.protocol.keys.key_record import KeyBook
from argoproxy.protocol.limits.limits import Limits
from argoproxy.stores.keys import key_files
from argoproxy.stores.keys.key_admin import KeyAdmin
from argoproxy.stores.keys.key_transfer import AbsentKeys, export_keys, import_keys
from argoproxy.stores.keys.sqlite_keys import MIGRATIONS, SqliteKeys
from argoproxy.stores.sqlite_file import SqliteFile
from tests.support.processes import PATIENCE_S, ROOT


@pytest.fixture
def store(tmp_path: Path) -> SqliteKeys:
    store = SqliteKeys(tmp_path / "state")
    store.create()
    return store


def admin(store: SqliteKeys) -> KeyAdmin:
    return KeyAdmin(store, "cli:test")


def generation(store: SqliteKeys) -> int:
    return key_files.read_snapshot(store.folder).generation


def run(code: str, folder: Path, *arguments: str) -> subprocess.Popen[bytes]:
    """Run code in a process of its own, with `store` in it."""
    head = (
        "import sys; from pathlib import Path; from argoproxy.stores.keys.sqlite_keys import *;"
        "from argoproxy.stores.keys.key_admin import KeyAdmin; store = SqliteKeys(Path(sys.argv[1]), 30.0);"
        "admin = KeyAdmin(store, 'test')\n"
    )
    return subprocess.Popen([sys.executable, "-c", head + code, str(folder), *arguments], cwd=ROOT)


def test_what_was_created_is_read_again(store: SqliteKeys) -> None:
    created = admin(store).create("ann", {"models": ["a"], "metadata": {"x": "ü"}, "expires": "2099-01-01"})
    again = SqliteKeys(store.folder)
    again.create()
    shown = admin(again).show("ann")
    assert {**shown, "history": [], "key": ""} == {**created, "history": [], "key": ""}
    assert [entry["action"] for entry in shown["history"]] == ["create"]


def test_an_error_changes_nothing(store: SqliteKeys) -> None:
    admin(store).create("ann", {})
    before, number = store.read(), generation(store)

    def fail(book: KeyBook, pepper: bytes) -> tuple[KeyBook, None]:
        raise Conflict("no")

    with pytest.raises(Conflict):
        store.update("test", fail)
    assert (store.read(), generation(store)) == (before, number)


def test_no_change_is_none(store: SqliteKeys) -> None:
    admin(store).create("ann", {"models": ["a"]})
    number = generation(store)
    admin(store).change("ann", {"models": ["a"]})
    assert generation(store) == number
    assert len(admin(store).show("ann")["history"]) == 1


def test_audit_rows_stay(store: SqliteKeys) -> None:
    admin(store).create("ann", {})
    with sqlite3.connect(store.folder / key_files.DATABASE) as database:
        for statement in ("DELETE FROM audit", "UPDATE audit SET actor = 'x'"):
            with pytest.raises(sqlite3.IntegrityError):
                database.execute(statement)
    database.close()


def test_processes_that_change_keys_at_once_lose_nothing(store: SqliteKeys) -> None:
    code = "for number in range(20): admin.create(f'{sys.argv[2]}-{number}', {})"
    running = [run(code, store.folder, f"p{number}") for number in range(4)]
    assert [process.wait(300) for process in running] == [0] * 4
    assert len(store.read().keys) == 80
    assert generation(store) == 80
    assert len(key_files.read_snapshot(store.folder).rows) == 80


def test_a_process_that_is_killed_leaves_whole_changes(store: SqliteKeys) -> None:
    """However far it came: what is published at the next start is what the database holds."""
    code = "import itertools\nfor number in itertools.count(): admin.create(f'{sys.argv[2]}-{number}', {})"
    store = SqliteKeys(store.folder, PATIENCE_S)  # the other process hardly ever lets go of the lock
    for number in range(5):
        seen = len(store.read().keys)
        process = run(code, store.folder, f"p{number}")
        while len(store.read().keys) < seen + 3:
            pass
        process.send_signal(signal.SIGKILL)
        process.wait()
        store.create()
        keys = store.read().keys
        assert all(len(key.secrets) == 1 for key in keys.values())
        index = key_files.read_snapshot(store.folder)
        assert sorted(row[1] for row in index.rows) == sorted(keys)
        assert index.generation == len(keys)


def test_a_migration_that_is_killed_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "file.sqlite3"
    first = [["CREATE TABLE one (a)", "INSERT INTO one VALUES (1)"]]
    with SqliteFile(path, first).exclusive(), SqliteFile(path, first).transaction():
        pass
    code = (
        "import os, signal, sys; from pathlib import Path; from argoproxy.stores.sqlite_file import SqliteFile\n"
        "class Killed(str):\n    pass\n"
        "def statements():\n"
        "    yield 'CREATE TABLE two (b)'\n    yield 'UPDATE one SET a = 2'\n    os.kill(os.getpid(), signal.SIGKILL)\n"
        "file = SqliteFile(Path(sys.argv[1]), [[], statements()])\n"
        "with file.exclusive(), file.transaction(): pass\n"
    )
    assert subprocess.run([sys.executable, "-c", code, str(path)], cwd=ROOT, check=False).returncode == -signal.SIGKILL
    second = SqliteFile(path, [*first, ["CREATE TABLE two (b)", "UPDATE one SET a = a + 2"]])
    with second.exclusive(), second.transaction() as database:
        assert database.execute("SELECT a FROM one").fetchall() == [(3,)]
        assert database.execute("PRAGMA user_version").fetchone() == (2,)


def test_a_newer_file_is_left_alone(store: SqliteKeys) -> None:
    with sqlite3.connect(store.folder / key_files.DATABASE) as database:
        database.execute(f"PRAGMA user_version={len(MIGRATIONS) + 1}")
    database.close()
    with pytest.raises(StateUnavailable, match="newer version"):
        store.read()


def test_parts_that_are_missing(store: SqliteKeys) -> None:
    admin(store).create("ann", {})
    for name in (key_files.PEPPER, key_files.DATABASE):
        file = store.folder / name
        hidden = file.rename(store.folder / "hidden")
        for call in (store.read, store.create):
            with pytest.raises(StateUnavailable):
                call()
        assert not file.exists(), "nothing new takes its place"
        hidden.rename(file)
    assert "ann" in store.read().keys
    (store.folder / key_files.PEPPER).write_text("0" * 64)
    with pytest.raises(StateUnavailable, match="not the one"):
        store.read()
    (store.folder / key_files.PEPPER).write_text("short")
    with pytest.raises(StateUnavailable, match="damaged"):
        store.read()


def test_a_pepper_may_be_provided(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    folder.mkdir()
    (folder / key_files.PEPPER).write_text("ab" * 32)
    SqliteKeys(folder).create()
    assert key_files.read_pepper(folder) == b"ab" * 32


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StateUnavailable, match="missing"):
        SqliteKeys(tmp_path / "none").read()
    (tmp_path / "file").write_text("")
    with pytest.raises(StateUnavailable):
        SqliteKeys(tmp_path / "file").create()


def test_a_locked_file_is_not_waited_for_long(store: SqliteKeys) -> None:
    file = SqliteFile(store.folder / key_files.DATABASE, MIGRATIONS)
    with file.exclusive(), pytest.raises(StateUnavailable, match="locked"):
        SqliteKeys(store.folder, 0.01).read()
    store.read()


def test_a_full_disk_changes_nothing(store: SqliteKeys) -> None:
    """A limit of the size of files stands for the disk."""
    admin(store).create("ann", {})
    before = store.read()
    code = (
        "import resource; from argoproxy.errors import StateUnavailable\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))\n"
        "try: admin.create('bob', {'metadata': {'x': 'y' * 4000}})\n"
        "except StateUnavailable: sys.exit(5)\n"
        # What measures coverage writes its own file at the end.
        "finally: resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))\n"
    )
    for size in (0, 100, 4096, 8192):
        assert run(code, store.folder, str(size)).wait(300) == 5
        assert store.read() == before
        assert len(key_files.read_snapshot(store.folder).rows) == 1
    admin(store).create("bob", {"metadata": {"x": "y" * 4000}})


def test_export_and_import(store: SqliteKeys, tmp_path: Path) -> None:
    manager = admin(store)
    limits = {"rpm": 60, "budget": "5/month", "model_limits": {"m*": {"tpm": 0}}, "reserve": "max"}
    key = manager.create("ann", {"models": ["a"], "expires": "2099-01-01", **limits})["key"]
    manager.rotate("ann", Rotation(3600.0))
    manager.create("bob", {})
    manager.change("bob", {"disabled": True})
    exported = json.loads(json.dumps(export_keys(store)))
    assert key not in json.dumps(exported)
    other = SqliteKeys(tmp_path / "other")
    other.create()
    with pytest.raises(Conflict):
        import_keys(other, "test", exported, AbsentKeys.KEPT)
    assert import_keys(store, "test", exported, AbsentKeys.KEPT) == {"created": [], "changed": []}
    third = tmp_path / "third"
    third.mkdir()
    (third / key_files.PEPPER).write_bytes((store.folder / key_files.PEPPER).read_bytes())
    copy = SqliteKeys(third)
    copy.create()
    assert import_keys(copy, "test", exported, AbsentKeys.KEPT)["created"] == ["ann", "bob"]
    assert copy.read() == store.read()
    plain: dict[str, Any] = {
        "teams": [{"name": "t", "tpm": 9, "model_limits": {"m*": {"rpm": 1}}}],
        "keys": [{"name": "eve", "key": "k-0123456789abcdef", "team": "t"}],
    }
    done = import_keys(copy, "test", plain, AbsentKeys.DISABLED)
    assert done == {"created": ["eve"], "changed": ["ann"]}
    assert admin(copy).show("ann")["state"] == "disabled"
    assert copy.read().teams["t"].limits == Limits(tpm=9, models=(("m*", Limits(rpm=1)),))
    for entry in ({"tpm": -1}, {"model_limits": {"m*": {"rpm": "x"}}}):
        for document in ({"teams": [{"name": "t", **entry}]}, {"keys": [{"name": "eve", **entry}]}):
            with pytest.raises(BadRequest) as caught:
                import_keys(copy, "test", document, AbsentKeys.KEPT)
            assert caught.value.param in entry


def test_limits_that_are_damaged(store: SqliteKeys) -> None:
    admin(store).create("ann", {"rpm": 5})
    with closing(sqlite3.connect(store.folder / key_files.DATABASE)) as database:
        database.execute("UPDATE keys SET limits = ?", ('{"rpm": "many"}',))
        database.commit()
    with pytest.raises(StateUnavailable, match="limits that are not valid"):
        store.read()
    assert key_files.read_snapshot(store.folder).rows, "requests go on with what was published"


def test_the_folder_is_private(store: SqliteKeys) -> None:
    admin(store).create("ann", {})
    modes = {file.name: file.stat().st_mode & 0o777 for file in (store.folder, *store.folder.iterdir())}
    assert modes.pop("state") == 0o700
    assert set(modes.values()) == {0o600}
    if os.geteuid() == 0:
        key_files.hand_over(store.folder, 12345, 12345)
        admin(store).create("bob", {})
        assert {file.stat().st_uid for file in store.folder.iterdir()} == {12345}
