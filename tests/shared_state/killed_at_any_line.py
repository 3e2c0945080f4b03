"""Changes to the places of a host by a process that is killed, at each line of them in turn."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from mmap import mmap
from typing import Any

from argoproxy.protocol.resilience.waiting import Pool
from argoproxy.shared_state import place_table, upstream_places
from argoproxy.shared_state.place_table import SIZE
from tests.shared_state.places import GPU, SPARE, A, make_places, take


def run_until_line(number: int, work: Callable[[], object]) -> bool:
    """Run work in a process that ends at the line of this number; return whether work had ended before."""
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    lines = itertools.count()
    files = (place_table.__file__, upstream_places.__file__)

    def trace(frame: Any, event: str, _: Any) -> Any:
        if event == "line" and frame.f_code.co_filename in files and next(lines) == number:
            os._exit(1)
        return trace

    sys.settrace(trace)
    try:
        work()
    finally:
        os._exit(0)


def check_every_line() -> None:
    """Check what is left of a process that frees a place for another one, takes places and waits, wherever it ends.
    Raises AssertionError."""
    rule = replace(GPU, pools=(*GPU.pools, Pool(30, 1)))
    for line in itertools.count():
        memory = mmap(-1, SIZE)
        places = make_places(memory, 1)
        take(make_places(memory, 2))
        held, waiter = take(places), take(places, rule)

        def work() -> None:
            killed = make_places(memory, 2)  # noqa: B023 it is called at once
            taken = [take(killed, SPARE), take(killed), take(killed, rule)]
            for ticket in taken[::-1]:
                ticket.release()

        has_ended = run_until_line(line, work)
        others = make_places(memory, 3, 2)
        assert others.take_free(A, GPU) is None
        assert (waiter.is_waiting(), waiter.option) == (False, 0)
        assert (others.count(10), others.count(20), others.count(30)) == ((2, 0), (0, 0), (1, 0))
        held.release()
        waiter.release()
        assert (others.count(10), others.count(30)) == ((0, 0), (0, 0))
        assert [bool(others.take_free(A, GPU)) for _ in range(3)] == [True, True, False]
        if has_ended:
            assert line > 100
            return


if __name__ == "__main__":
    check_every_line()
