"""Chromium's DevTools protocol over a pair of pipes: JSON messages that end with a zero byte.

The commands and events: https://chromedevtools.github.io/devtools-protocol/
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.support.processes import PATIENCE_S, spawn

#: Gives the program behind it its two ends: it reads commands from 3 and writes to 4.
WITH_PIPES = 'in=$1 out=$2; shift 2; exec "$@" 3<&"$in" 4>&"$out"'
#: Above 3 and 4, so that giving one of them takes no other away.
LOWEST_DESCRIPTOR = 10
READ_BYTES = 1 << 20


class DevToolsError(Exception):
    """A command was refused."""


class DevTools:
    """A browser's end of the protocol. Commands and events of a page go by its session, "" is the browser's own."""

    def __init__(self, command: Sequence[str], folder: Path, log: Path) -> None:
        theirs_in, self._out = _make_pipe()
        self._in, theirs_out = _make_pipe()
        descriptors = (theirs_in, theirs_out)
        with log.open("wb") as file:
            given = ["bash", "-c", WITH_PIPES, "bash", *map(str, descriptors), *command]
            self._process = spawn(given, cwd=folder, pass_fds=descriptors, stdout=file, stderr=file)
        for descriptor in descriptors:
            os.close(descriptor)
        self._log, self._rest, self._last_id = log, b"", 0
        self.events: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)

    def call(self, method: str, session: str = "", /, **parameters: Any) -> Any:
        """Send a command, and return its result. Events that come before are kept. Raises DevToolsError."""
        self._last_id += 1
        message: dict[str, Any] = {"id": self._last_id, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        data = memoryview(json.dumps(message).encode() + b"\0")
        while data:
            data = data[os.write(self._out, data) :]
        until = time.monotonic() + PATIENCE_S
        while True:
            for answer in self._read(until):
                if answer.get("id") == self._last_id:
                    return _result_of(method, answer)

    def take_events(self) -> None:
        """Keep the events that have come."""
        self.call("Browser.getVersion")

    def close(self) -> None:
        """End the browser."""
        self._process.kill()
        self._process.wait()
        os.close(self._in)
        os.close(self._out)

    def _read(self, until: float) -> list[dict[str, Any]]:
        """Wait for messages; keep the events, and return the answers."""
        if not select.select([self._in], [], [], max(0.0, until - time.monotonic()))[0]:
            raise DevToolsError(f"the browser does not answer; it said: {self._log.read_text('utf-8', 'replace')}")
        data = os.read(self._in, READ_BYTES)
        if not data:
            raise DevToolsError(f"the browser has ended; it said: {self._log.read_text('utf-8', 'replace')}")
        *whole, self._rest = (self._rest + data).split(b"\0")
        messages = [json.loads(one) for one in whole]
        for message in messages:
            if "method" in message:
                self.events[message.get("sessionId", "")].append(message)
        return [message for message in messages if "id" in message]


def _make_pipe() -> tuple[int, int]:
    """Return the ends of a pipe to read from and to write to."""
    low = os.pipe()
    ends = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, LOWEST_DESCRIPTOR) for end in low]
    for end in low:
        os.close(end)
    return ends[0], ends[1]


def _result_of(method: str, answer: Mapping[str, Any]) -> Any:
    if "error" in answer:
        raise DevToolsError(f"{method}: {answer['error'].get('message')}")
    return answer["result"]
