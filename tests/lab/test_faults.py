"""Every fault of the laboratory: what its client sees, what the books say, and that nothing is left."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.lab.client import Answer, ask, chat
from tests.lab.faults import COMPLETE, GONE, SHORT
from tests.lab.judge import Case, Door, cases, complaints, complaints_of_the_sdk, crossed_cases, is_served
from tests.lab.judge import ask as ask_for
from tests.lab.scripts import Step, completion, reply
from tests.wire.conftest import Serve
from tests.wire.processes import Proxy, Upstream, eventually

CASES = list(cases())
THREADS = 4
SETTLED_S = 0.3
OVER_TLS = [case for case in CASES if case.fault.is_of_tls or case.name.startswith(("half", "silence", "FIN", "RST"))]


@dataclass
class Judged:
    """Our door before the laboratory's upstream, and what it writes down."""

    door: Door
    proxy: Proxy
    journal: Path
    used: tuple[int, int] = (0, 0)

    def endings(self) -> Counter[str]:
        """Wait until nobody is served; give what was counted by then, by ending."""

        def told() -> Any:
            return ask(self.proxy.port, "GET", "/metrics", Accept="application/json").json

        eventually(lambda: told()["in_flight"] == 0)
        return Counter(told()["requests"]["by_ending"])

    def entry(self, logging_id: str) -> dict[str, Any]:
        """Wait for what the journal says of a request."""

        def found() -> list[dict[str, Any]]:
            lines = self.journal.read_text().splitlines()[-20:] if self.journal.exists() else []
            return [line for line in map(json.loads, lines) if line["logging_id"] == logging_id]

        (entry,) = eventually(found)
        return dict(entry)

    def in_use(self) -> tuple[int, int]:
        """Count descriptors and threads."""
        threads = sum(len(list(Path(f"/proc/{pid}/task").iterdir())) for pid in self.proxy.workers())
        return self.proxy.descriptors(), threads

    def has_nothing_left(self) -> bool:
        descriptors, threads = self.in_use()
        return descriptors <= self.used[0] and threads <= self.used[1]


@pytest.fixture(params=["gthread", "gevent"], scope="module")
def worker_class(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(params=["true", "false"], ids=["stripping", "leaving thoughts"], scope="module")
def think_filter(request: pytest.FixtureRequest) -> str:
    wanted: str = request.param
    return wanted


def judged(serve: Serve, upstream: Upstream, folder: Path, **settings: str) -> Judged:
    proxy = serve(
        TARGET_BASE_URL=upstream.url,
        API_REQUEST_TIMEOUT="0.5",
        THREADS=str(THREADS),
        HEARTBEAT="0.1",
        OUTPUT_PATH=str(folder),
        JOURNAL_BODIES="meta",
        **settings,
    )
    strips = settings["THINK_FILTER"] == "true"
    door = Door(proxy.url, strips, lambda steps, body: upstream.script(*steps, body=body))
    made = Judged(door, proxy, folder / "client_interaction.jsonl")
    warm_up(made, upstream)
    return made


def warm_up(judged: Judged, upstream: Upstream) -> None:
    """Have every thread serve once, so that nothing is new later."""
    script = upstream.script(["sleep", 0.25], completion_of("Hi"))
    with ThreadPoolExecutor(THREADS) as pool:
        asked = [pool.submit(chat, judged.proxy.port, headers={"X-Script": script}) for _ in range(THREADS)]
    assert {one.result().status for one in asked} == {200}
    time.sleep(SETTLED_S)
    judged.used = judged.in_use()


def completion_of(text: str) -> Step:
    return reply(body=completion(text))


@pytest.fixture(scope="module")
def plain(
    serve: Serve, upstream: Upstream, worker_class: str, think_filter: str, tmp_path_factory: pytest.TempPathFactory
) -> Judged:
    folder = tmp_path_factory.mktemp("lab")
    return judged(serve, upstream, folder, WORKER_CLASS=worker_class, THINK_FILTER=think_filter)


@pytest.fixture(scope="module")
def over_tls(
    serve: Serve, tls_upstream: Upstream, worker_class: str, ca_file: Path, tmp_path_factory: pytest.TempPathFactory
) -> Judged:
    settings = {"WORKER_CLASS": worker_class, "THINK_FILTER": "true", "REQUESTS_CA_BUNDLE": str(ca_file)}
    return judged(serve, tls_upstream, tmp_path_factory.mktemp("lab"), **settings)


def see(judged: Judged, case: Case) -> None:
    """Have a request spoilt, by two clients, and see that all is as it should be."""
    before = judged.endings()
    answer = ask_for(judged.door, case)
    assert list(complaints(judged.door, case, answer)) == []
    tell_the_same(judged, case, answer)
    if case.outcome != COMPLETE and answer.status >= 502 and case.outcome.status == 200:
        tells_how_much_had_come(answer, case)
    asked = 1
    if not (case.fault.is_heavy or case.crossed):
        assert list(complaints_of_the_sdk(judged.door, case)) == []
        asked = 2
    assert judged.endings() - before == Counter({case.outcome.ending: asked})
    eventually(judged.has_nothing_left)
    assert is_served(judged.door)


def tell_the_same(judged: Judged, case: Case, answer: Answer) -> None:
    """See that log line and journal tell the ending."""
    line, entry = judged.proxy.line(answer.id), judged.entry(answer.id)
    code = "" if case.outcome.ending == "upstream_error" else case.outcome.code
    assert (line["ending"], line.get("code", "")) == (case.outcome.ending, code)
    assert (entry["ending"], entry["status"]) == (case.outcome.ending, answer.status)


def tells_how_much_had_come(answer: Answer, case: Case) -> None:
    """See that a message counts the bytes that had come; exactly, where just the first two words had."""
    if answer.error["code"] in (GONE, SHORT, "idle_timeout"):
        found = re.search(r"after (\d+) bytes of its body", answer.error["message"])
        assert found, answer.error
        assert int(found.group(1)) > 0
        if case.name.endswith(" in the body"):
            assert int(found.group(1)) == len("".join(case.said.pieces[:2]))


@pytest.mark.parametrize("case", [case for case in CASES if not case.fault.is_of_tls], ids=str)
def test_a_fault(plain: Judged, case: Case) -> None:
    see(plain, case)


@pytest.mark.parametrize("think_filter", ["true"], indirect=True)
@pytest.mark.parametrize("case", [case for case in crossed_cases() if not case.fault.is_of_tls], ids=str)
def test_a_fault_in_crossed_modes(plain: Judged, case: Case) -> None:
    see(plain, case)


@pytest.mark.parametrize("case", OVER_TLS, ids=str)
def test_a_fault_over_tls(over_tls: Judged, case: Case) -> None:
    see(over_tls, case)
