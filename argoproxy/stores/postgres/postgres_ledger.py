"""The ledger of all replicas: rows by the ids of requests, and their sums."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import tzinfo

from argoproxy.stores.limit_store import LedgerEntry
from argoproxy.stores.local.sqlite_ledger import Grouping, LedgerFilter, UsageRow
from argoproxy.stores.postgres.postgres_schema import Cursor, Transactions

COLUMNS = LedgerEntry._fields
_TYPES = {
    "at": "double precision",
    "status": "integer",
    "is_estimated": "boolean",
    **dict.fromkeys(("prompt_tokens", "cached_tokens", "completion_tokens"), "bigint"),
    **dict.fromkeys(("reasoning_tokens", "cost_nanos"), "bigint"),
}
_ARRAYS = ", ".join(f"%s::{_TYPES.get(name, 'text')}[]" for name in COLUMNS)
_WRITE = (
    f"INSERT INTO argoproxy_ledger ({', '.join(COLUMNS)}) SELECT * FROM unnest({_ARRAYS})"  # noqa: S608 names of columns
    " ON CONFLICT (request_id) DO NOTHING"
)
_GROUPS = {
    Grouping.KEY: "key_name",
    Grouping.TEAM: "team",
    Grouping.MODEL: "model",
    Grouping.UPSTREAM: "upstream",
    Grouping.DAY: "to_char(to_timestamp(at) AT TIME ZONE %(zone)s, 'YYYY-MM-DD')",
}
_SUMS = ", ".join(
    f"coalesce(sum({name}), 0)::bigint"
    for name in ("prompt_tokens", "cached_tokens", "completion_tokens", "reasoning_tokens")
)
_READ = (
    f"SELECT {{}}, count(*), {_SUMS}, sum(cost_nanos)::bigint, count(*) - count(cost_nanos),"  # noqa: S608
    " count(*) FILTER (WHERE is_estimated) FROM argoproxy_ledger WHERE at >= %(since)s AND at < %(until)s"
    " AND (%(key)s::text IS NULL OR key_name = %(key)s) GROUP BY 1"
)


def write_entries(cursor: Cursor, entries: Sequence[LedgerEntry]) -> int:
    """Write entries, and return how many were new. Rows are in the order of their ids, in which all replicas lock them;
    text that no database of PostgreSQL holds is replaced."""
    rows = sorted((entry for entry in entries), key=lambda row: row[0])
    cursor.execute(_WRITE, [[_clean(value) for value in column] for column in zip(*rows, strict=True)])
    return cursor.rowcount


class PostgresLedger:
    """Reads the ledger of all replicas."""

    def __init__(self, database: Transactions) -> None:
        self._database = database

    def read_usage(self, grouping: Grouping, chosen: LedgerFilter, zone: tzinfo) -> Sequence[UsageRow]:
        """Return the sums, by name; days begin in a zone. Raises StateUnavailable."""
        values = {"zone": str(zone), "since": chosen.since, "until": chosen.until, "key": chosen.key}

        def read_sums(cursor: Cursor) -> Sequence[UsageRow]:
            cursor.execute(_READ.format(_GROUPS[grouping]), values)
            return sorted((UsageRow(*row) for row in cursor.fetchall()), key=lambda row: row.name)

        return self._database.read(read_sums)


def _clean(value: object) -> object:
    """Return a value without NUL, and without halves of characters."""
    if isinstance(value, str):
        return value.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()
    return value
