"""One line for each request: fields only, never a body, a key or a query."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime

from argoproxy.trip import Outcome

LONGEST_VALUE = 200
_PLAIN = re.compile(r"[\w./:@+*{}-]+", re.ASCII)


class LogLine:
    """A listener that writes each outcome to a descriptor, in one write."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def __call__(self, outcome: Outcome) -> None:
        now = datetime.now(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00")
        fields = " ".join(f"{name}={_shown(value)}" for name, value in _fields(outcome))
        os.write(self._descriptor, f"{now}Z request {fields}\n".encode())


def _fields(outcome: Outcome) -> Iterator[tuple[str, object]]:
    for name in Outcome.__slots__:
        value = getattr(outcome, name)
        if value is None or value == "" or (name == "path" and value == outcome.route):
            continue
        if name.endswith("_s"):
            name, value = f"{name[:-2]}_ms", f"{1000 * value:.1f}"
        yield name, value


def _shown(value: object) -> str:
    text = str(value)[:LONGEST_VALUE]
    return text if _PLAIN.fullmatch(text) else json.dumps(text)
