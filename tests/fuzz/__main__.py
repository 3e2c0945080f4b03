"""Fuzz the proxy for a while: `python -m tests.fuzz --seconds 3600 --seed N --worker gthread`.

Ends with 1 if an invariant did not hold; `--seed N --case K` shows a case and runs it again. `--selfcheck` plants a
fault for each invariant in place of that, and tells which were noticed.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from tests.fuzz.case import Case
from tests.fuzz.harness import Harness
from tests.fuzz.run import case_of, run
from tests.fuzz.selfcheck import FAULTS, cases_until_noticed


def main() -> int:
    parser = argparse.ArgumentParser("python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--case", help="run only this case, or these (8-15), and show them", metavar="K")
    parser.add_argument("--worker", choices=("gthread", "gevent"), default="gthread")
    parser.add_argument("--selfcheck", action="store_true")
    asked = parser.parse_args()
    if asked.selfcheck:
        return selfcheck(asked.worker, asked.seed)
    numbers: Iterable[int] = numbers_for(asked.seconds)
    if asked.case:
        first, _, last = asked.case.partition("-")
        numbers = range(int(first), int(last or first) + 1)
        for number in numbers:
            show(case_of(asked.seed, number))
    with tempfile.TemporaryDirectory() as folder:
        harness = Harness(Path(folder), asked.worker)
        try:
            summary = run(harness, asked.seed, numbers)
            if asked.case:
                sys.stdout.write(harness.proxy.log())
        finally:
            harness.stop()
    sys.stdout.write(f"{asked.worker}, {summary}\n")
    return int(bool(summary.violations))


def selfcheck(worker_class: str, seed: int) -> int:
    """Plant faults, and tell which were noticed: 0 if all were."""
    missed = 0
    with tempfile.TemporaryDirectory() as folder:
        for fault, number in cases_until_noticed(Path(folder), worker_class, seed):
            missed += number is None
            told = "MISSED" if number is None else f"noticed at case {number}"
            sys.stdout.write(f"{FAULTS[fault]:18} {fault}: {told}\n")
    return int(missed > 0)


def numbers_for(seconds: float) -> Iterator[int]:
    """Count for so long, and tell how it goes."""
    until = time.monotonic() + seconds
    for number in itertools.count():
        if time.monotonic() >= until:
            return
        yield number


def show(case: Case) -> None:
    sys.stdout.write(f"{case.name}\n")
    for sent in case.sent:
        sys.stdout.write(f"  sent {sent}\n")
    for name, steps in (("whole", case.whole), ("streamed", case.streamed)):
        for step in steps:
            sys.stdout.write(f"  {name} {step}\n")


if __name__ == "__main__":
    sys.exit(main())
