"""Runs numbered cases: case K of seed N is the same on every machine."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from tests.fuzz.case import Case, Violation
from tests.fuzz.harness import Harness
from tests.fuzz.replies import reply_case
from tests.fuzz.requests import request_case

REQUEST_CASES, AT_ONCE = 0.5, 0.2
#: After so many cases the metrics are compared with the log.
TOGETHER = 8


def case_of(seed: int, number: int) -> Case:
    """Make a case."""
    rng = random.Random(f"{seed}:{number}")
    case = request_case(rng) if rng.random() < REQUEST_CASES else reply_case(rng)
    return replace(case, at_once=rng.random() < AT_ONCE)


@dataclass
class Summary:
    """What a run came to."""

    seed: int
    cases: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    statuses: Counter[str] = field(default_factory=Counter)
    endings: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [f"seed {self.seed}: {self.cases} cases, {self.endings.total()} requests"]
        for name, counter in (("cases", self.kinds), ("statuses", self.statuses), ("endings", self.endings)):
            lines.append(f"{name}: " + ", ".join(f"{key} {count}" for key, count in sorted(counter.items())))
        return "\n".join([*lines, f"{len(self.violations)} violations", *self.violations])

    def add(self, cases: str, name: str, found: Iterable[Violation]) -> None:
        """Take note of what did not hold in a case, or in one of several."""
        self.violations += [f"--seed {self.seed} --case {cases} ({name}) {one}" for one in found]


def run(harness: Harness, seed: int, numbers: Iterable[int]) -> Summary:
    """Run cases one after another."""
    summary = Summary(seed)
    uncounted: list[int] = []
    for number in numbers:
        case = case_of(seed, number)
        summary.add(str(number), case.name, harness.run(case))
        summary.cases += 1
        summary.kinds[case.name] += 1
        uncounted.append(number)
        if len(uncounted) == TOGETHER:
            summary.add(f"{uncounted[0]}-{uncounted[-1]}", "together", harness.count())
            uncounted.clear()
    summary.add(f"{uncounted[0]}-{uncounted[-1]}" if uncounted else "0", "at the end", harness.count())
    summary.statuses.update(harness.statuses)
    summary.endings.update(harness.endings)
    return summary
