"""Managed keys on real Gunicorn: what holds at once in every worker, what is refused, and what no text ever shows."""

from __future__ import annotations

import json
import re
import signal
import sqlite3
import stat
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import openai
import pytest

from argoproxy.protocol.keys.key_changes import Rotation
from argoproxy.protocol.keys.key_record import KeyBook
from argoproxy.protocol.keys.key_token import digest_of
from argoproxy.stores.keys import key_files
from argoproxy.stores.keys.key_admin import KeyAdmin
from argoproxy.stores.keys.sqlite_keys import SqliteKeys
from tests.support.client import Answer, Client, ask, chat
from tests.support.fixtures import Serve
from tests.support.processes import ROOT, Proxy, Upstream, eventually, shell, stopped
from tests.support.scripts import CHUNKED, DONE, END, chunked, event

ADMIN_KEY = "canary-admin-0123456789"
STATIC_KEY = "k-static-canary-0123456789"
WORKERS = 4


@dataclass(frozen=True)
class Keyed:
    """A proxy with four workers and managed keys, and the folder of the keys, changed from this process."""

    proxy: Proxy
    folder: Path

    @property
    def admin(self) -> KeyAdmin:
        return KeyAdmin(SqliteKeys(self.folder), "cli:test")

    def new_key(self, name: str, **fields: Any) -> str:
        key: str = self.admin.create(name, fields)["key"]
        return key

    def chat(self, key: str, **body: Any) -> Answer:
        return chat(self.proxy.port, headers=bearer(key), **body)

    def statuses(self, key: str) -> set[int]:
        """Ask each worker, while the others are stopped: which one answers is else up to the kernel."""
        found = set()
        workers: list[int] = eventually(lambda: pids if len(pids := self.proxy.workers()) == WORKERS else None)
        for worker in workers:
            with stopped([pid for pid in workers if pid != worker]):
                found.add(self.chat(key).status)
        return found

    def manage(self, method: str, path: str, body: Any = None, key: str = ADMIN_KEY, **headers: str) -> Answer:
        text = None if body is None else json.dumps(body).encode()
        return ask(self.proxy.port, method, f"/admin/keys{path}", text, **bearer(key), **headers)


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


