"""What differs between the body of a client's request and the one that was sent upstream: what rules and adapters
changed."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from argoproxy.console.exchange.exchange_shapes import Change
from argoproxy.console.exchange.parts import shorten
from argoproxy.protocol.json_text import Json, as_dict

MOST_CHANGES = 200
#: Characters of a value that are shown.
MOST_CHARACTERS = 2000
#: Below this depth values are compared whole.
DEEPEST = 12
_MISSING = object()


def find_changes(before: Json, after: Json) -> list[Change]:
    """Return the changes, MOST_CHANGES at most. DashScope's wrapping of messages and parameters is no change."""
    return list(islice(_differ("", _unwrap(before), _unwrap(after), 0), MOST_CHANGES))


def _unwrap(body: Json) -> Json:
    inner = as_dict(body.get("input"))
    if not inner or not isinstance(body.get("parameters", {}), dict):
        return body
    rest = {name: value for name, value in body.items() if name not in ("input", "parameters")}
    return {**rest, **inner, **as_dict(body.get("parameters"))}


def _differ(path: str, before: Any, after: Any, depth: int) -> Iterator[Change]:
    if before is after:
        return
    if isinstance(before, dict) and isinstance(after, dict) and depth < DEEPEST:
        for name in {**before, **after}:
            inner = f"{path}.{name}" if path else name
            yield from _differ(inner, before.get(name, _MISSING), after.get(name, _MISSING), depth + 1)
    elif isinstance(before, list) and isinstance(after, list) and depth < DEEPEST:
        yield from _differ_in_lists(path, before, after, depth + 1)
    elif type(before) is not type(after) or before != after:
        yield _change(path, before, after)


def _differ_in_lists(path: str, before: list[Any], after: list[Any], depth: int) -> Iterator[Change]:
    """Compare what is between the parts that are equal at both ends: so a message that was put in front is one
    change."""
    shortest = min(len(before), len(after))
    start = next((index for index in range(shortest) if before[index] != after[index]), shortest)
    rest = shortest - start
    end = next((index for index in range(rest) if before[-1 - index] != after[-1 - index]), rest)
    old, new = before[start : len(before) - end], after[start : len(after) - end]
    for index in range(max(len(old), len(new))):
        one = old[index] if index < len(old) else _MISSING
        other = new[index] if index < len(new) else _MISSING
        yield from _differ(f"{path}[{start + index}]", one, other, depth)


def _change(path: str, before: Any, after: Any) -> Change:
    kind = "added" if before is _MISSING else "removed" if after is _MISSING else "changed"
    return {"path": path, "kind": kind, "before": _show(before), "after": _show(after)}  # type: ignore[typeddict-item]


def _show(value: Any) -> str:
    text = "" if value is _MISSING else shorten(value)
    return text if len(text) <= MOST_CHARACTERS else f"{text[:MOST_CHARACTERS]}…"
