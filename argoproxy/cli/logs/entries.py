"""What a line of a journal tells of its exchange, whatever else it holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from argoproxy.protocol.json_text import Json, as_dict, as_text


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request and its answer, as one side saw it; "" and None where a line does not tell."""

    time: str
    id: str
    model: str
    upstream: str
    key: str
    send_mode: str
    return_mode: str
    status: int | None
    ending: str
    first_byte_ms: float | None
    total_ms: float | None
    prompt_tokens: int | None
    completion_tokens: int | None


def exchange_of(line: Json) -> Exchange:
    """Read a line; a field of another type is one that is not there."""
    usage = _usage(line)
    return Exchange(
        time=text_of(line, "timestamp"),
        id=text_of(line, "logging_id"),
        model=text_of(line, "model"),
        upstream=text_of(line, "upstream"),
        key=text_of(line, "key"),
        send_mode=text_of(line, "send_mode"),
        return_mode=text_of(line, "return_mode"),
        status=_count(line.get("status")),
        ending=text_of(line, "ending"),
        first_byte_ms=_number(line.get("first_byte_ms")),
        total_ms=_number(line.get("total_ms")),
        prompt_tokens=_first_count(usage, "prompt_tokens", "input_tokens"),
        completion_tokens=_first_count(usage, "completion_tokens", "output_tokens"),
    )


def text_of(line: Json, name: str) -> str:
    """Give a field that is a text; "" where it is none."""
    value = line.get(name)
    return as_text(value)


def _usage(line: Json) -> Json:
    output = line.get("output")
    for holder in (as_dict(output), line):
        usage = holder.get("usage")
        if isinstance(usage, dict):
            return usage
    return {}


def _first_count(usage: Json, *names: str) -> int | None:
    return next((count for name in names if (count := _count(usage.get(name))) is not None), None)


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _number(value: Any) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and 0 <= value < float("inf") else None
