"""The ledger as operators read it: what requests used and cost, by key, team, model, upstream or day. It is read beside
a proxy that runs, and nothing is changed: a read-only connection needs no lock, and runs no checkpoint."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from urllib.parse import quote

from argoproxy.errors import StateUnavailable
from argoproxy.stores.sqlite_file import reason_of
from argoproxy.stores.sqlite_limits import DATABASE

#: How long a program is waited for that has the whole file, a backup for instance.
_MAX_WAIT_S = 5.0


class Grouping(StrEnum):
    """By what requests are added up."""

    KEY = "key"
    TEAM = "team"
    MODEL = "model"
    UPSTREAM = "upstream"
    DAY = "day"


_COLUMNS = {
    Grouping.KEY: "key_name",
    Grouping.TEAM: "team",
    Grouping.MODEL: "model",
    Grouping.UPSTREAM: "upstream",
    Grouping.DAY: "day_of(at)",
}


@dataclass(frozen=True, slots=True)
class LedgerFilter:
    """Which requests are added up: those from `since` until before `until` (seconds since 1970), of a key or of all."""

    since: float
    until: float
    key: str | None = None


@dataclass(frozen=True, slots=True)
class UsageRow:
    """What the requests of a group used together. `cost_nanos` is that of those whose cost is known, None if there is
    none of them; `unpriced` counts the others, `estimated` those whose tokens no upstream has told."""

    name: str
    requests: int
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    reasoning_tokens: int
    cost_nanos: int | None
    unpriced: int
    estimated: int

    @property
    def total_tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens


_SUMS = ", ".join(
    f"coalesce(sum({name}), 0)" for name in ("prompt_tokens", "cached_tokens", "completion_tokens", "reasoning_tokens")
)


def read_usage(
    folder: Path, grouping: Grouping, chosen: LedgerFilter, day_of: Callable[[float], str]
) -> Sequence[UsageRow]:
    """Return the sums, by name; nothing if no request was written down yet. `day_of` names the day of a moment. Raises
    StateUnavailable."""
    if not (folder / DATABASE).exists():
        return []
    column = _COLUMNS[grouping]
    statement = (
        f"SELECT {column}, count(*), {_SUMS}, sum(cost_nanos), sum(cost_nanos IS NULL), sum(is_estimated) FROM ledger"  # noqa: S608 names of columns
        f" WHERE at >= ? AND at < ? AND (? IS NULL OR key_name = ?) GROUP BY 1 ORDER BY 1"
    )
    try:
        with closing(_open(folder / DATABASE)) as database:
            database.create_function("day_of", 1, day_of, deterministic=True)
            values = (chosen.since, chosen.until, chosen.key, chosen.key)
            return [UsageRow(*row) for row in database.execute(statement, values)]
    except (sqlite3.Error, OSError) as error:
        raise StateUnavailable(f"The ledger can't be read now: {reason_of(error)}.") from error


def _open(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=_MAX_WAIT_S)
