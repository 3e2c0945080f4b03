"""One line for each request: fields only, never a body, a key or a query."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from argoproxy.protocol.access.printable import log_value
from argoproxy.telemetry.outcome import Outcome


class AccessLog:
    """A listener that writes each outcome, in one write."""

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._write = write

    def __call__(self, outcome: Outcome) -> None:
        now = datetime.now(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00")
        fields = " ".join(f"{name}={log_value(value)}" for name, value in _fields(outcome))
        self._write(f"{now}Z request {fields}\n".encode())


def _fields(outcome: Outcome) -> Iterator[tuple[str, object]]:
    for name in Outcome.__slots__:
        value = getattr(outcome, name)
        if value is None or value == "" or (name == "path" and value == outcome.route):
            continue
        if name.endswith("_s"):
            name, value = f"{name[:-2]}_ms", f"{1000 * value:.1f}"
        yield name, value
