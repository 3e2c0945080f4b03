"""The requests that a worker serves now, and those that it served last.

A request costs an entry in a dictionary and one in a ring. A thread of its own writes them down for the console, twice
a second, while that is looked at.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Generic, TypeVar

from argoproxy.telemetry.live.live_files import ENDED, OPEN, EndedRequest, LiveFolder, OpenRequest, encode, join
from argoproxy.telemetry.outcome import Outcome

logger = logging.getLogger("argoproxy")

EVERY_S = 0.5
#: Requests that have ended which a worker remembers.
MOST_ENDED = 512
#: Characters of a name; clients choose those of models.
LONGEST_NAME = 200

RequestT = TypeVar("RequestT")


class _Ended:
    """A request that ended `at`; encoded when it is looked at, once."""

    __slots__ = ("_text", "at", "outcome")

    def __init__(self, at: float, outcome: Outcome) -> None:
        self.at, self.outcome, self._text = at, outcome, ""

    @property
    def text(self) -> str:
        self._text = self._text or encode(_describe_ended(self))
        return self._text


class LiveRequests(Generic[RequestT]):
    """The requests of one worker: it is called when they begin, and is a listener of their outcomes."""

    def __init__(
        self,
        folder: Path,
        slot: int,
        describe: Callable[[RequestT, float], OpenRequest],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`folder` and `slot` are those in which this worker counts; `describe` says what a request does at a moment,
        called from another thread."""
        self._folder, self._slot, self._describe, self._clock = LiveFolder(folder), slot, describe, clock
        self._open: dict[str, RequestT] = {}
        self._ended: deque[_Ended] = deque(maxlen=MOST_ENDED)
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._written: _Ended | None = None
        self._has_files = False
        self._folder.remove(slot)

    def begin(self, request_id: str, request: RequestT) -> None:
        """Note that a request is served. Its outcome must follow."""
        self._open[request_id] = request
        if self._thread is None:
            self._start()

    def __call__(self, outcome: Outcome) -> None:
        """Note that a request has ended."""
        self._open.pop(outcome.id, None)
        self._ended.append(_Ended(self._clock(), outcome))

    def publish(self) -> None:
        """Write down what is known, if the console is open. Raises OSError."""
        now = self._clock()
        if not self._folder.is_watched(now):
            if self._has_files:
                self._folder.remove(self._slot)
                self._has_files = False
            return
        try:
            describe = partial(self._describe_open, now)
            self._folder.write(OPEN, self._slot, join(map(describe, list(self._open.values()))))
            self._write_ended()
        except BaseException:
            self._folder.remove(self._slot)  # what stands there would seem to go on
            self._has_files = False
            raise
        self._has_files = True

    def _describe_open(self, now: float, request: RequestT) -> str:
        described = self._describe(request, now)
        described["model"] = described["model"][:LONGEST_NAME]
        described["sent_model"] = described["sent_model"][:LONGEST_NAME]
        return encode(described)

    def _write_ended(self) -> None:
        """Write down what has ended, if that is more than before."""
        ended = list(self._ended)
        last = ended[-1] if ended else None
        if last is not self._written or not self._has_files:
            self._folder.write(ENDED, self._slot, join(one.text for one in ended))
            self._written = last

    def _start(self) -> None:
        """Start the thread: with the first request, which comes after the fork of the worker."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="live", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        pause = threading.Event()
        while True:
            pause.wait(EVERY_S)
            try:
                self.publish()
            except OSError:  # the disk is full, or the folder is gone with its master
                pass
            except Exception:
                logger.exception("code=live_failed: the console lists no requests any more")
                return


def _describe_ended(ended: _Ended) -> EndedRequest:
    outcome = ended.outcome
    return {
        "id": outcome.id,
        "at": round(ended.at, 3),
        "model": outcome.model[:LONGEST_NAME],
        "upstream": outcome.upstream,
        "key": outcome.key,
        "status": outcome.status,
        "ending": str(outcome.ending),
        "code": outcome.code or "",
        "first_byte_ms": to_ms(outcome.first_byte_s),
        "total_ms": round(1000 * outcome.total_s, 1),
        "prompt_tokens": outcome.prompt_tokens,
        "completion_tokens": outcome.completion_tokens,
    }


def to_ms(seconds: float | None) -> float | None:
    """Return seconds as milliseconds, None for None."""
    return None if seconds is None else round(1000 * seconds, 1)
