"""Every fault of the laboratory with a spare behind it: before the first content the client gets the spare's answer,
whole; after it one error event, and never two answers joined.

LAB=full shows every fault to both kinds of workers; else each kind sees half of them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from tests.lab.faults import COMPLETE
from tests.lab.judge import Case, Door, ask, cases, complaints, crossed_cases
from tests.support.client import Answer
from tests.support.fixtures import Serve
from tests.support.processes import UNCOVERED, Upstream
from tests.support.switched_upstream import SwitchedUpstream

AT_ONCE = 8
CASES = [case for case in (*cases(), *crossed_cases()) if not (case.fault.is_of_tls or case.fault.strikes_later)]
SPARE_TEXT = "spare says hello"
#: Upstreams at the one address that spoils replies; their time-outs are theirs only, so that the spare is never late.
PRIMARIES: dict[str, dict[str, float]] = {
    "plain": {},
    "begins-soon": {"first_byte_timeout": 0.5},
    "goes-on-soon": {"idle_timeout": 1.5},
}
HALVES = {"gthread": 0, "gevent": 1}


@pytest.fixture(params=HALVES, scope="module")
def worker_class(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def door(
    worker_class: str, serve: Serve, upstream: Upstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Door]:
    """A proxy with a spare. Each case has a model of its own, so that no circuit opens."""
    folder = tmp_path_factory.mktemp("spare")
    with SwitchedUpstream("spare") as spare:
        yield make_door(folder, worker_class, serve, upstream, spare)


def make_door(folder: Path, worker_class: str, serve: Serve, upstream: Upstream, spare: SwitchedUpstream) -> Door:
    servers = {name: {"base_url": upstream.url, **timeouts} for name, timeouts in PRIMARIES.items()}
    rules = {f"{name}-*": {"upstream": [name, "spare"]} for name in PRIMARIES}
    config = {"upstreams": {**servers, "spare": {"base_url": spare.url}}, "models": rules}
    (folder / "config.yaml").write_text(json.dumps(config))
    settings = {"CONFIG_PATH": str(folder / "config.yaml"), "WORKER_CLASS": worker_class, "THREADS": "10"}
    proxy = serve(**settings, THINK_FILTER="true", HEARTBEAT="0.1", **UNCOVERED)
    return Door(
        proxy.url,
        strips=True,
        register=lambda steps, body: upstream.script(*steps, body=body),
        strike=upstream.strike,
    )


def door_of(door: Door, number: int) -> Door:
    """Return the door by which one case is asked, with models of its own."""
    plain, begins, goes_on = (f"{name}-{number}" for name in PRIMARIES)
    return replace(door, model=plain, model_that_begins_soon=begins, model_that_goes_on_soon=goes_on)


def is_answered_by_the_spare(case: Case) -> bool:
    """Return whether a fault strikes before any content came, and may be followed by another route. A document that
    breaks has brought nothing."""
    outcome = case.fault.streamed if case.is_said_in_a_stream else case.fault.whole
    assert outcome is not None
    is_refusal = 400 <= outcome.status < 500
    has_content = case.is_said_in_a_stream and outcome.status == 200 and bool(outcome.words)
    return outcome != COMPLETE and not is_refusal and not has_content


def complaints_about_the_spare(case: Case, answer: Answer) -> Iterator[str]:
    """Tell what is wrong with an answer that should be the spare's."""
    if answer.status != 200 or not answer.whole:
        yield f"status {answer.status}, {answer.body[:200]!r}"
        return
    text = answer.text if case.streams else answer.json["choices"][0]["message"]["content"]
    if text != SPARE_TEXT:
        yield f"the text {text[:80]!r}"
    if case.streams and (b'"error"' in answer.body or not answer.body.endswith(b"data: [DONE]\n\n")):
        yield "the spare's stream does not end well"
    said = (answer.header("X-Upstream"), answer.header("X-Attempts"))
    # After a moment of silence the head was sent while the primary was still asked.
    if said not in {("", ""), ("spare", "2")}:
        yield f"the headers {answer.headers}"


def witness(door: Door, case: Case) -> list[str]:
    """Have a request spoilt, and tell what is wrong with its answer."""
    answer = ask(door, case)
    if is_answered_by_the_spare(case):
        return list(complaints_about_the_spare(case, answer))
    wrong = list(complaints(door, case, answer))
    if b"spare" in answer.body:
        wrong.append("two answers are joined")
    return wrong


def test_every_fault_with_a_spare(door: Door, worker_class: str) -> None:
    chosen = CASES if os.environ.get("LAB") == "full" else CASES[HALVES[worker_class] :: len(HALVES)]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        doors = [door_of(door, number) for number in range(len(chosen))]
        found = list(pool.map(witness, doors, chosen))
    failed = {str(case): wrong for case, wrong in zip(chosen, found, strict=True) if wrong}
    assert not failed, failed
