"""The states of upstreams as a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from argoproxy.protocol.access.printable import printable
from argoproxy.protocol.json_text import Json, as_dict, as_text
from argoproxy.protocol.resilience.failures import FAILURES_IN_WORDS

HEAD = ("UPSTREAM", "STATE", "STREAMS", "WAITING", "SINCE", "WHY", "NEXT PROBE")
_MINUTE_S, _HOUR_S = 60, 3600

Row = Sequence[str]


def table_lines(states: Mapping[str, Json]) -> Iterator[str]:
    """Yield the lines: one for each upstream, and below it one for each of its models whose circuit is not closed."""
    rows = [HEAD, *(row for name, state in states.items() for row in _rows(name, state))]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()


def _rows(name: str, state: Json) -> Iterator[Row]:
    yield _row(name, state)
    models = as_dict(state.get("models"))
    for model, circuit in models.items():
        yield _row(f"  {model}", as_dict(circuit))
    count = state.get("open_models")
    if not models and count:
        yield (f"  {count} of its models", "not closed", "", "", "", "", "")


def _row(name: str, state: Json) -> Row:
    reason = as_text(state.get("reason"))
    counts = (state.get(key) for key in ("open_streams", "waiting"))
    return (
        printable(name),
        printable(as_text(state.get("state")).replace("_", "-")),
        *("" if count is None else str(count) for count in counts),
        _describe_time(state.get("since_s")),
        printable(FAILURES_IN_WORDS.get(reason, reason)),
        _describe_next(state.get("next_probe_s")),
    )


def _describe_next(seconds: object) -> str:
    if not isinstance(seconds, int | float):
        return ""
    return f"in {_describe_time(seconds)}" if seconds > 0 else "the next request"


def _describe_time(seconds: object) -> str:
    """Return a duration in seconds with a unit that suits it; "" for what is no number."""
    if not isinstance(seconds, int | float):
        return ""
    if seconds < 2 * _MINUTE_S:
        return f"{seconds:.0f} s"
    return f"{seconds / _MINUTE_S:.0f} min" if seconds < 2 * _HOUR_S else f"{seconds / _HOUR_S:.0f} h"
