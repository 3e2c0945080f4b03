"""What `usage` prints: JSON, CSV, or a table; on a terminal with a bar for each row."""

from __future__ import annotations

import csv
import json
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from argoproxy.protocol.access.printable import printable
from argoproxy.protocol.json_text import Json
from argoproxy.protocol.prices.money import format_amount, to_number
from argoproxy.stores.local.sqlite_ledger import UsageRow

#: A spreadsheet takes a text that begins so for a formula; clients choose names of models.
_FORMULA_SIGNS = ("=", "+", "-", "@", "\t", "\r")
#: That of a key; those of models are cut.
_LONGEST_NAME = 64
_SHORTEST_BAR, _LONGEST_BAR = 5, 20
_BAR_PARTS = " ▏▎▍▌▋▊▉█"
#: What a table shows of an amount: ten-thousandths.
_SHOWN_NANOS, _SHOWN_PLACES = 100_000, 4


@dataclass(frozen=True, slots=True)
class _CountColumn:
    """A column of numbers."""

    title: str
    count_of: Callable[[UsageRow], int | None]
    is_always_shown: bool = True

    def cell(self, row: UsageRow) -> str:
        """Return the text of a row."""
        return f"{self.count_of(row):,}"


class _CostColumn(_CountColumn):
    def cell(self, row: UsageRow) -> str:
        return _describe_cost(row.cost_nanos)


_COLUMNS = (
    _CountColumn("requests", lambda row: row.requests),
    _CountColumn("prompt", lambda row: row.prompt_tokens),
    _CountColumn("cached", lambda row: row.cached_tokens),
    _CountColumn("completion", lambda row: row.completion_tokens),
    _CostColumn("cost", lambda row: row.cost_nanos),
    _CountColumn("unpriced", lambda row: row.unpriced, is_always_shown=False),
    _CountColumn("estimated", lambda row: row.estimated, is_always_shown=False),
)


def print_json(group: str, rows: Sequence[UsageRow]) -> None:
    """Print an array of rows."""
    documents = [_document(group, row) for row in rows]
    sys.stdout.write(f"{json.dumps(documents, indent=2, ensure_ascii=False)}\n")


def print_csv(group: str, rows: Sequence[UsageRow]) -> None:
    """Print a line for each row below a head; amounts are exact."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(_document(group, add_up(())))
    for row in rows:
        fields = _document(group, row)
        name = f"'{row.name}" if row.name.startswith(_FORMULA_SIGNS) else row.name
        cost = "" if row.cost_nanos is None else format_amount(row.cost_nanos)
        writer.writerow({**fields, group: name, "cost": cost}.values())


def print_table(group: str, rows: Sequence[UsageRow]) -> None:
    """Print a table, its total below."""
    if not rows:
        sys.stderr.write("No request was written down for this time.\n")
        return
    lines = table_lines(group, rows, _bar_of(group, rows) if sys.stdout.isatty() else None)
    sys.stdout.writelines(f"{line}\n" for line in lines)


def table_lines(group: str, rows: Sequence[UsageRow], bar_of: Callable[[UsageRow], str] | None = None) -> Iterator[str]:
    """Yield the lines of a table."""
    columns = [column for column in _COLUMNS if column.is_always_shown or any(map(column.count_of, rows))]
    total = [add_up(rows)] if len(rows) > 1 else []
    head = [group, *(column.title for column in columns)]
    table = [head, *([_name(row), *(column.cell(row) for column in columns)] for row in (*rows, *total))]
    bars = ["", *(bar_of(row) if bar_of else "" for row in rows), *("" for _ in total)]
    widths = [max(map(len, cells)) for cells in zip(*table, strict=True)]
    for cells, bar in zip(table, bars, strict=True):
        numbers = (cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True))
        yield "  ".join((cells[0].ljust(widths[0]), *numbers, bar)).rstrip()


def add_up(rows: Sequence[UsageRow]) -> UsageRow:
    """Return the sum of all rows."""
    costs = [row.cost_nanos for row in rows if row.cost_nanos is not None]
    return UsageRow(
        name="total",
        requests=sum(row.requests for row in rows),
        prompt_tokens=sum(row.prompt_tokens for row in rows),
        cached_tokens=sum(row.cached_tokens for row in rows),
        completion_tokens=sum(row.completion_tokens for row in rows),
        reasoning_tokens=sum(row.reasoning_tokens for row in rows),
        cost_nanos=sum(costs) if costs else None,
        unpriced=sum(row.unpriced for row in rows),
        estimated=sum(row.estimated for row in rows),
    )


def _document(group: str, row: UsageRow) -> Json:
    return {
        group: row.name,
        "requests": row.requests,
        "prompt_tokens": row.prompt_tokens,
        "cached_tokens": row.cached_tokens,
        "completion_tokens": row.completion_tokens,
        "reasoning_tokens": row.reasoning_tokens,
        "total_tokens": row.total_tokens,
        "cost": None if row.cost_nanos is None else to_number(row.cost_nanos),
        "unpriced_requests": row.unpriced,
        "estimated_requests": row.estimated,
    }


def _name(row: UsageRow) -> str:
    name = printable(row.name) or "-"
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"


def _describe_cost(nanos: int | None) -> str:
    """Return an amount to the ten-thousandth; what is less, but not nothing, does not look like nothing."""
    if nanos is None:
        return "unknown"
    if 0 < nanos < _SHOWN_NANOS:
        return "<0.0001"
    shown = (nanos + _SHOWN_NANOS // 2) // _SHOWN_NANOS
    return format_amount(shown * _SHOWN_NANOS, _SHOWN_PLACES)


def _bar_of(group: str, rows: Sequence[UsageRow]) -> Callable[[UsageRow], str] | None:
    """Return what draws a bar for a row: of its cost, or of its tokens if nothing has one. None if there is no room."""
    room = shutil.get_terminal_size().columns - max(map(len, table_lines(group, rows))) - 2
    most_cost, most_tokens = max((row.cost_nanos or 0) for row in rows), max(row.total_tokens for row in rows)
    if room < _SHORTEST_BAR or not (most_cost or most_tokens):
        return None
    draw = partial(draw_bar, most=most_cost or most_tokens, width=min(room, _LONGEST_BAR))
    return lambda row: draw((row.cost_nanos or 0) if most_cost else row.total_tokens)


def draw_bar(amount: int, most: int, width: int) -> str:
    """Return a bar, in eighths of a character; of # where a terminal has no such characters."""
    full, part = divmod(-(-amount * width * 8 // most), 8)
    bar = "█" * full + _BAR_PARTS[part].strip()
    try:
        bar.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return "#" * (full + bool(part))
    return bar
