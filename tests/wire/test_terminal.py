"""A proxy started from a terminal stops when that terminal goes away; a service manager's hang-up reloads."""

from __future__ import annotations

import os
import pty
import signal
import socket
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.client import Answer, chat
from tests.support.fixtures import Serve
from tests.support.processes import ROOT, Upstream, clean_environment, eventually, free_port, is_listening, spawn
from tests.support.scripts import CHUNKED, DONE, bodies, chunked, event

#: Runs a command in a session of its own, at the terminal that is its standard input.
#: The tests may run under nohup, which ignores hang-ups.
IN_TERMINAL = (
    "import fcntl, os, signal, sys, termios; signal.signal(signal.SIGHUP, signal.SIG_DFL); "
    "os.setsid(); fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
)
BECOME = "os.execvp(sys.argv[1], sys.argv[1:])"
IGNORING = "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN); "


class AtTerminal:
    """The proxy, started from a terminal of its own."""

    def __init__(self, folder: Path, environ: dict[str, str], before: str = "") -> None:
        self.port = free_port()
        self.terminal, inner = pty.openpty()
        settings = {**clean_environment(), "HOST": "127.0.0.1", "WORKERS": "2", **environ, "PORT": str(self.port)}
        command = [sys.executable, "-c", IN_TERMINAL + before + BECOME, sys.executable, str(ROOT / "cot_proxy.py")]
        self.process = spawn(command, cwd=folder, env=settings, stdin=inner, stdout=inner, stderr=inner)
        os.close(inner)
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        eventually(lambda: is_listening(self.port))

    def hang_up(self) -> None:
        """Close the terminal: its window, or the connection it came by."""
        if self.terminal >= 0:
            os.close(self.terminal)
            self.terminal = -1

    def _read(self) -> None:
        with suppress(OSError):
            while os.read(self.terminal, 65_536):
                pass

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        self.hang_up()


def test_a_terminal_that_goes_away_stops_the_proxy_and_its_streams_run_to_their_end(
    upstream: Upstream, tmp_path: Path
) -> None:
    door = AtTerminal(tmp_path, {"TARGET_BASE_URL": upstream.url})
    try:
        script = upstream.script(
            ["send", CHUNKED + chunked(event("a"))], ["sleep", 1.5], ["send", bodies([event("b", "stop"), DONE])]
        )
        answers: list[Answer] = []
        client = threading.Thread(
            target=lambda: answers.append(chat(door.port, stream=True, headers={"X-Script": script}))
        )
        client.start()
        eventually(lambda: upstream.seen(script))
        door.hang_up()
        client.join()
        assert (answers[0].text, answers[0].whole) == ("ab", True)
        assert answers[0].body.endswith(DONE.encode())
        assert door.process.wait(60) == 0
        eventually(lambda: not is_listening(door.port))
    finally:
        door.stop()


def test_under_nohup_it_goes_on_without_the_terminal(upstream: Upstream, tmp_path: Path) -> None:
    door = AtTerminal(tmp_path, {"TARGET_BASE_URL": upstream.url}, before=IGNORING)
    try:
        door.hang_up()
        for _ in range(5):
            assert chat(door.port).status == 200
    finally:
        door.stop()


@pytest.mark.parametrize("worker_class", ["gthread", "gevent", "sync"])
def test_a_hang_up_without_a_terminal_ends_no_worker(start: Serve, upstream: Upstream, worker_class: str) -> None:
    door = start(TARGET_BASE_URL=upstream.url, WORKER_CLASS=worker_class)
    assert chat(door.port).status == 200
    workers = door.workers()
    for pid in (*workers, door.process.pid):
        os.kill(pid, signal.SIGHUP)
    assert chat(door.port).status == 200
    assert door.workers() == workers


@pytest.mark.parametrize("worker_class", ["gthread", "gevent", "sync"])
def test_a_unix_socket_serves_as_a_port_does(upstream: Upstream, tmp_path: Path, worker_class: str) -> None:
    path = tmp_path / "door.sock"
    settings = {"TARGET_BASE_URL": upstream.url, "HOST": f"unix:{path}", "WORKERS": "1", "WORKER_CLASS": worker_class}
    command = [sys.executable, str(ROOT / "cot_proxy.py")]
    process = spawn(command, cwd=tmp_path, env={**clean_environment(), **settings})
    try:
        eventually(lambda: is_listening(path))
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(60)
            client.connect(str(path))
            client.sendall(b"GET /v1/models HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            parts = []
            while data := client.recv(65_536):
                parts.append(data)
        assert b"".join(parts).startswith(b"HTTP/1.1 200 OK")
    finally:
        process.terminate()
        assert process.wait(60) == 0
    assert not path.exists()
