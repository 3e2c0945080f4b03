"""Whether the fuzzer notices a fault of each kind, planted in the proxy (planted.py)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tests.fuzz.harness import Harness
from tests.fuzz.run import case_of

APP = "tests.fuzz.planted:app"
#: A fault costs the harness its patience, so it gets little; what it reports besides for want of it does no harm.
PATIENCE_S = 1.0
MOST_CASES = 200
METRICS = ("metrics", "in flight", "key leaked")
UNSPOILT = range(5)

#: Each fault, with the invariant that it breaks.
FAULTS = {
    "raise in a handler": "internal error",
    "print a traceback": "traceback",
    "answer never": "hang",
    "close without an answer": "unanswered",
    "kill the worker": "worker died",
    "refuse the next request": "next request",
    "leave a descriptor open": "descriptors",
    "leave a thread running": "threads",
    "tell the key in an answer": "key leaked",
    "send the client's key upstream": "key leaked",
    "log the key": "key leaked",
    "write the key to the journal": "key leaked",
    "show the key in the metrics": "key leaked",
    "log nothing": "records",
    "log twice": "records",
    "leave requests out of the journal": "records",
    "count twice": "metrics",
    "never end a request": "in flight",
    "log a line break": "log line",
    "end a stream early": "stream end",
    "lose an event": "whole and streamed",
    "lose a byte that passes": "untouched",
}


def cases_until_noticed(folder: Path, worker_class: str, seed: int) -> Iterator[tuple[str, int | None]]:
    """Plant each fault and run the cases of a seed: (fault, how many it took); None if it was not noticed."""
    harness = Harness(folder, worker_class, APP)
    try:
        found = [one for number in UNSPOILT for one in harness.run(case_of(seed, number))] + harness.count()
        assert found == [], "without a fault"
        harness.patience_s = PATIENCE_S
        for fault, invariant in FAULTS.items():
            (folder / "planted").write_text(fault)
            yield (
                fault,
                next((number for number in range(MOST_CASES) if notices(harness, seed, number, invariant)), None),
            )
            (folder / "planted").unlink(missing_ok=True)
            harness.count()
    finally:
        harness.stop()


def notices(harness: Harness, seed: int, number: int, invariant: str) -> bool:
    """Run a case: whether it breaks this invariant."""
    found = harness.run(case_of(seed, number))
    if invariant in METRICS:
        found += harness.count()
    return any(one.invariant == invariant for one in found)
