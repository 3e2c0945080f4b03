"""The live view as lines of text, for a terminal."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from argoproxy.console.live.live_view import LiveSecond, LiveView
from argoproxy.protocol.access.printable import printable
from argoproxy.protocol.json_text import Json

#: Columns of the widest screen that is drawn, and requests that are listed, where the size is not known.
WIDEST, MOST_ROWS = 160, 20
#: Columns of a name; the rest of a longer one is left out.
NAME_WIDTH = 24
_BARS = " ▁▂▃▄▅▆▇█"
#: How a number stands in its column: to the right.
_NUMBERS = frozenset(("TIME", "SILENT", "TOTAL", "FIRST", "TOKENS", "BYTES"))
_NOTHING = LiveSecond(at=0.0, requests=0.0, failed=0.0, tokens_in=0.0, tokens_out=0.0)


def make_screen(view: LiveView, port: int, size: tuple[int, int]) -> list[str]:
    """Return the lines of a screen of `size` columns and lines; 0 for as many as there are."""
    columns, height = size[0] or WIDEST, size[1]
    head = [*_describe_now(view, port, columns), ""]
    free = height - len(head) - 3 if height else 2 * MOST_ROWS
    open_rows = max(1, min(len(view["open"]), free * 2 // 3))
    lines = [
        *head,
        *_list_open(view, open_rows),
        "",
        *_list_ended(view, max(1, free - open_rows - 2)),
    ]
    return [line[:columns].rstrip() for line in (lines[:height] if height else lines)]


def _describe_now(view: LiveView, port: int, columns: int) -> Iterator[str]:
    last = view["strip"][-1] if view["strip"] else _NOTHING
    waiting = sum(one["waiting"] for one in view["upstreams"])
    yield f"argoproxy at port {port}, {_clock(view['now'])}"
    yield (
        f"{last['requests']:g} requests a second, {last['failed']:g} of them failed; "
        f"{last['tokens_out']:g} tokens a second out, {last['tokens_in']:g} in; "
        f"{view['open_count']} under way, {waiting} waiting"
    )
    yield draw_bars([one["requests"] for one in view["strip"]][-columns:])
    for one in view["upstreams"]:
        if one["state"] != "closed":
            yield f"{_name(one['name'])} is not asked now: its circuit is {printable(one['state'])}"


def draw_bars(values: Sequence[float]) -> str:
    """Return a bar a value, as high as it is compared with the highest one."""
    most = max(values, default=0) or 1
    return "".join(_BARS[math.ceil(8 * (value / most))] for value in values)


def _list_open(view: LiveView, most: int) -> Iterator[str]:
    if view["open_reason"]:
        yield view["open_reason"]
        return
    yield from _table(
        [
            {
                "BEGUN": _clock(one["at"]),
                "TIME": _seconds(one["elapsed_ms"]),
                "SILENT": _seconds(one["silent_ms"]) if one["first_byte_ms"] is not None else "",
                "PHASE": one["phase"],
                "MODEL": _name(one["model"]),
                "UPSTREAM": _name(one["upstream"]),
                "KEY": _name(one["key"]),
                "BYTES": str(one["bytes_sent"]),
                "TOKENS": "" if one["tokens"] is None else str(one["tokens"]),
            }
            for one in view["open"][:most]
        ],
        "No request is under way.",
    )


def _list_ended(view: LiveView, most: int) -> Iterator[str]:
    if view["reason"]:
        yield view["reason"]
        return
    yield from _table([_ended_cells(one) for one in view["finished"][:most]], "No request has ended yet.")


def _ended_cells(one: Json) -> dict[str, str]:
    return {
        "ENDED": _clock(one["at"]),
        "TOTAL": _seconds(one["total_ms"]),
        "FIRST": _seconds(one.get("first_byte_ms")),
        "ENDING": printable(str(one.get("code") or one.get("ending", ""))),
        "MODEL": _name(one.get("model", "")),
        "UPSTREAM": _name(one.get("upstream", "")),
        "KEY": _name(one.get("key", "")),
        "TOKENS": _tokens(one.get("prompt_tokens"), one.get("completion_tokens")),
        "ID": printable(str(one["id"])),
    }


def _table(rows: Sequence[dict[str, str]], empty: str) -> Iterator[str]:
    if not rows:
        yield empty
        return
    names = [name for name in rows[0] if any(row[name] for row in rows)]
    widths = {name: max(len(name), *(len(row[name]) for row in rows)) for name in names}
    for row in (dict(zip(names, names, strict=True)), *rows):
        yield "  ".join(f"{row[name]:{'>' if name in _NUMBERS else '<'}{widths[name]}}" for name in names)


def _name(text: str) -> str:
    shown = printable(text)
    return shown if len(shown) <= NAME_WIDTH else f"{shown[: NAME_WIDTH - 1]}…"


def _seconds(ms: Any) -> str:
    if ms is None:
        return ""
    return f"{ms:.0f} ms" if ms < 1000 else f"{ms / 1000:.1f} s"


def _tokens(prompt: int | None, completion: int | None) -> str:
    return f"{prompt or 0}+{completion}" if completion is not None else ""


def _clock(at: float) -> str:
    return datetime.fromtimestamp(at).strftime("%H:%M:%S")
