"""Requests that end in every way there is while workers are killed: ledger, counters and the upstream agree."""

from __future__ import annotations

import json
import os
import random
import signal
import threading
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from tests.limits.limited import MAX_PROMPT, TOKEN_NANOS, WORKERS, Json, Limited, cost_of
from tests.limits.metered import begin, document, end, streamed, usage_event
from tests.support.client import Client
from tests.support.processes import eventually
from tests.support.scripts import reply
from tests.support.storm import IS_FULL

REQUESTS, KILLS = (2000, 30) if IS_FULL else (240, 4)
CALLERS = 16
#: A worker is killed after so many requests.
STEP = REQUESTS // (KILLS + 1)
TOKENS = 10


@dataclass(frozen=True)
class Mix:
    """Scripts by what their clients do."""

    whole: str
    stream: str
    left: str
    slow: str
    silent: str
    failing: str
    broken: str

    def script(self, kind: str) -> str:
        found: str = getattr(self, kind)
        return found


KINDS = [*["whole"] * 3, *["stream"] * 3, *["left"] * 3, "slow", "silent", "failing", "broken"]


def make_mix(limited: Limited) -> Mix:
    return Mix(
        whole=limited.script(document(3, 7)),
        stream=limited.script(*streamed(["a", "b", "c"], 3, 7)),
        left=limited.script(*begin("a"), ["sleep", 0.05], *end(usage_event(3, 7))),
        slow=limited.script(["sleep", 0.3], document(3, 7)),
        silent=limited.script(["hold"]),
        failing=limited.script(reply("500 Oops")),
        broken=limited.script(*begin("a"), ["read"], ["rst"]),
    )


@dataclass(frozen=True)
class Told:
    """What a client saw: "complete" only if it has the whole of a good answer."""

    name: str
    kind: str
    is_complete: bool


def ask(limited: Limited, key: str, mix: Mix, number: int) -> Told:
    """Make one request of the mix, and leave some of them early, at random."""
    chance = random.Random(number)
    kind, name = chance.choice(KINDS), f"mix-{number}"
    body: dict[str, Any] = {"stream": kind in ("stream", "left", "broken"), "max_tokens": 50}
    if kind == "silent":
        body["timeout"] = 0.2
    is_complete = False
    with (
        suppress(AssertionError, OSError),
        limited.send(key, mix.script(kind), [("X-Request-Id", name)], **body) as client,
    ):
        if kind in ("left", "slow") and chance.random() < 0.7:
            client.sock.settimeout(chance.random() * 0.1)
            with suppress(TimeoutError):
                read_on(client)
        else:
            answer = client.answer()
            is_complete = answer.status == 200 and answer.whole and b'"error"' not in answer.body
    return Told(name, kind, is_complete)


def read_on(client: Client) -> None:
    while client.sock.recv(65536):
        pass


class Killer:
    """Kills a worker each time that some more requests are done; requests wait where it is behind."""

    def __init__(self, limited: Limited) -> None:
        self._limited = limited
        self._lock = threading.Lock()
        self._done = self._killed = 0

    def wait(self) -> None:
        """Wait until as many workers were killed as should have been."""
        eventually(lambda: self._killed >= self._done // STEP - 1)

    def count(self) -> None:
        """Count a request that is done, and kill a worker if it is time."""
        with self._lock:
            self._done += 1
            is_due = self._done % STEP == 0
        if is_due:
            eventually(lambda: len(self._limited.proxy.workers()) == WORKERS)
            with suppress(ProcessLookupError):
                os.kill(random.choice(self._limited.proxy.workers()), signal.SIGKILL)
            self._killed += 1


def test_ledger_counters_and_upstream_agree_to_the_request(limited: Limited, name: str) -> None:
    mix, done = make_mix(limited), list[Told]()
    key = limited.new_key(
        name, rpm=1_000_000, tpm=1_000_000_000, concurrent=1000, budget="1000000/total", reserve="max"
    )
    killer = Killer(limited)

    def work(number: int) -> None:
        killer.wait()
        done.append(ask(limited, key, mix, number))
        killer.count()

    with ThreadPoolExecutor(CALLERS) as pool:
        list(pool.map(work, range(REQUESTS)))
    eventually(lambda: len(limited.proxy.workers()) == WORKERS)
    assert_no_place_is_left(limited, name, key)
    check_ledger(limited, name, mix, done)
    check_budget(limited, name, key)


def assert_no_place_is_left(limited: Limited, name: str, key: str) -> None:
    """Check that nothing counts as running any more: one request at once is admitted where one is allowed."""
    limited.admin.change(name, {"concurrent": 1})
    eventually(lambda: limited.chat(key, max_tokens=7).status == 200)
    limited.admin.change(name, {"concurrent": 1000})


def check_ledger(limited: Limited, name: str, mix: Mix, done: list[Told]) -> None:
    """Compare what was written down with what the upstream has seen and what clients were told."""
    seen = {name_of(one) for kind in set(KINDS) for one in limited.upstream.seen(mix.script(kind))}
    lines = {line.get("client_request_id"): line["id"] for line in limited.proxy.lines() if line.get("key") == name}
    expected = {lines[told.name] for told in done if told.name in lines and told.name in seen}
    entries = wait_for_entries(limited, name, expected)
    by_id = {entry["request_id"]: entry for entry in entries}
    assert len(by_id) == len(entries)
    endings = Counter(entry["ending"] for entry in entries)
    check_unseen(entries, {number: name for name, number in lines.items()}, seen)
    for told in done:
        if told.name in lines and told.name in seen:
            entry = by_id[lines[told.name]]
            if told.is_complete:
                assert (entry["ending"], entry["prompt_tokens"], entry["completion_tokens"]) == ("complete", 3, 7)
                assert entry["cost_nanos"] == TOKENS * TOKEN_NANOS
            if told.kind in ("silent", "failing"):
                assert entry["cost_nanos"] == 0
    complete = sum(told.is_complete for told in done)
    assert endings["complete"] + endings["abandoned"] >= complete


def wait_for_entries(limited: Limited, name: str, expected: set[str]) -> list[Json]:
    """Wait until these requests of a key are written down, and return all of its entries."""

    def find() -> list[Json] | None:
        entries = limited.entries(name)
        return entries if expected <= {entry["request_id"] for entry in entries} else None

    found: list[Json] = eventually(find)
    return found


def check_unseen(entries: list[Json], names: Mapping[str, str | None], seen: set[str]) -> None:
    """Check that what the upstream has seen is written down, and that what is written down besides had no answer:
    requests whose worker was killed, or whose client left, while they were sent."""
    # One request besides asked whether a place was left.
    assert len(entries) > len(seen)
    for entry in entries:
        name = names.get(entry["request_id"])
        if entry["ending"] != "abandoned" and name and name not in seen:
            assert (entry["ending"], entry["cost_nanos"]) == ("client_gone", 0)


def name_of(seen: dict[str, object]) -> str:
    headers = {str(name).lower(): str(value) for name, value in json.loads(json.dumps(seen["headers"]))}
    return headers["x-request-id"]


def check_budget(limited: Limited, name: str, key: str) -> None:
    """Check that the counter of the budget is the sum of the ledger, but for what is set aside for a prompt."""
    spent = cost_of(limited.entries(name))
    budget = (spent + 500 * TOKEN_NANOS) / 1_000_000_000
    limited.admin.change(name, {"budget": f"{budget:.9f}/total"})
    assert limited.chat(key, max_tokens=501).status == 429
    assert limited.chat(key, max_tokens=500 - MAX_PROMPT).status == 200
