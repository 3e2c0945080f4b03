"""When the console is started again, after it ended."""

from __future__ import annotations

from argoproxy.server.process import CONSOLE_LONGEST_PAUSE_S, CONSOLE_PAUSE_S, pause_before_console


def test_the_pause_grows_while_it_can_not_start_and_has_an_end() -> None:
    pauses = [pause_before_console(failures) for failures in range(1, 2000)]
    assert pauses[:3] == [CONSOLE_PAUSE_S, 2 * CONSOLE_PAUSE_S, 4 * CONSOLE_PAUSE_S]
    assert pauses == sorted(pauses)
    assert pauses[-1] == CONSOLE_LONGEST_PAUSE_S


def test_one_that_ran_for_a_while_is_back_soon() -> None:
    assert pause_before_console(0) == CONSOLE_PAUSE_S
