"""A proxy with four workers whose keys have limits, and what it has written down of them."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from argoproxy.stores.keys.key_admin import KeyAdmin
from argoproxy.stores.keys.sqlite_keys import SqliteKeys
from tests.support.client import Answer, Client
from tests.support.fixtures import Serve
from tests.support.processes import ROOT, Proxy, Upstream, eventually, is_listening, shell
from tests.support.scripts import Step
from tests.support.storm import is_state_unavailable

Json = dict[str, Any]

WORKERS = 4
ADMIN_KEY = "canary-admin-0123456789"
#: A token of `m1` costs a thousandth: a million billionths.
TOKEN_NANOS = 1_000_000
PRICES = {
    "m1": {"input": 1000, "output": 1000},
    "bounded": {"input": 1000, "output": 1000, "max_output": 1000},
    "tiny": {"input": 0.001, "output": 0.001},
    "tiered": {"input": 1000, "output": 1000, "tiers": [{"above": 1000, "input": 10_000, "output": 1000}]},
    "parts": {"input": 1000, "output": 2000, "cached_input": 100, "reasoning": 3000},
}
#: More tokens than are set aside for a short prompt, also with `reserve: max`.
MAX_PROMPT = 250
#: What the price list does not know.
UNPRICED = "model-without-a-price"


#: Starts a proxy with these settings of the file; capital ones are of the environment.
StartLimited = Callable[..., "Limited"]


@dataclass(frozen=True)
class Limited:
    """The proxy, its upstream, and the folder of its state."""

    proxy: Proxy
    upstream: Upstream
    state: Path

    @property
    def admin(self) -> KeyAdmin:
        return KeyAdmin(SqliteKeys(self.state), "cli:test")

    def new_key(self, name: str, **fields: Any) -> str:
        """Create a key with these limits, and return it."""
        key: str = self.admin.create(name, fields)["key"]
        return key

    def chat(self, key: str, script: str = "", /, **body: Any) -> Answer:
        """Ask for a completion, and read the whole answer. Asks again if the counters were locked for too long, as
        happens where workers wait long for a core."""
        answers: list[Answer] = []

        def is_decided() -> bool:
            answers.append(self.chat_once(key, script, **body))
            return not is_state_unavailable(answers[-1])

        eventually(is_decided)
        return answers[-1]

    def chat_once(self, key: str, script: str = "", /, **body: Any) -> Answer:
        """Ask for a completion, and read the whole answer, whatever it is."""
        with self.send(key, script, **body) as client:
            return client.answer()

    def send(self, key: str, script: str = "", /, headers: Iterable[tuple[str, str]] = (), **body: Any) -> Client:
        """Ask for a completion on a connection of its own, and do not wait."""
        asked = {"model": "m1", "messages": [{"role": "user", "content": "Hi"}], **body}
        named = {"X-Script": script} if script else {}
        client = Client(self.proxy.port)
        authorization = {"Authorization": f"Bearer {key}"}
        client.send(
            "POST", "/v1/chat/completions", json.dumps(asked).encode(), **authorization, **named, **dict(headers)
        )
        return client

    def script(self, *steps: Step) -> str:
        return self.upstream.script(*steps)

    def entries(self, name: str) -> list[Json]:
        """Return what was written down of a key's requests, in the order of their ends."""
        return [row for row in read_ledger(self.state) if row["key_name"] == name]

    def settled(self, name: str, count: int) -> list[Json]:
        """Wait until so many requests of a key are written down, and return them."""
        found: list[Json] = eventually(lambda: rows if len(rows := self.entries(name)) >= count else None)
        assert len(found) == count, found
        return found

    def at_once(self, count: int, key: str, script: str = "", /, **body: Any) -> list[Client]:
        """Send so many requests, each by a connection and a thread of its own."""
        with ThreadPoolExecutor(count) as pool:
            return list(pool.map(lambda _: self.send(key, script, **body), range(count)))

    def kill(self) -> None:
        """Kill all processes of the proxy."""
        workers = self.proxy.workers()
        self.proxy.process.kill()
        for pid in workers:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.proxy.process.wait()
        eventually(lambda: not is_listening(self.proxy.port))

    def upstream_has(self, script: str, count: int) -> None:
        """Wait until so many requests for a script have come."""
        eventually(lambda: self.upstream.count(script) >= count)

    def decided(self, name: str, script: str, count: int) -> None:
        """Wait until so many requests have come to the upstream or were refused; those of a key, "" for all."""
        eventually(lambda: self.upstream.count(script) + self.refused(name) >= count)

    def refused(self, name: str) -> int:
        """Return how many requests were refused so far; those of a key, "" for all."""
        lines = [line for line in self.proxy.lines() if line["status"] in ("429", "503")]
        return sum(name in ("", line.get("key")) for line in lines)


def answers_of(clients: Sequence[Client]) -> list[Answer]:
    """Read all answers, and close the connections."""
    found = []
    for client in clients:
        with client:
            found.append(client.answer())
    return found


def command(limited: Limited, words: str) -> subprocess.CompletedProcess[bytes]:
    """Run a command as the operator of a proxy."""
    environ = {"CONFIG_PATH": "config.yaml", "PYTHONPATH": str(ROOT)}
    return shell(f"{sys.executable} -m argoproxy {words}", limited.state.parent, environ)


def run(limited: Limited, words: str) -> str:
    """Run a command that succeeds, and return what it prints."""
    done = command(limited, words)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


def read_ledger(state: Path) -> list[Json]:
    """Return the rows of the ledger."""
    file = state / "usage.sqlite3"
    if not file.exists():  # the first one is not written yet
        return []
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=60)) as base:
        base.row_factory = sqlite3.Row
        if base.execute("PRAGMA user_version").fetchone()[0] == 0:  # it is being written
            return []
        return [dict(row) for row in base.execute("SELECT * FROM ledger ORDER BY at, request_id")]


def cost_of(entries: Iterable[Json]) -> int:
    """Return what requests cost together, in billionths."""
    return sum(entry["cost_nanos"] for entry in entries)


def start_limited(serve: Serve, upstream: Upstream, folder: Path, environ: dict[str, str], **settings: Any) -> Limited:
    """Start a proxy with prices and managed keys, and with these settings of the file besides; `upstream_options` are
    those of its upstream."""
    file = folder / "config.yaml"
    own = settings.pop("upstream_options", {})
    document = {
        "upstreams": {"up": {"base_url": f"{upstream.url}/v1", "api_key": "sk-up", **own}},
        "enable_auth": True,
        "metrics_open": True,
        "state_path": str(folder / "state"),
        "admin_key": ADMIN_KEY,
        "prices": PRICES,
        **settings,
    }
    file.write_text(json.dumps(document, indent=1))
    fixed = {"CONFIG_PATH": str(file), "API_KEY_SECRET": "static=k-static-0123456789", "WORKERS": str(WORKERS)}
    proxy = serve(**{**fixed, "THREADS": "32", **environ})
    eventually(lambda: len(proxy.workers()) == int(proxy.environ["WORKERS"]))
    return Limited(proxy, upstream, folder / "state")
