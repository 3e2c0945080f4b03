"""A journal as text for a terminal: tables of at most 120 columns, one request in full."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from argoproxy.protocol.access.printable import printable, printable_lines
from argoproxy.protocol.json_text import Json
from argoproxy.telemetry.journal.lines import PERCENTILES, JournalLine, Latencies, RequestCounts, Statistics

#: The part of an id that a table shows; it is enough to name a request by.
SHORT_ID = 8

_MODES = {"stream": "stream", "non_stream": "whole"}
_BODIES = ("input", "output")


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table; `align` is `<` or `>`."""

    title: str
    width: int
    align: str = "<"


REQUESTS = (
    Column("time (UTC)", 14),
    Column("id", SHORT_ID),
    Column("model", 20),
    Column("upstream", 9),
    Column("key", 8),
    Column("mode", 12),
    Column("status", 6, ">"),
    Column("ending", 16),
    Column("ms", 7, ">"),
    Column("tokens", 11, ">"),
)
GROUPS = (
    Column("model", 26),
    Column("requests", 8, ">"),
    Column("errors", 6, ">"),
    Column("gone", 6, ">"),
    Column("tokens in", 10, ">"),
    Column("out", 10, ">"),
    *(Column(title, 7, ">") for title in ("ms p50", "p90", "p99", "1st p50", "p90", "p99")),
)


def table_head(columns: Sequence[Column]) -> str:
    """Return the first line of a table."""
    return table_row(columns, [column.title for column in columns])


def table_row(columns: Sequence[Column], cells: Sequence[str]) -> str:
    """Return a line of a table. Cells that are too long are cut; control characters are escaped."""
    fitted = (_fit(cell, column) for cell, column in zip(cells, columns, strict=True))
    return " ".join(fitted).rstrip()


def request_cells(line: JournalLine) -> list[str]:
    """Return the cells of a request."""
    return [
        line.time[5:19].replace("T", " "),
        line.id[:SHORT_ID],
        line.model or "-",
        line.upstream or "-",
        line.key or "-",
        _mode(line),
        _number(line.status),
        line.ending,
        _number(line.total_ms),
        _tokens(line),
    ]


def statistics_table(statistics: Statistics) -> Iterator[str]:
    """Yield the lines of the table of all models."""
    yield table_head(GROUPS)
    for model, group in statistics.models():
        yield table_row(GROUPS, [model or "-", *_group_cells(group)])
    yield table_row(GROUPS, ["total", *_group_cells(statistics.total)])


def full_request(client: Json | None, servers: Sequence[Json]) -> Iterator[str]:
    """Yield the lines of one request in full: the client's side, then each request sent upstream."""
    if client is None:
        yield "=== client: no line; it could not be written, or was in a file that has been deleted ==="
    else:
        yield "=== client ==="
        yield from _one_side(client)
    for number, server in enumerate(servers, 1):
        yield ""
        yield f"=== upstream, request {number} of {len(servers)} ==="
        yield from _one_side(server)
    if not servers:
        yield ""
        yield "=== upstream: no request was sent ==="


def _one_side(line: Json) -> Iterator[str]:
    fields = {name: value for name, value in line.items() if name not in _BODIES and value not in (None, "")}
    width = max(map(len, fields), default=0)
    for name, value in fields.items():
        yield f"{_in_one_line(name):{width}}  {_in_one_line(value) if isinstance(value, str) else _json(value, None)}"
    output = line.get("output")
    if isinstance(output, dict) and output.get("error"):
        yield f"{'error':{width}}  {_in_one_line(_summarize_error(output['error']))}"
    for name in _BODIES:
        if name in line:
            yield f"{name}:"
            yield _json(line[name], 2)


def _summarize_error(error: Any) -> str:
    if not isinstance(error, dict):
        return error if isinstance(error, str) else _json(error, None)
    code = error.get("code")
    return str(error.get("message") or "") + (f" ({code})" if code else "")


def _json(value: Any, indent: int | None) -> str:
    return printable_lines(json.dumps(value, ensure_ascii=False, indent=indent))


def _in_one_line(text: str) -> str:
    return _json(text, None)[1:-1].replace('\\"', '"')


def _group_cells(group: RequestCounts) -> list[str]:
    counts = (group.requests, group.errors, group.client_gone, group.prompt_tokens, group.completion_tokens)
    return [*map(str, counts), *_percentile_cells(group.total), *_percentile_cells(group.first_byte)]


def _percentile_cells(latencies: Latencies) -> list[str]:
    return [_number(latencies.percentile(percent)) for percent in PERCENTILES]


def _mode(line: JournalLine) -> str:
    """Return how the upstream was asked, and how the client was answered if that is different."""
    modes = [_MODES.get(mode, mode) for mode in (line.send_mode, line.return_mode) if mode]
    return ">".join(dict.fromkeys(modes)) or "-"


def _tokens(line: JournalLine) -> str:
    counts = (line.prompt_tokens, line.completion_tokens)
    return "-" if counts == (None, None) else "+".join(str(count or 0) for count in counts)


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.1f}" if isinstance(value, float) and value < 100 else f"{value:.0f}"


def _fit(cell: str, column: Column) -> str:
    text = printable(cell)
    cut = text if len(text) <= column.width else f"{text[: column.width - 1]}…"
    return f"{cut:{column.align}{column.width}}"
