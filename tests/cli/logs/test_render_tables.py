from __future__ import annotations

from typing import Any

import pytest

from argoproxy.cli.logs.render import GROUPS, REQUESTS, Column, request_cells, statistics_table, table_head, table_row
from argoproxy.protocol.json_text import Json
from argoproxy.telemetry.journal.lines import Statistics, read_line
from tests.support.journals import client_line

LONG: Json = {
    "model": "m" * 50,
    "upstream": "u" * 50,
    "key": "k" * 50,
    "send_mode": "non_stream",
    "return_mode": "stream",
    "ending": "upstream_timeout",
    "total_ms": 1e9,
    "first_byte_ms": 1e9,
    "usage": {"prompt_tokens": 10**9, "completion_tokens": 10**9},
    "output": None,
}


def test_tables_fit_120_columns() -> None:
    line = client_line("f" * 32, **LONG)
    statistics = Statistics(read_line({**line, "ending": "complete"}) for _ in range(200))
    for text in (
        table_head(REQUESTS),
        table_row(REQUESTS, request_cells(read_line(line))),
        *statistics_table(statistics),
    ):
        assert len(text) <= 120
    assert table_head(GROUPS).split()[:3] == ["model", "requests", "errors"]


@pytest.mark.parametrize(
    ("fields", "cells"),
    [
        ({}, "11-21 15:04:05|12345678|gpt-4o|openai|-|stream|200|complete|456.7ms|15+32"),
        (
            {"total_ms": 23.44, "key": "team", "send_mode": "non_stream", "output": {}},
            "11-21 15:04:05|12345678|gpt-4o|openai|team|whole>stream|200|complete|23.4ms|-",
        ),
        (
            {"timestamp": 5, "model": "", "upstream": "", "send_mode": "", "return_mode": "", "status": None},
            "|12345678|-|-|-|-|-|complete|457ms|15+32",
        ),
        (
            {
                "send_mode": "",
                "return_mode": "non_stream",
                "total_ms": None,
                "usage": {"prompt_tokens": 4},
                "output": 1,
            },
            "11-21 15:04:05|12345678|gpt-4o|openai|-|whole|200|complete|-ms|4+0",
        ),
    ],
)
def test_what_a_row_says_of_an_exchange(fields: dict[str, Any], cells: str) -> None:
    row = request_cells(read_line(client_line("123456789", **fields)))
    assert row == cells.replace("456.7", "457").replace("ms|", "|").split("|")


def test_nothing_in_a_cell_moves_the_cursor() -> None:
    columns = (Column("a", 9), Column("b", 6, ">"))
    assert table_row(columns, ["\x1b[2J", "1\n2"]) == "\\u001b[2J   1\\n2"
    assert table_row(columns, ["1234567890", "\u202e"]) == "12345678… \\u202e"
