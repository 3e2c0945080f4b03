"""A primary that dies in every way, and a spare: no request fails, few are wasted, it is used again when it is back.

RESILIENCE=full asks once a second for a minute, as in service, and measures on the clock.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.resilience.farm import IS_FULL, Farm, attempts, speaker
from tests.support.client import Answer, chat
from tests.support.processes import Proxy
from tests.support.switched_upstream import SwitchedUpstream

OUTAGE_S, PACE_S = (60.0, 1.0) if IS_FULL else (5.0, 0.1)
#: So many that the circuit is open for most of them.
FEWEST_REQUESTS = 20
#: What one attempt at a primary that says nothing takes; beyond any delay of a busy machine when it is well.
TIMEOUT_S = 2.0
#: By its own clock no circuit would be tried again before the end of the test.
OPEN_S = 120.0
MOST_WASTED, MOST_ADDED_S, BACK_WITHIN_S = 3, 0.05, 2.0

KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "refused": ("refused", {}),
    "silent": ("silent", {}),
    "500": ("status", {"status": 500}),
    "503": ("status", {"status": 503}),
    "slow TLS": ("stalled", {}),
}


@dataclass
class Course:
    """What became of the requests of one outage: answers and seconds, while it lasted and beside it."""

    answers: list[Answer] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    straight: list[float] = field(default_factory=list)
    sent_to_primary: int = 0
    back_s: float = 0.0


def timed(port: int, model: str) -> tuple[float, Answer]:
    begun = time.monotonic()
    answer = chat(port, model=model, stream=True)
    return time.monotonic() - begun, answer


def suffer(kind: str, primary: SwitchedUpstream, proxy: Proxy) -> Course:
    """Let the primary be away for a while, and ask."""
    course, (switch, options) = Course(), KINDS[kind]
    wait_for(proxy, kind, primary.name)
    before = len(primary.chats())
    primary.switch(switch, **options)
    end = time.monotonic() + OUTAGE_S
    while (begun := time.monotonic()) < end or len(course.answers) < FEWEST_REQUESTS:
        seconds, answer = timed(proxy.port, kind)
        course.answers.append(answer)
        course.seconds.append(seconds)
        course.straight.append(timed(proxy.port, "straight")[0])
        time.sleep(max(0.0, begun + PACE_S - time.monotonic()))
    course.sent_to_primary = len(primary.chats()) - before
    primary.switch("ok")
    back_at = time.monotonic()
    wait_for(proxy, kind, primary.name)
    course.back_s = time.monotonic() - back_at
    return course


def wait_for(proxy: Proxy, model: str, name: str) -> None:
    """Ask until an upstream answers; every answer on the way must be whole."""
    until = time.monotonic() + OPEN_S / 2
    while speaker(chat(proxy.port, model=model, stream=True)) != name:
        assert time.monotonic() < until, f"{name} does not answer"
        time.sleep(PACE_S / 4)


@pytest.fixture(scope="module")
def courses(
    upstreams_by_name: Any, ca_file: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Course]]:
    """All outages at once, in front of one proxy."""
    started: list[Proxy] = []
    folder = tmp_path_factory.mktemp("outages")

    def start(**environ: str) -> Proxy:
        started.append(Proxy(folder, environ))
        return started[-1]

    farm = Farm(upstreams_by_name, start, folder)
    names = {kind: f"{'tls' if kind == 'slow TLS' else 'primary'}-{kind.split()[0]}" for kind in KINDS}
    hasty = {"connect_timeout": TIMEOUT_S, "first_byte_timeout": TIMEOUT_S, "verify": str(ca_file)}
    for name in names.values():
        upstreams_by_name(name).reset()
    farm.write(
        "spare",
        *names.values(),
        options=dict.fromkeys(names.values(), hasty),
        breaker={"open": OPEN_S},
        models={
            **{kind: {"upstream": [name, "spare"]} for kind, name in names.items()},
            "straight": {"upstream": "spare"},
        },
    )
    proxy = farm.serve()
    with ThreadPoolExecutor(len(KINDS)) as pool:
        running = {kind: pool.submit(suffer, kind, upstreams_by_name(name), proxy) for kind, name in names.items()}
        yield {kind: one.result() for kind, one in running.items()}
    for one in started:
        one.stop()


@pytest.mark.parametrize("kind", KINDS)
def test_no_request_fails(courses: dict[str, Course], kind: str) -> None:
    assert {speaker(answer) for answer in courses[kind].answers} == {"spare"}


@pytest.mark.parametrize("kind", KINDS)
def test_few_attempts_are_wasted(courses: dict[str, Course], kind: str) -> None:
    course = courses[kind]
    wasted = sum(attempts(answer) - 1 for answer in course.answers)
    assert 1 <= wasted <= MOST_WASTED
    assert course.sent_to_primary <= MOST_WASTED
    assert {answer.header("X-Upstream") for answer in course.answers} == {"spare"}


@pytest.mark.parametrize("kind", KINDS)
def test_once_open_it_costs_no_time(courses: dict[str, Course], kind: str) -> None:
    course = courses[kind]
    open_s = [s for s, answer in zip(course.seconds, course.answers, strict=True) if attempts(answer) == 1]
    assert len(open_s) >= len(course.answers) - MOST_WASTED
    added_s = statistics.median(open_s) - statistics.median(course.straight)
    assert added_s < (MOST_ADDED_S if IS_FULL else TIMEOUT_S / 2)


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_used_again_soon_after_its_return(courses: dict[str, Course], kind: str) -> None:
    """Not when its time is up, which would be much later, but when a probe finds it well."""
    assert courses[kind].back_s < (BACK_WITHIN_S if IS_FULL else OPEN_S / 2)