@pytest.fixture(scope="module", params=["gthread", "gevent"])
def keyed(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, upstream: Upstream
) -> Iterator[Keyed]:
    folder = tmp_path_factory.mktemp("keyed")
    proxy = Proxy(
        folder,
        {
            "TARGET_BASE_URL": upstream.url,
            "ENABLE_AUTH": "true",
            "API_KEY_SECRET": f"old={STATIC_KEY}",
            "STATE_PATH": "state",
            "ADMIN_KEY": ADMIN_KEY,
            "WORKERS": str(WORKERS),
            "WORKER_CLASS": request.param,
            "OUTPUT_PATH": str(folder / "journal"),
        },
    )
    yield Keyed(proxy, folder / "state")
    proxy.stop()


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A name that no other test gives a key."""
    return re.sub(r"[^A-Za-z0-9]", "-", request.node.name)[:60]


def test_a_new_key_is_accepted_beside_the_static_one(keyed: Keyed, name: str) -> None:
    key = keyed.new_key(name)
    assert keyed.statuses(key) == {200}
    assert keyed.chat(STATIC_KEY).status == 200
    answer = keyed.chat(key)
    assert keyed.proxy.line(answer.header("X-Logging-Id"))["key"] == name


def test_the_openai_client_uses_it(keyed: Keyed, name: str) -> None:
    with openai.OpenAI(base_url=f"{keyed.proxy.url}/v1", api_key=keyed.new_key(name), max_retries=0) as client:
        assert client.chat.completions.create(model="m1", messages=[{"role": "user", "content": "Hi"}]).choices


def test_revoked_elsewhere(keyed: Keyed, name: str) -> None:
    for number in range(5):
        key = keyed.new_key(f"{name[:50]}-{number}")
        assert keyed.statuses(key) == {200}
        keyed.admin.change(f"{name[:50]}-{number}", {"disabled": True})
        assert keyed.statuses(key) == {401}


def test_stale_write_back(keyed: Keyed, upstream: Upstream, name: str) -> None:
    """A request that runs while its key is disabled goes on, and its end does not bring the key back."""
    key = keyed.new_key(name)
    script = upstream.script(
        ["send", CHUNKED + chunked(event("a"))], ["await"], ["send", chunked(event("b", "stop") + DONE) + END]
    )
    body = json.dumps({"model": "m1", "stream": True, "messages": [{"role": "user", "content": "Hi"}]}).encode()
    with Client(keyed.proxy.port) as client:
        client.send("POST", "/v1/chat/completions", body, X_Script=script, **bearer(key))
        client.head()
        client.until(b'"a"')
        keyed.admin.change(name, {"disabled": True})
        assert keyed.statuses(key) == {401}
        upstream.open(script)
        client.until(b"[DONE]")
    assert keyed.statuses(key) == {401}
    assert keyed.admin.show(name)["state"] == "disabled"


def test_rotation_overlap(keyed: Keyed, name: str) -> None:
    old = keyed.new_key(name)
    new = keyed.manage("POST", f"/{name}/rotate", {"overlap": "1h"}).json["key"]
    assert new != old
    assert keyed.statuses(old) == keyed.statuses(new) == {200}
    newest = keyed.manage("POST", f"/{name}/rotate", {"overlap": 0}).json["key"]
    assert keyed.statuses(old) == keyed.statuses(new) == {401}
    assert keyed.statuses(newest) == {200}


def test_rotation_lost_reply(keyed: Keyed, name: str) -> None:
    """A request that is repeated with its idempotency key gets the same key, and rotates nothing again."""
    headers = {"Idempotency-Key": "rotation-1"}
    old = keyed.new_key(name)
    lost = keyed.manage("POST", f"/{name}/rotate", {"overlap": "1h"}, **headers)
    again = keyed.manage("POST", f"/{name}/rotate", {"overlap": "1h"}, **headers)
    assert (lost.status, again.status) == (200, 200)
    assert lost.json["key"] == again.json["key"]
    assert keyed.statuses(again.json["key"]) == keyed.statuses(old) == {200}
    other = keyed.manage("POST", f"/{name}/rotate", {"overlap": "1h"}, Idempotency_Key="rotation-2")
    assert (other.status, other.error["code"]) == (409, "conflict")
    replaced = keyed.manage("POST", f"/{name}/rotate", {"overlap": "1h", "replace_new": True})
    assert keyed.statuses(old) == keyed.statuses(replaced.json["key"]) == {200}
    assert keyed.statuses(lost.json["key"]) == {401}


def test_a_lost_reply_to_a_new_key(keyed: Keyed, name: str) -> None:
    first, again = (keyed.manage("POST", "", {"name": name}, Idempotency_Key="new-1") for _ in range(2))
    assert (first.status, first.json["key"]) == (201, again.json["key"])
    other = keyed.manage("POST", "", {"name": name}, Idempotency_Key="new-2")
    assert (other.status, other.error["code"]) == (409, "conflict")


def refused(keyed: Keyed, name: str) -> dict[str, str]:
    """Return keys that are refused, each for another reason."""
    expired = keyed.new_key(f"{name[:50]}-expired", expires="1d")
    SqliteKeys(keyed.folder).update("test", lambda book, _: (expire(book, f"{name[:50]}-expired"), None))
    disabled = keyed.new_key(f"{name[:50]}-disabled")
    keyed.admin.change(f"{name[:50]}-disabled", {"disabled": True})
    rotated = keyed.new_key(f"{name[:50]}-rotated")
    keyed.manage("POST", f"/{name[:50]}-rotated/rotate")
    public = disabled.split("_")[1]
    return {
        "unknown": f"ap_{public}_{'x' * 43}",
        "malformed": "ap_nothing",
        "expired": expired,
        "disabled": disabled,
        "rotated": rotated,
        "admin": ADMIN_KEY,
    }


def expire(book: KeyBook, name: str) -> KeyBook:
    return book.with_key(replace(book.find(name), expires=1.0))


def test_one_wording(keyed: Keyed, name: str) -> None:
    answers = {kind: keyed.chat(key) for kind, key in refused(keyed, name).items()}
    answers["none"] = chat(keyed.proxy.port)
    answers["a key on the administrator's path"] = keyed.manage("GET", "", key=keyed.new_key(name))
    answers["no key there"] = ask(keyed.proxy.port, "GET", "/admin/keys")
    assert {answer.status for answer in answers.values()} == {401}
    assert len({answer.body for answer in answers.values()}) == 1


def test_key_in_error(keyed: Keyed, name: str) -> None:
    key = keyed.new_key(name, models=["other*"])
    answer = keyed.chat(key)
    assert (answer.status, answer.error["code"]) == (403, "model_not_allowed")
    assert key.encode() not in answer.body
    for one in refused(keyed, f"{name}x").values():
        assert one.encode() not in keyed.chat(one).body
    answer = keyed.manage("GET", f"/{key}")
    assert answer.status == 404
    assert key.encode() not in answer.body


def everything_written(keyed: Keyed) -> bytes:
    """Return the log, the journal, and every file of the folder but the pepper."""
    files = [*keyed.folder.parent.rglob("*")]
    return b"\n".join(file.read_bytes() for file in files if file.is_file() and file.name != key_files.PEPPER)


def test_key_in_log(keyed: Keyed, name: str) -> None:
    key = keyed.new_key(name)
    created = keyed.manage("POST", "", {"name": f"{name}-2"}).json["key"]
    answers = [
        keyed.chat(key),
        keyed.chat(key, model=key, user=key),
        ask(keyed.proxy.port, "GET", f"/v1/models/{key}", Authorization=f"Bearer {key}"),
        ask(keyed.proxy.port, "GET", f"/files/{key}?key={key}", Authorization=f"Bearer {key}"),
        keyed.manage("POST", "", {"name": name, "metadata": {"note": "x"}}),
        keyed.manage("GET", f"/{name}"),
    ]
    for answer in answers:
        keyed.proxy.line(answer.header("X-Logging-Id"))
    written = everything_written(keyed)
    for secret in (key, created, ADMIN_KEY, STATIC_KEY):
        assert secret.encode() not in written
        assert secret.rpartition("_")[2].encode() not in written


def test_key_in_audit(keyed: Keyed, name: str) -> None:
    first = keyed.new_key(name)
    second = keyed.manage("POST", f"/{name}/rotate").json["key"]
    keyed.admin.change(name, {"models": ["a"], "disabled": True})
    history = keyed.manage("GET", f"/{name}").json["history"]
    assert [(one["actor"], one["action"]) for one in history] == [
        ("cli:test", "disable"),
        ("admin", "rotate"),
        ("cli:test", "create"),
    ]
    pepper = key_files.read_pepper(keyed.folder)
    text = json.dumps(history)
    for key in (first, second):
        assert key not in text
        assert digest_of(pepper, key.encode()) not in text


def test_key_in_query(keyed: Keyed, upstream: Upstream, name: str) -> None:
    """A key in the URL is not accepted, not forwarded and not written down."""
    key = keyed.new_key(name)
    for parameter in ("api_key", "key", "access_token"):
        answer = ask(keyed.proxy.port, "GET", f"/v1/models?{parameter}={key}")
        assert answer.status == 401
    ask(keyed.proxy.port, "GET", f"/files/{name}?a=1&key={key}&token={key}", X_Copy=key, Authorization=f"Bearer {key}")
    (request,) = upstream.seen_at(f"/files/{name}?a=1")
    assert key not in json.dumps(request)
    eventually(lambda: f"/files/{name}" in keyed.proxy.log())
    assert key not in keyed.proxy.log()


def test_unknown_key_flood(keyed: Keyed, name: str) -> None:
    """Unknown keys cost no look into a file or a database: they are refused while those are gone."""
    key = keyed.new_key(name)
    assert keyed.statuses(key) == {200}
    hidden = keyed.folder.with_name("hidden")
    keyed.folder.rename(hidden)
    try:
        for number in range(200):
            assert keyed.chat(f"ap_{number:012}_{'x' * 43}").status == 401
        assert keyed.statuses(key) == {200}
    finally:
        hidden.rename(keyed.folder)


def test_allowed_models(keyed: Keyed, name: str) -> None:
    key = keyed.new_key(name, models="m1,qwen*")
    assert keyed.chat(key).status == 200
    assert keyed.chat(key, model="gpt-4o").status == 403
    assert keyed.chat(STATIC_KEY, model="gpt-4o").status == 200
    body = json.dumps({"model": "gpt-4o"}).encode()
    assert ask(keyed.proxy.port, "POST", "/v1/other", body, Authorization=f"Bearer {key}").status == 403
    assert ask(keyed.proxy.port, "GET", "/v1/models/gpt-4o", Authorization=f"Bearer {key}").status == 403
    keyed.manage("PATCH", f"/{name}", {"models": []})
    assert keyed.chat(key, model="gpt-4o").status == 200


def test_managing_over_http(keyed: Keyed, name: str) -> None:
    fields = {"models": ["m*"], "expires": "2099-12-31", "metadata": {"mail": "bob@example.org"}}
    created = keyed.manage("POST", "", {"name": name, **fields})
    assert (created.status, created.header("Cache-Control")) == (201, "no-store")
    assert re.fullmatch(r"ap_[0-9A-Za-z]{12}_[0-9A-Za-z]{43}", created.json["key"])
    shown = keyed.manage("GET", f"/{name}").json
    assert "key" not in shown
    assert (shown["state"], shown["models"], shown["expires"]) == ("active", ["m*"], "2100-01-01T00:00:00Z")
    assert shown["id"] == created.json["key"].split("_")[1]
    assert keyed.manage("GET", f"/{shown['id']}/").json["name"] == name
    assert name in [key["name"] for key in keyed.manage("GET", "").json["data"]]
    changed = keyed.manage("PATCH", f"/{name}", {"rpm": 1000, "model_limits": {"m*": {"budget": "5.0/month"}}}).json
    assert (changed["rpm"], changed["tpm"], changed["budget"]) == (1000, None, None)
    assert changed["model_limits"] == {"m*": {"budget": "5/month"}}
    assert keyed.manage("PATCH", f"/{name}", {"rpm": None, "model_limits": None}).json["model_limits"] is None
    assert keyed.manage("POST", f"/{name}/disable").json["state"] == "disabled"
    assert keyed.manage("PATCH", f"/{name}", {"disabled": False}).json["state"] == "active"


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "param"),
    [
        ("POST", "", {}, 400, "name"),
        ("POST", "", {"name": "a b"}, 400, "name"),
        ("POST", "", {"name": "ok", "models": 3}, 400, "models"),
        ("POST", "", {"name": "ok", "expires": "soon"}, 400, "expires"),
        ("POST", "", {"name": "ok", "expires": "2020-01-01"}, 400, "expires"),
        ("POST", "", {"name": "ok", "team": "none"}, 400, "team"),
        ("POST", "", {"name": "ok", "metadata": 1}, 400, "metadata"),
        ("POST", "", {"name": "ok", "rpm": -1}, 400, "rpm"),
        ("POST", "", {"name": "ok", "budget": 5}, 400, "budget"),
        ("POST", "", {"name": "ok", "model_limits": {"m*": {"rpm": 0.5}}}, 400, "model_limits"),
        ("POST", "", {"name": "ok", "unknown": 1}, 400, "unknown"),
        ("POST", "", [], 400, None),
        ("POST", "/none/rotate", {"overlap": "x"}, 400, "overlap"),
        ("POST", "/none/rotate", {"replace_new": 1}, 400, "replace_new"),
        ("POST", "/none/rotate", {"other": 1}, 400, "other"),
        ("POST", "/none/rotate", None, 404, None),
        ("GET", "/none", None, 404, None),
        ("GET", "/none/other", None, 404, None),
        ("DELETE", "/none", None, 405, None),
        ("PUT", "", {}, 405, None),
    ],
)
def test_mistakes_over_http(keyed: Keyed, method: str, path: str, body: Any, status: int, param: str | None) -> None:
    answer = keyed.manage(method, path, body)
    assert (answer.status, answer.error["param"]) == (status, param)


def test_what_is_stored(keyed: Keyed, name: str) -> None:
    keyed.new_key(name)
    for file in keyed.folder.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == (0o700 if file.is_dir() else 0o600), file.name
    assert stat.S_IMODE(keyed.folder.stat().st_mode) == 0o700


# Faults of the folder: what clients see, and what an operator is answered.


def test_database_locked(keyed: Keyed, name: str) -> None:
    key = keyed.new_key(name)
    blocker = sqlite3.connect(keyed.folder / key_files.DATABASE, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    answer = keyed.manage("POST", f"/{name}/disable")
    assert (answer.status, answer.error["code"]) == (503, "state_unavailable")
    assert keyed.statuses(key) == {200}
    blocker.execute("ROLLBACK")
    blocker.close()
    assert keyed.manage("POST", f"/{name}/disable").status == 200
    assert keyed.statuses(key) == {401}


def test_database_damaged(keyed: Keyed, name: str) -> None:
    key = keyed.new_key(name)
    database = keyed.folder / key_files.DATABASE
    kept = database.read_bytes()
    database.write_bytes(b"x" * len(kept))
    answer = keyed.manage("POST", f"/{name}/disable")
    assert (answer.status, answer.error["code"]) == (503, "state_unavailable")
    assert keyed.statuses(key) == {200}
    database.write_bytes(kept)
    assert keyed.manage("GET", f"/{name}").status == 200


def test_database_deleted(keyed: Keyed, name: str) -> None:
    """Keys stay valid, and nothing makes a new database, which would end them all."""
    key = keyed.new_key(name)
    database = keyed.folder / key_files.DATABASE
    hidden = database.with_suffix(".hidden")
    database.rename(hidden)
    for path in ("", f"/{name}"):
        answer = keyed.manage("GET", path)
        assert (answer.status, answer.error["code"]) == (503, "state_unavailable")
    assert keyed.manage("POST", "", {"name": f"{name}-2"}).status == 503
    assert not database.exists()
    assert keyed.statuses(key) == {200}
    hidden.rename(database)
    assert keyed.manage("GET", f"/{name}").status == 200


def test_snapshot_damaged(keyed: Keyed, name: str) -> None:
    key = keyed.new_key(name)
    assert keyed.statuses(key) == {200}
    (keyed.folder / key_files.SNAPSHOT).write_text("{")
    assert keyed.statuses(key) == {200}
    other = keyed.new_key(f"{name}-2")
    assert keyed.statuses(key) == keyed.statuses(other) == {200}


def test_a_worker_that_knows_no_keys_is_not_ready(keyed: Keyed, name: str) -> None:
    snapshot = keyed.folder / key_files.SNAPSHOT
    key = keyed.new_key(name)
    content = snapshot.read_bytes()
    snapshot.write_text("{")
    assert ask(keyed.proxy.port, "GET", "/health/ready").status == 200
    for _ in keyed.proxy.workers():
        keyed.proxy.replace_worker()
    answer = ask(keyed.proxy.port, "GET", "/health/ready")
    assert (answer.status, answer.json["status"]) == (503, "not_ready")
    assert keyed.statuses(key) == {401}
    snapshot.write_bytes(content)
    assert ask(keyed.proxy.port, "GET", "/health/ready").status == 200
    assert keyed.statuses(key) == {200}


def test_a_worker_that_starts_later_knows_the_keys(keyed: Keyed, name: str) -> None:
    key = keyed.new_key(name)
    keyed.proxy.replace_worker()
    assert keyed.statuses(key) == {200}


# Without the settings, and with those of a file.


def test_nothing_is_kept_without_the_setting(start: Serve, upstream: Upstream, tmp_path: Path) -> None:
    proxy = start(TARGET_BASE_URL=upstream.url, ENABLE_AUTH="true", API_KEY_SECRET=STATIC_KEY)
    assert chat(proxy.port, headers=bearer(STATIC_KEY)).status == 200
    assert ask(proxy.port, "GET", "/admin/keys", Authorization=f"Bearer {STATIC_KEY}").status == 200
    assert upstream.seen_at("/admin/keys"), "forwarded, as any other path"
    assert [file.name for file in tmp_path.iterdir() if not file.name.startswith("log-")] == []


DECLARED = """
target_base_url: {url}
enable_auth: true
state_path: state
teams:
  research: {{models: ["m*"]}}
