"""A collector of OpenTelemetry's, which refuses what the protocol does not allow (OTLP/HTTP with JSON)."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import ThreadingHTTPServer
from typing import Any

from tests.support.json_handler import Json, JsonHandler
from tests.support.processes import eventually

VALUES = {"stringValue": str, "intValue": str, "doubleValue": float, "boolValue": bool}
SPAN_FIELDS = {
    "traceId": r"[0-9a-f]{32}",
    "spanId": r"[0-9a-f]{16}",
    "parentSpanId": r"[0-9a-f]{16}",
    "startTimeUnixNano": r"\d{19}",
    "endTimeUnixNano": r"\d{19}",
    "name": r".+",
}


class Collector:
    """What it got; `statuses` are those of its next answers, 200 afterwards."""

    def __init__(self) -> None:
        self.spans: list[Json] = []
        self.headers: list[dict[str, str]] = []
        self.wrong: list[str] = []
        self.statuses: list[int] = []
        self.answer: Any = {}
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.url = ""

    def trace(self, trace_id: str, count: int) -> list[Json]:
        """Wait for so many spans of a trace: that of the request first, then its attempts in their order."""

        def find() -> list[Json] | None:
            found = [span for span in self.spans if span["traceId"] == trace_id]
            return found if len(found) >= count else None

        found: list[Json] = eventually(find)
        assert (len(found), self.wrong) == (count, [])
        return sorted(found, key=lambda span: (span["kind"], int(span["startTimeUnixNano"])))

    def take(self, path: str, headers: dict[str, str], document: Any) -> int:
        """Take a request: the status of its answer."""
        self.may_answer.wait()
        status = self.statuses.pop(0) if self.statuses else 200
        if status == 200:
            self.headers.append(headers)
            if path != "/v1/traces" or headers.get("content-type") != "application/json":
                self.wrong.append(path)
            self.spans += self._read(document)
        return status

    def _read(self, document: Any) -> list[Json]:
        (resource,) = document["resourceSpans"]
        (scope,) = resource["scopeSpans"]
        self._check_attributes(resource["resource"]["attributes"])
        spans: list[Json] = scope["spans"]
        for span in spans:
            self._check_attributes(span["attributes"])
            for name, pattern in SPAN_FIELDS.items():
                if name in span and not re.fullmatch(pattern, span[name]):
                    self.wrong.append(f"{name} of {span}")
            if span["kind"] not in (2, 3) or int(span["endTimeUnixNano"]) < int(span["startTimeUnixNano"]):
                self.wrong.append(f"{span}")
            if set(span) - {*SPAN_FIELDS, "kind", "attributes", "status"}:
                self.wrong.append(f"fields of {span}")
        return spans

    def _check_attributes(self, attributes: list[Json]) -> None:
        for one in attributes:
            ((kind, value),) = one["value"].items()
            if set(one) != {"key", "value"} or type(value) is not VALUES[kind]:
                self.wrong.append(f"{one}")


def attributes_of(span: Json) -> Json:
    """Return the attributes of a span, numbers as numbers."""
    pairs = ((one["key"], *one["value"].items()) for one in span["attributes"])
    return {key: int(value) if kind == "intValue" else value for key, (kind, value) in pairs}


@contextmanager
def collector() -> Iterator[Collector]:
    """Run a collector in a thread."""
    running = Collector()

    class Handler(JsonHandler):
        def do_POST(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            self.send_json(running.take(self.path, headers, json.loads(self.read_body())), running.answer)

    class Server(ThreadingHTTPServer):
        daemon_threads = True

    server = Server(("127.0.0.1", 0), Handler)
    running.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield running
    finally:
        running.may_answer.set()
        server.shutdown()
        server.server_close()
        thread.join()
