"""What a start shows at a terminal, and how Ctrl-C ends it."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.processes import (
    PATIENCE_S,
    ROOT,
    Upstream,
    clean_environment,
    eventually,
    free_port,
    is_listening,
    spawn,
)

COLOR = re.compile(r"\x1b\[[\d;]*m")
#: Ctrl-C may be ignored where the tests run.
START = (
    "import os, signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "os.execvp(sys.argv[1], sys.argv[1:])"
)


class AtScreen:
    """A proxy whose standard error is a terminal, in a process group of its own."""

    def __init__(self, folder: Path, environ: dict[str, str]) -> None:
        self.port = free_port()
        self._end, theirs = pty.openpty()
        settings = {**clean_environment(), "WORKERS": "1", "TERM": "xterm", **environ, "PORT": str(self.port)}
        command = [sys.executable, "-c", START, sys.executable, str(ROOT / "cot_proxy.py")]
        self.process = spawn(
            command, cwd=folder, env=settings, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
        )
        os.close(theirs)
        self.raw = ""

    @property
    def shown(self) -> str:
        return COLOR.sub("", self.raw)

    def sees(self, words: str) -> str:
        """Read until words are shown; return the rest of their line."""
        while f"{words}" not in self.shown or "\n" not in self.shown.partition(words)[2]:
            assert select.select([self._end], [], [], PATIENCE_S)[0], self.shown
            self.raw += os.read(self._end, 65536).decode().replace("\r\n", "\n")
        return self.shown.partition(words)[2].partition("\n")[0].strip()

    def interrupt(self) -> int:
        """Press Ctrl-C, which goes to all processes of the terminal, and return the exit status."""
        os.killpg(self.process.pid, signal.SIGINT)
        status = self.process.wait(PATIENCE_S)
        while select.select([self._end], [], [], 0)[0]:
            try:
                data = os.read(self._end, 65536)
            except OSError:
                break
            self.raw += data.decode()
        return status

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._end)


@pytest.fixture
def at_screen(tmp_path: Path) -> Iterator[Callable[..., AtScreen]]:
    screens: list[AtScreen] = []

    def start(**environ: str) -> AtScreen:
        screens.append(AtScreen(tmp_path, environ))
        return screens[-1]

    yield start
    for screen in screens:
        screen.close()


def test_a_terminal_shows_one_screen(at_screen: Callable[..., AtScreen]) -> None:
    screen = at_screen(DEMO="true")
    assert screen.sees("Base URL  ") == f"http://localhost:{screen.port}/v1"
    assert screen.sees("Key  ") == "any text; none is asked for"
    command = shlex.split(screen.sees("Try it  "))
    answer = subprocess.run([*command, "-sS"], capture_output=True, text=True, check=True, timeout=PATIENCE_S).stdout
    assert json.loads(answer)["choices"][0]["message"]["content"]
    warning = screen.sees("Warning  ")
    assert "anyone on this network" in warning
    assert "HOST=127.0.0.1" in warning
    assert "demo" in screen.sees("Models  ")
    assert screen.sees("Endpoint  ") == "ok"
    assert "[INFO]" not in screen.shown
    assert "\x1b[" in screen.raw
    assert screen.interrupt() == 0
    assert "Traceback" not in screen.shown
    assert "[INFO]" not in screen.shown


def test_the_screen_says_what_is_wrong_with_the_endpoint_and_serves_all_the_same(
    at_screen: Callable[..., AtScreen],
) -> None:
    screen = at_screen(
        TARGET_BASE_URL=f"http://127.0.0.1:{free_port()}/v1", ENABLE_AUTH="true", HOST="127.0.0.1", NO_COLOR="1"
    )
    key = screen.sees("Key  ").split()[0]
    assert f"Bearer {key}" in screen.sees("Try it  ")
    assert "nothing listens" in screen.sees("Endpoint  ")
    assert "TARGET_BASE_URL" in screen.sees("fix: ")
    assert "Warning" not in screen.shown
    assert "\x1b[" not in screen.raw
    assert screen.interrupt() == 0


def test_the_screen_names_the_models(at_screen: Callable[..., AtScreen], upstream: Upstream) -> None:
    screen = at_screen(TARGET_BASE_URL=upstream.url)
    assert screen.sees("Models  ") == "m1, m2"


@pytest.mark.parametrize("settings", [{"LOG_LEVEL": "warning"}, {"DEBUG": "true"}])
def test_who_wants_less_or_more_gets_lines_of_the_log(
    at_screen: Callable[..., AtScreen], settings: dict[str, str]
) -> None:
    screen = at_screen(DEMO="true", SKIP_URL_VALIDATION="true", **settings)
    eventually(lambda: is_listening(screen.port))
    if "DEBUG" in settings:
        screen.sees("Try it: ")
    screen.interrupt()
    assert "Stop it" not in screen.shown
