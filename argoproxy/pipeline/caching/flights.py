"""Questions that this worker asks at the moment: requests with the same one wait for its answer."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Flights:
    """The keys of the questions that are being asked, and what wakes those that wait for an answer."""

    def __init__(self, most_waiting: int) -> None:
        """Each request that waits keeps a thread; so that others are served, at most `most_waiting` do."""
        self._lock = threading.Lock()
        self._wakes: dict[bytes, list[Callable[[], None]]] = {}
        self._most_waiting = most_waiting
        self._waiting = 0

    def begin(self, key: bytes) -> bool:
        """Begin to ask, and return True, unless another request asks already. `end` must follow."""
        with self._lock:
            if key in self._wakes:
                return False
            self._wakes[key] = []
            return True

    def end(self, key: bytes) -> None:
        """Wake those that wait: the answer is stored, or there will be none."""
        with self._lock:
            wakes = self._wakes.pop(key, [])
        for wake in wakes:
            wake()

    def join(self, key: bytes, wake: Callable[[], None]) -> bool:
        """Have `wake` called, by whatever thread, when the question is not asked any more. Return False if too many
        wait. `leave` must follow if it returns True."""
        with self._lock:
            if self._waiting >= self._most_waiting:
                return False
            self._waiting += 1
            wakes = self._wakes.get(key)
            if wakes is not None:
                wakes.append(wake)
        if wakes is None:
            wake()
        return True

    def leave(self, key: bytes, wake: Callable[[], None]) -> None:
        """Wait no longer."""
        with self._lock:
            self._waiting -= 1
            wakes = self._wakes.get(key, [])
            if wake in wakes:
                wakes.remove(wake)
