"""The laboratory's upstream inside this process: it plays the reply of the current case, whatever it is asked."""

from __future__ import annotations

import json
import socket
import threading
import time
from contextlib import suppress
from typing import Any

from tests.fuzz.case import ORDINARY, Case
from tests.support.providers import argo
from tests.support.scripted_upstream import PROVIDERS, Lab, Left, Wire, ordinary

Json = dict[str, Any]
NO_CASE = Case("none", ())


class PlayedUpstream(Lab):
    """Serves on a port of its own until it is stopped. `heads` holds the heads of all requests since it was emptied."""

    def __init__(self) -> None:
        super().__init__()
        self.case = NO_CASE
        self.heads: list[str] = []
        #: How long an ordinary answer takes.
        self.delay_s = 0.0
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=200)
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def stop(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self.connection, args=(sock, None, 0), daemon=True).start()

    def exchange(self, wire: Wire, seen: Json) -> None:
        """Read a request and play the reply to it; one that can't be read ends the connection."""
        headers = {name.lower(): value for name, value in seen["headers"]}
        seen |= {"body": "", "length": 0, "sha256": ""}
        try:
            wire.body(headers, seen)
            self.heads.append(f"{seen['method']} {seen['target']} {seen['headers']}")
            steps = () if ORDINARY.lower() in headers else self._steps(seen, headers)
            if steps:
                wire.play(list(steps))
            else:
                time.sleep(self.delay_s)
                self._answer_ordinarily(wire, seen)
        except (Left, ValueError, KeyError, TypeError, AttributeError):
            wire.is_open = False

    def _steps(self, seen: Json, headers: dict[str, str]) -> Any:
        return self.case.streamed if asks_for_a_stream(seen, headers) else self.case.whole

    def _answer_ordinarily(self, wire: Wire, seen: Json) -> None:
        for provider in PROVIDERS:
            if seen["target"].startswith(provider.ROOT):
                provider.answer(wire, seen)
                return
        ordinary(wire, seen)


def asks_for_a_stream(seen: Json, headers: dict[str, str]) -> bool:
    """Whether a request asks for a stream, in whatever dialect."""
    if seen["target"].startswith(argo.STREAM) or headers.get("x-dashscope-sse") == "enable":
        return True
    with suppress(ValueError):
        asked = json.loads(seen["body"].encode("latin-1"))
        return isinstance(asked, dict) and asked.get("stream") is True
    return False
