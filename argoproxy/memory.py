"""What a worker remembers between requests."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

ResultT = TypeVar("ResultT")


class Shared(Generic[ResultT]):
    """Work that callers at the same time do only once; nothing is kept when it is done."""

    def __init__(self, work: Callable[[], ResultT]) -> None:
        self._work = work
        self._lock = threading.Lock()
        self._under_way: Future[ResultT] | None = None

    def result(self) -> ResultT:
        """Do the work, or wait for the one who does. Raises what the work raises."""
        with self._lock:
            is_first = self._under_way is None
            future = self._under_way = self._under_way or Future()
        if is_first:
            self._do(future)
        return future.result()

    def _do(self, future: Future[ResultT]) -> None:
        try:
            result = self._work()
        except BaseException as error:  # noqa: BLE001 those who wait must hear of it
            future.set_exception(error)
        else:
            future.set_result(result)
        finally:
            with self._lock:
                self._under_way = None
