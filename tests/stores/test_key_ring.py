"""What a worker accepts, and which headers never leave it."""

from __future__ import annotations

from pathlib import Path

import pytest

from argoproxy.errors import AuthenticationError, Conflict
from argoproxy.protocol.access.auth import Key
from argoproxy.protocol.access.secrets import Secret
from argoproxy.protocol.http_messages import Headers
from argoproxy.protocol.keys.key_changes import Rotation
from argoproxy.protocol.keys.key_token import make_token
from argoproxy.protocol.limits.limits import Limits
from argoproxy.stores.keys import key_files
from argoproxy.stores.keys.declared_keys import prepare_keys
from argoproxy.stores.keys.key_admin import KeyAdmin
from argoproxy.stores.keys.key_ring import AdminAccess, KeyRing
from argoproxy.stores.keys.key_transfer import AbsentKeys, import_keys
from argoproxy.stores.keys.sqlite_keys import SqliteKeys
from tests.support.configs import load_text

STATIC = Key("old", Secret("k-static-0123456789"))
FOREIGN = "sk-foreign-0123456789"


@pytest.fixture
def store(tmp_path: Path) -> SqliteKeys:
    store = SqliteKeys(tmp_path / "state")
    store.create()
    import_keys(store, "test", {"keys": [{"name": "eve", "key": FOREIGN}]}, AbsentKeys.KEPT)
    return store


def bearer(key: str) -> Headers:
    return (("Authorization", f"Bearer {key}"),)


def test_static_and_managed_keys(store: SqliteKeys) -> None:
    ring = KeyRing(store.folder, [STATIC])
    key = KeyAdmin(store, "test").create("ann", {})["key"]
    names = [
        ring.authenticate(headers).name
        for headers in (bearer(key), bearer(STATIC.secret.text), (("X-API-Key", FOREIGN),))
    ]
    assert names == ["ann", "old", "eve"]
    for headers in ((), bearer(""), bearer(key[:-1]), bearer("\u00fc\udcff"), (("Cookie", key),)):
        with pytest.raises(AuthenticationError):
            ring.authenticate(headers)


def test_no_header_with_one_of_our_keys_goes_on(store: SqliteKeys) -> None:
    ring = KeyRing(store.folder, [STATIC])
    unknown = make_token("a" * 12, b"x" * 32)
    ours: Headers = (
        ("Authorization", f"Bearer {FOREIGN}"),
        ("X-Copy", f"it is {FOREIGN}, you know"),
        ("X-Trace", f"key={unknown}"),
        ("Cookie", f"session={FOREIGN}"),
        ("X-Api-Key", STATIC.secret.text),
    )
    theirs: Headers = (("Api-Key", "theirs-0123456789"), ("X-Other", "o"))
    assert ring.without_credentials((*ours, *theirs)) == theirs
    query = f"a=1&key={FOREIGN}&x={unknown}&y={STATIC.secret.text}&api_key=theirs"
    assert ring.query_without_credentials(query) == "a=1&api_key=theirs"
    assert ring.query_without_credentials("") == ""


def test_a_folder_that_comes_later(tmp_path: Path) -> None:
    ring = KeyRing(tmp_path / "state", [])
    with pytest.raises(AuthenticationError):
        ring.authenticate(bearer(FOREIGN))
    assert ring.find_fault()
    store = SqliteKeys(tmp_path / "state")
    store.create()
    assert not ring.find_fault()
    key = KeyAdmin(store, "test").create("ann", {})["key"]
    assert ring.authenticate(bearer(key)).name == "ann"
    (store.folder / key_files.SNAPSHOT).unlink()
    assert ring.authenticate(bearer(key)).name == "ann"
    assert not ring.find_fault()
    assert KeyRing(store.folder, []).find_fault()


def subjects(ring: KeyRing, key: str) -> dict[str, Limits]:
    return {one.name.partition(":")[0]: one.limits for one in ring.authenticate(bearer(key)).subjects}


def test_cached_key_loses_limits(store: SqliteKeys) -> None:
    """Each request knows the limits of its key, also of one that was found before; a change holds for the next one."""
    ring, admin = KeyRing(store.folder, [STATIC]), KeyAdmin(store, "test")
    key = admin.create("ann", {"rpm": 5})["key"]
    assert [subjects(ring, key) for _ in range(2)] == [{"key": Limits(rpm=5)}] * 2
    admin.change("ann", {"tpm": 7})
    assert subjects(ring, key) == {"key": Limits(rpm=5, tpm=7)}
    admin.rotate("ann", Rotation(60.0))
    assert subjects(ring, key) == {"key": Limits(rpm=5, tpm=7)}, "limits are those of the key, not of its text"
    admin.change("ann", {"rpm": None, "tpm": None})
    assert subjects(ring, key) == {}
    assert subjects(ring, STATIC.secret.text) == {}


def test_limits_of_the_config_file(tmp_path: Path) -> None:
    file = (
        "target_base_url: http://localhost:8000/v1\nenable_auth: true\nstate_path: state\n"
        f"teams: {{t: {{tpm: 7}}}}\nkeys: {{eve: {{key: {FOREIGN}, team: t, rpm: 5}}}}\n"
    )
    prepare_keys(load_text(tmp_path, file))
    ring = KeyRing(tmp_path / "state", [])
    assert subjects(ring, FOREIGN) == {"key": Limits(rpm=5), "team": Limits(tpm=7)}
    with pytest.raises(Conflict):
        KeyAdmin(SqliteKeys(tmp_path / "state"), "test").change("eve", {"rpm": 500})
    prepare_keys(load_text(tmp_path, file.replace("tpm: 7", "tpm: 9").replace(", rpm: 5", "")))
    assert subjects(ring, FOREIGN) == {"team": Limits(tpm=9)}, "the file says all"


def test_time_passes(store: SqliteKeys) -> None:
    now = [0.0]
    admin = KeyAdmin(store, "test")
    key = admin.create("ann", {"expires": "1h"})["key"]
    ring = KeyRing(store.folder, [], lambda: now[0])
    assert ring.authenticate(bearer(key)).key_id == key.split("_")[1]
    now[0] = admin.clock() + 3700
    with pytest.raises(AuthenticationError):
        ring.authenticate(bearer(key))


def test_the_administrator() -> None:
    access = AdminAccess(Secret("admin-0123456789"))
    assert access.authenticate(bearer("admin-0123456789")).name == "admin"
    with pytest.raises(AuthenticationError):
        access.authenticate(bearer("other"))
