"""`/api/doctor`: `argoproxy doctor` in a process of its own, one at a time, and its last report."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import argoproxy
from argoproxy.console.views.view_shapes import DoctorView
from argoproxy.protocol.json_text import JsonError, loads

#: A run is ended after so many seconds: a chat may wait for a model that is loaded first.
LONGEST_RUN_S = 300.0
NICE = 10
NOT_YET = (
    "doctor has not run since the console was started; a run asks each upstream, and its models if chats are wanted."
)
RUNNING = "doctor runs; its report will be here when it has ended."
COMMAND = (sys.executable, "-P", "-m", "argoproxy", "doctor", "--json")
#: Where this package is: the proxy may run from a checkout that is not installed.
_PACKAGE_FOLDER = str(Path(argoproxy.__file__).resolve().parent.parent)


class DoctorRuns:
    """The runs of one console."""

    def __init__(
        self,
        environ: Mapping[str, str],
        here: Path,
        command: Sequence[str] = COMMAND,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`environ` and `here` are those of the proxy: so doctor finds the settings that it has."""
        self._environ, self._here, self._command, self._clock = dict(environ), here, tuple(command), clock
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._shown: DoctorView = _make_view("never", None, None, None, NOT_YET)

    def view(self) -> DoctorView:
        """Return the last report, or that one is being made."""
        with self._lock:
            return self._shown

    def start(self, model: str = "", *, asks_chat: bool = False) -> DoctorView:
        """Start a run, unless one is under way; `model` is the one to ask. Returns at once."""
        options = [*([] if asks_chat else ["--no-chat"]), *(["--model", model] if model else [])]
        with self._lock:
            if self._shown["state"] != "running":
                before = self._shown["report"]
                self._shown = _make_view("running", self._clock(), None, before, RUNNING)
                threading.Thread(target=self._run, args=(options,), name="doctor", daemon=True).start()
            return self._shown

    def stop(self) -> None:
        """End a run that is under way."""
        process = self._process
        if process and process.poll() is None:
            process.kill()

    def _run(self, options: Sequence[str]) -> None:
        report, reason = self._make_report(options)
        with self._lock:
            state = "done" if report is not None else "failed"
            shown = report if report is not None else self._shown["report"]
            self._shown = _make_view(state, self._shown["started_at"], self._clock(), shown, reason)

    def _make_report(self, options: Sequence[str]) -> tuple[Any, str]:
        """Return a report and "", or None and why there is none."""
        path = os.pathsep.join(filter(None, (_PACKAGE_FOLDER, self._environ.get("PYTHONPATH", ""))))
        try:
            self._process = process = subprocess.Popen(  # noqa: S603 our own command, without a shell
                [*self._command, *options],
                cwd=self._here,
                env={**self._environ, "PYTHONPATH": path},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
            with suppress(OSError):
                # All that serves goes first.
                os.setpriority(os.PRIO_PROCESS, process.pid, NICE)
            with process:
                output, _ = process.communicate(timeout=LONGEST_RUN_S)
        except subprocess.TimeoutExpired:
            self.stop()
            return None, f"doctor did not end within {LONGEST_RUN_S:.0f} s."
        except OSError as error:
            return None, f"doctor can't be started: {error.strerror}."
        try:
            report = loads(output)
        except JsonError:
            report = None
        return (report, "") if isinstance(report, dict) else (None, f"doctor ended with status {process.returncode}.")


def _make_view(state: Any, started_at: float | None, finished_at: float | None, report: Any, reason: str) -> DoctorView:
    return {
        "state": state,
        "started_at": started_at,
        "finished_at": finished_at,
        "report": report,
        "reason": reason,
    }
