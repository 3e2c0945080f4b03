"""Every fault of the laboratory: what its client sees, what the books say, and that nothing is left.

The cases of a sweep run side by side, before one door. Each is judged by its own request's id; what is counted and what
is left open is compared once, when the sweep is through. LAB=full sweeps both kinds of workers in every way of taking
thoughts; else each way is swept once, with another kind of worker.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.lab.faults import COMPLETE, GONE, SHORT
from tests.lab.judge import (
    Case,
    Door,
    ask_by_the_sdk,
    cases,
    complaints,
    complaints_of_the_sdk,
    crossed_cases,
    is_served,
    official_client,
)
from tests.lab.judge import ask as ask_for
from tests.support.client import Answer, ask, chat
from tests.support.fixtures import Serve
from tests.support.processes import UNCOVERED, Proxy, Upstream, eventually
from tests.support.scripts import completion, reply

CASES = list(cases())
OVER_TLS = [case for case in CASES if case.fault.is_of_tls or case.name.startswith(("half", "silence", "FIN", "RST"))]
AT_ONCE = 8
#: Room for what is asked besides the cases.
THREADS = AT_ONCE + 2
#: Threads that answer /metrics, which begin when they are needed first.
SCRAPERS = 1
#: A door by its kind of worker and whether it takes thoughts out.
ALL_DOORS = [(worker_class, strips) for worker_class in ("gthread", "gevent") for strips in ("true", "false")]
DOORS = ALL_DOORS if os.environ.get("LAB") == "full" else [("gthread", "true"), ("gevent", "false")]
#: Time-outs, in seconds, only for what is to be ended by them: where nothing comes at all, and where nothing more does.
SHORT_TIMEOUTS = {"begins-soon": {"first_byte_timeout": 0.5}, "goes-on-soon": {"idle_timeout": 1.5}}


@dataclass
class Judged:
    """Our door before the laboratory's upstream, and what it writes down."""

    door: Door
    proxy: Proxy
    journal: Path
    used: tuple[int, int] = (0, 0)

    def endings(self) -> Counter[str]:
        """Wait until nobody is served; return what was counted by then, by ending."""

        def told() -> Any:
            return ask(self.proxy.port, "GET", "/metrics", Accept="application/json").json

        eventually(lambda: told()["in_flight"] == 0)
        return Counter(told()["requests"]["by_ending"])

    def entries(self) -> dict[str, dict[str, Any]]:
        """Return the lines of the journal, by the id of the request."""
        return {line["logging_id"]: line for line in map(json.loads, self.journal.read_text().splitlines())}

    def in_use(self) -> tuple[int, int]:
        """Count descriptors and threads."""
        threads = sum(len(list(Path(f"/proc/{pid}/task").iterdir())) for pid in self.proxy.workers())
        return self.proxy.descriptors(), threads

    def assert_nothing_is_left(self) -> None:
        """Wait until there are no more descriptors and threads than there were."""
        for kind, name in enumerate(("descriptors", "threads")):
            with suppress(AssertionError):
                eventually(lambda: self.in_use()[kind] <= self.used[kind])  # noqa: B023 it is asked at once
            assert self.in_use()[kind] <= self.used[kind], name


def judged(serve: Serve, upstream: Upstream, folder: Path, **settings: str) -> Judged:
    (folder / "config.yaml").write_text(json.dumps({"models": SHORT_TIMEOUTS}))
    proxy = serve(
        # An address: an upstream that has failed gets 2 s to connect, in which a busy machine may look up no name.
        TARGET_BASE_URL=upstream.url.replace("localhost", "127.0.0.1"),
        CONFIG_PATH=str(folder / "config.yaml"),
        THREADS=str(THREADS),
        HEARTBEAT="0.1",
        OUTPUT_PATH=str(folder),
        JOURNAL_BODIES="meta",
        **UNCOVERED,
        **settings,
    )
    door = Door(
        proxy.url,
        settings["THINK_FILTER"] == "true",
        lambda steps, body: upstream.script(*steps, body=body),
        upstream.strike,
        model_that_begins_soon="begins-soon",
        model_that_goes_on_soon="goes-on-soon",
    )
    made = Judged(door, proxy, folder / "client_interaction.jsonl")
    warm_up(made, upstream)
    return made


def warm_up(judged: Judged, upstream: Upstream) -> None:
    """Have every thread serve at once, so that nothing is new later."""
    script = upstream.script(["await"], reply(body=completion("Hi")))
    with ThreadPoolExecutor(THREADS) as pool:
        asked = [pool.submit(chat, judged.proxy.port, headers={"X-Script": script}) for _ in range(THREADS)]
        eventually(lambda: upstream.count(script) == THREADS)
        upstream.open(script, THREADS)
    assert {one.result().status for one in asked} == {200}
    with ThreadPoolExecutor(AT_ONCE) as pool:
        assert all(counted["complete"] >= THREADS for counted in pool.map(lambda _: judged.endings(), range(AT_ONCE)))
    descriptors, threads = judged.in_use()
    judged.used = (descriptors, threads + SCRAPERS)


