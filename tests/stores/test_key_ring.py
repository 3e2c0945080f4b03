"""What a worker accepts, and which headers never leave it."""

from __future__ import annotations

from pathlib import Path

import pytest

from argoproxy.errors import AuthenticationError
from argoproxy.protocol.access.auth import Key
from argoproxy.protocol.access.secrets import Secret
from argoproxy.protocol.http_messages import Headers
from argoproxy.protocol.keys.key_token import make_token
from argoproxy.stores import key_files
from argoproxy.stores.key_admin import KeyAdmin
from argoproxy.stores.key_ring import AdminAccess, KeyRing
from argoproxy.stores.key_transfer import AbsentKeys, import_keys
from argoproxy.stores.sqlite_keys import SqliteKeys

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
