"""An upstream, as a process of its own, that a test switches between health and failures."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from tests.support.processes import ROOT, eventually, free_port, is_listening, spawn, uncovered_environment

Json = dict[str, Any]


class SwitchedUpstream:
    """The process. What it can be switched to stands in switched_server.py, for all models or for one of them."""

    def __init__(
        self, name: str, certificate: tuple[Path, Path] | None = None, port: int = 0, base: str = "/v1"
    ) -> None:
        self.name, self.port = name, port or free_port()
        self.url = f"{'https' if certificate else 'http'}://localhost:{self.port}{base}"
        files = [str(file) for file in certificate or ()]
        command = [sys.executable, "-m", "tests.support.switched_server", str(self.port), name, *files]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self._process = spawn(command, cwd=ROOT, env=uncovered_environment(), **pipes)
        self._lock = threading.Lock()
        eventually(lambda: is_listening(self.port))

    def __enter__(self) -> SwitchedUpstream:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End it, with everything that is under way."""
        self._process.kill()
        self._process.communicate()

    def switch(self, kind: str, *, model: str = "", **options: Any) -> None:
        """Behave like this from now on; what was held goes on."""
        self._command({"do": "switch", "kind": kind, "model": model, **options})
        eventually(lambda: is_listening(self.port) == (kind != "refused"))

    def reset(self) -> None:
        """Be well, for all models, and forget what was seen, once all that was under way has ended: its clients have
        left, or are about to."""
        self._command({"do": "reset"})
        eventually(lambda: is_listening(self.port) and self.active() == 0)
        self._command({"do": "forget"})

    def release(self, count: int = 1) -> None:
        """Let so many held streams go on."""
        self._command({"do": "release", "count": count})

    def seen(self, path: str = "") -> list[Json]:
        """Return the requests, in the order in which they came; those whose path ends like this."""
        found: list[Json] = self._command({"do": "seen"})
        return [one for one in found if one["path"].endswith(path)]

    def chats(self, model: str = "") -> list[Json]:
        """Return the requests that are no questions for the list of models; those for one model."""
        return [one for one in self.seen() if one["method"] == "POST" and model in ("", one["model"])]

    def active(self) -> int:
        """Return how many requests are being answered now, questions for the list of models aside."""
        count: int = self._command({"do": "stats"})["active"]
        return count

    def most_active(self) -> int:
        """Return how many requests were answered at the same time at most."""
        count: int = self._command({"do": "stats"})["most_active"]
        return count

    def accepted(self) -> int:
        """Return how many connections were accepted."""
        count: int = self._command({"do": "stats"})["accepted"]
        return count

    def _command(self, command: Json) -> Any:
        with self._lock:
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            self._process.stdin.write(json.dumps(command) + "\n")
            self._process.stdin.flush()
            return json.loads(self._process.stdout.readline())
