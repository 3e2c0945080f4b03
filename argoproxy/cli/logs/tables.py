"""Tables of plain text, 120 columns at most, for a person at a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from argoproxy.cli.logs.entries import Exchange
from argoproxy.cli.logs.stats import PERCENTILES, Group, Latencies, Statistics
from argoproxy.protocol.access.printable import printable

#: As much of an id as a person needs to name it.
SHORT_ID = 8
_MODES = {"stream": "stream", "non_stream": "whole"}


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its title, how wide it is, and where its cells stand (`<` or `>`)."""

    title: str
    width: int
    side: str = "<"


EXCHANGES = (
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


def heading(columns: Sequence[Column]) -> str:
    """Give the first line of a table."""
    return row(columns, [column.title for column in columns])


def row(columns: Sequence[Column], cells: Sequence[str]) -> str:
    """Give a line of a table; a cell that is too long is cut, and nothing in it can move a terminal's cursor."""
    fitted = (_fitted(cell, column) for cell, column in zip(cells, columns, strict=True))
    return " ".join(fitted).rstrip()


def exchange_cells(exchange: Exchange) -> list[str]:
    """Give the cells of an exchange."""
    return [
        exchange.time[5:19].replace("T", " "),
        exchange.id[:SHORT_ID],
        exchange.model or "-",
        exchange.upstream or "-",
        exchange.key or "-",
        _mode(exchange),
        _number(exchange.status),
        exchange.ending,
        _number(exchange.total_ms),
        _tokens(exchange),
    ]


def statistics_table(statistics: Statistics) -> Iterator[str]:
    """Give the lines of the table of all models."""
    yield heading(GROUPS)
    for model, group in statistics.models():
        yield row(GROUPS, [model or "-", *_group_cells(group)])
    yield row(GROUPS, ["total", *_group_cells(statistics.total)])


def _group_cells(group: Group) -> list[str]:
    counts = (group.requests, group.errors, group.client_gone, group.prompt_tokens, group.completion_tokens)
    return [*map(str, counts), *_percentiles(group.total), *_percentiles(group.first_byte)]


def _percentiles(latencies: Latencies) -> list[str]:
    return [_number(latencies.percentile(percent)) for percent in PERCENTILES]


def _mode(exchange: Exchange) -> str:
    """Tell how the upstream was asked, and how the client was answered where that is another way."""
    modes = [_MODES.get(mode, mode) for mode in (exchange.send_mode, exchange.return_mode) if mode]
    return ">".join(dict.fromkeys(modes)) or "-"


def _tokens(exchange: Exchange) -> str:
    counts = (exchange.prompt_tokens, exchange.completion_tokens)
    return "-" if counts == (None, None) else "+".join(str(count or 0) for count in counts)


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.1f}" if isinstance(value, float) and value < 100 else f"{value:.0f}"


def _fitted(cell: str, column: Column) -> str:
    plain = printable(cell)
    cut = plain if len(plain) <= column.width else f"{plain[: column.width - 1]}…"
    return f"{cut:{column.side}{column.width}}"