@pytest.fixture(params=DOORS, ids="-".join, scope="module")
def plain(
    request: pytest.FixtureRequest, serve: Serve, upstream: Upstream, tmp_path_factory: pytest.TempPathFactory
) -> Judged:
    worker_class, strips = request.param
    return judged(serve, upstream, tmp_path_factory.mktemp("lab"), WORKER_CLASS=worker_class, THINK_FILTER=strips)


@pytest.fixture(params=["gthread", "gevent"], scope="module")
def over_tls(
    request: pytest.FixtureRequest,
    serve: Serve,
    tls_upstream: Upstream,
    ca_file: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Judged:
    settings = {"WORKER_CLASS": request.param, "THINK_FILTER": "true", "REQUESTS_CA_BUNDLE": str(ca_file)}
    return judged(serve, tls_upstream, tmp_path_factory.mktemp("lab"), **settings)


@dataclass
class Verdict:
    """What was found about a case, and the ids of its requests. The one of the raw socket is the first."""

    case: Case
    answer: Answer
    ids: list[str]
    wrong: list[str]


def witness(door: Door, client: openai.OpenAI, case: Case) -> Verdict:
    """Have a request spoilt, by two clients."""
    answer = ask_for(door, case)
    verdict = Verdict(case, answer, [answer.id], list(complaints(door, case, answer)))
    if case.outcome != COMPLETE and answer.status >= 502 and case.outcome.status == 200:
        verdict.wrong += says_how_much_had_come(answer, case)
    if not (case.fault.is_heavy or case.crossed):
        seen = ask_by_the_sdk(door, client, case)
        verdict.ids.append(seen.id)
        verdict.wrong += complaints_of_the_sdk(door, case, seen)
    return verdict


def says_how_much_had_come(answer: Answer, case: Case) -> Iterator[str]:
    """See that a message counts the bytes that had come; exactly, where just the first two words had."""
    if answer.error["code"] in (GONE, SHORT, "idle_timeout"):
        found = re.search(r"after (\d+) bytes of its body", answer.error["message"])
        count = int(found.group(1)) if found else 0
        if not count or (case.name.endswith(" in the body") and count != len("".join(case.said.pieces[:2]))):
            yield f"the message {answer.error['message']!r}"


def says_the_same(case: Case, status: int, line: dict[str, str], entry: dict[str, Any]) -> Iterator[str]:
    """See that log line and journal tell the ending."""
    code = "" if case.outcome.ending == "upstream_error" else case.outcome.code
    if (line["ending"], line.get("code", "")) != (case.outcome.ending, code):
        yield f"the log line {line}"
    if (entry["ending"], entry["status"]) != (case.outcome.ending, status):
        yield f"the journal's {entry}"


def sweep(judged: Judged, swept: Iterable[Case]) -> None:
    """Have every case happen, and see that all is as it should be."""
    before = judged.endings()
    with official_client(judged.door) as client:
        seen = list(in_any_order(lambda case: witness(judged.door, client, case), swept))
    after = judged.endings()
    lines, entries = judged.proxy.lines(), judged.entries()
    by_id = {line["id"]: line for line in lines}
    assert len(by_id) == len(lines), "each request has one line"
    for verdict in seen:
        for logging_id in verdict.ids:
            status = int(by_id[logging_id]["status"])
            verdict.wrong += says_the_same(verdict.case, status, by_id[logging_id], entries[logging_id])
        if int(by_id[verdict.ids[0]]["status"]) != verdict.answer.status:
            verdict.wrong.append("the status in the log line")
    wrong = {str(verdict.case): verdict.wrong for verdict in seen if verdict.wrong}
    assert not wrong, json.dumps(wrong, indent=1)  # a comparison would be cut short
    expected = Counter[str]()
    for verdict in seen:
        expected[verdict.case.outcome.ending] += len(verdict.ids)
    assert after - before == expected
    judged.assert_nothing_is_left()
    assert is_served(judged.door)


def in_any_order(work: Callable[[Case], Verdict], swept: Iterable[Case]) -> Iterator[Verdict]:
    """Do the work for all cases side by side; one after the other for those that would strike a later request."""
    together = [case for case in swept if not case.fault.strikes_later]
    alone = [case for case in swept if case.fault.strikes_later]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield from pool.map(work, together)
    yield from map(work, alone)


def test_every_fault(plain: Judged) -> None:
    sweep(plain, [case for case in CASES if not case.fault.is_of_tls])


def test_every_fault_in_crossed_modes(plain: Judged) -> None:
    sweep(plain, [case for case in crossed_cases() if not case.fault.is_of_tls])


def test_every_fault_over_tls(over_tls: Judged) -> None:
    sweep(over_tls, OVER_TLS)