keys:
  ann: {{team: research}}
  bob: {{key: "sk-of-another-place-0123456789", models: [m1]}}
"""


def command(folder: Path, words: str) -> str:
    done = shell(f"{sys.executable} {ROOT}/cot_proxy.py keys {words}", folder, {})
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode().strip()


def test_keys_of_the_config_file(start: Serve, upstream: Upstream, tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(DECLARED.format(url=upstream.url))
    proxy = start(CONFIG_PATH=str(file))
    assert chat(proxy.port, headers=bearer("sk-of-another-place-0123456789")).status == 200
    assert "sk-of-another-place" not in everything_written_in(tmp_path / "state")
    admin = KeyAdmin(SqliteKeys(tmp_path / "state"), "cli:test")
    (warning,) = proxy.coded("key_without_secret")
    assert warning["key"] == "ann:"
    ann = admin.rotate("ann", Rotation())["key"]
    assert chat(proxy.port, headers=bearer(ann)).status == 200
    assert chat(proxy.port, headers=bearer(ann), model="x1").status == 403, "her team's models"
    before = admin.show("bob")["history"]
    reload(proxy)
    assert admin.show("bob")["history"] == before, "the same file changes nothing"
    file.write_text(DECLARED.format(url=upstream.url).replace("sk-of-another-place", "sk-of-yet-another-place"))
    reload(proxy)
    assert chat(proxy.port, headers=bearer("sk-of-another-place-0123456789")).status == 401
    assert chat(proxy.port, headers=bearer("sk-of-yet-another-place-0123456789")).status == 200
    assert chat(proxy.port, headers=bearer(ann)).status == 200


def reload(proxy: Proxy) -> None:
    count = len(proxy.coded("settings_reloaded"))
    proxy.process.send_signal(signal.SIGHUP)
    eventually(lambda: len(proxy.coded("settings_reloaded")) > count)


def everything_written_in(folder: Path) -> str:
    return "".join(file.read_bytes().decode("latin-1") for file in folder.iterdir() if file.is_file())


def test_a_start_with_a_damaged_database(start: Serve, upstream: Upstream, tmp_path: Path) -> None:
    """The keys that were published last are served; without these the start is refused."""
    state = tmp_path / "state"
    store = SqliteKeys(state)
    store.create()
    key = KeyAdmin(store, "cli:test").create("ann", {})["key"]
    (state / key_files.DATABASE).write_bytes(b"x" * 8192)
    proxy = start(TARGET_BASE_URL=upstream.url, ENABLE_AUTH="true", STATE_PATH="state")
    assert proxy.coded("keys_not_writable")
    assert chat(proxy.port, headers=bearer(key)).status == 200
    proxy.stop()
    (state / key_files.SNAPSHOT).unlink()
    refused = shell(
        f"{sys.executable} {ROOT}/cot_proxy.py --state_path state --url {upstream.url}",
        tmp_path,
        {"ENABLE_AUTH": "true", "HOST": "127.0.0.1"},
    )
    assert refused.returncode == 2


def test_the_commands_work_on_a_running_proxy(start: Serve, upstream: Upstream, tmp_path: Path) -> None:
    proxy = start(TARGET_BASE_URL=upstream.url, ENABLE_AUTH="true", STATE_PATH="state")
    assert chat(proxy.port).status == 401
    key = command(tmp_path, "create bob --state_path state --models 'm*'")
    assert chat(proxy.port, headers=bearer(key)).status == 200
    new = command(tmp_path, "rotate bob --state_path state --overlap 1h")
    assert [chat(proxy.port, headers=bearer(one)).status for one in (key, new)] == [200, 200]
    exported = command(tmp_path, "export --state_path state")
    assert key not in exported
    command(tmp_path, "disable bob --state_path state")
    assert chat(proxy.port, headers=bearer(new)).status == 401
    (tmp_path / "keys-export.json").write_text(exported)
    command(tmp_path, "import keys-export.json --state_path state")
    assert chat(proxy.port, headers=bearer(new)).status == 200
