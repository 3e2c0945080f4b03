"""Many clients that ask again and again, and what the times of their answers prove."""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.support.client import Answer
from tests.support.processes import PATIENCE_S

#: Whether tests take as long as their promise says: minutes.
IS_FULL = os.environ.get("LIMITS") == "full"
#: What a time on one clock may differ from a span on another one, in requests.
CLOCKS = 0.01


def is_state_unavailable(answer: Answer) -> bool:
    """Return whether an answer says that the counters can't be used now."""
    return answer.status == 503 and answer.error["code"] == "state_unavailable"


@dataclass(frozen=True)
class Call:
    """A request, when it was sent and when its answer was there (seconds); `answer` is None if there was none."""

    sent: float
    answered: float
    status: int
    answer: Answer | None = None

    @property
    def is_undecided(self) -> bool:
        """Whether the counters were locked for too long."""
        return self.answer is not None and is_state_unavailable(self.answer)


def storm(clients: int, seconds: float, ask: Callable[[], Answer]) -> list[Call]:
    """Have so many clients ask without a pause, for so long and until one is refused, and return all calls; answers of
    those that were not served only."""
    calls: list[Call] = []
    begun = time.monotonic()
    refused = threading.Event()

    def is_going_on(now: float) -> bool:
        return now < begun + seconds or (not refused.is_set() and now < begun + PATIENCE_S)

    def repeat() -> None:
        while is_going_on(sent := time.monotonic()):
            answer = ask()
            kept = None if answer.status == 200 else answer
            calls.append(Call(sent, time.monotonic(), answer.status, kept))
            if answer.status == 429:
                refused.set()

    threads = [threading.Thread(target=repeat) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return calls


def assert_never_above(calls: Sequence[Call], limit: int, a_minute: float, amount: float = 1.0) -> None:
    """Check that in no interval more was admitted than `limit` and what came back in it. A request was admitted
    between its sending and its answer: what was sent and answered within an interval was admitted in it."""
    served = sorted((call for call in calls if call.status == 200), key=lambda call: call.answered)
    for first in served:
        begun = [call for call in served if call.sent >= first.sent]
        for count, last in enumerate(begun, 1):
            allowed = limit + a_minute / 60 * (last.answered - first.sent) + CLOCKS
            assert count * amount <= allowed, f"{count} in {last.answered - first.sent:.3f} s"


def assert_nothing_lost(calls: Sequence[Call], limit: int, a_minute: float) -> None:
    """Check that a request is refused only when less than one is left."""
    served = [call for call in calls if call.status == 200]
    refused = [call for call in calls if call.status == 429]
    first, last = min(call.answered for call in served), max(call.sent for call in refused)
    decided = max(call.answered for call in refused)
    before = sum(call.sent <= decided for call in served)
    assert before > limit - 1 + a_minute / 60 * (last - first) - 1


def assert_right_retry_after(calls: Sequence[Call], a_minute: float) -> None:
    """Check that each refusal tells the time until the next request is admitted, which is less than it takes to come
    back."""
    for call in calls:
        if call.answer is not None:
            assert call.answer.status == 429, call.answer.body
            wait_ms = float(call.answer.header("retry-after-ms"))
            assert 0 < wait_ms <= math.ceil(60_000 / a_minute)
            assert float(call.answer.header("Retry-After")) == math.ceil(wait_ms / 1000)
