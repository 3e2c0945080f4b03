"""The ledger as operators read it: what requests used and cost, by key, team, model, upstream or day; and what is spent
of budgets. It is read beside
a proxy that runs, and nothing is changed: a read-only connection needs no lock, and runs no checkpoint."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from urllib.parse import quote

from argoproxy.errors import StateUnavailable
from argoproxy.protocol.limits.buckets import Counter
from argoproxy.protocol.limits.limits import LimitKind
from argoproxy.stores.local.usage_database import DATABASE
from argoproxy.stores.sqlite_file import reason_of

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
    column = _COLUMNS[grouping]
    statement = (
        f"SELECT {column}, count(*), {_SUMS}, sum(cost_nanos), sum(cost_nanos IS NULL), sum(is_estimated) FROM ledger"  # noqa: S608 names of columns
        f" WHERE at >= ? AND at < ? AND (? IS NULL OR key_name = ?) GROUP BY 1 ORDER BY 1"
    )
    with _read(folder) as database:
        if database is None:
            return []
        database.create_function("day_of", 1, day_of, deterministic=True)
        values = (chosen.since, chosen.until, chosen.key, chosen.key)
        return [UsageRow(*row) for row in database.execute(statement, values)]


@dataclass(frozen=True, slots=True)
class SpentBudget:
    """What is used of a budget in a period, in billionths: spent, or set aside for requests that run. `subject` is
    what it holds for; the period ends at `ends_at` (seconds since 1970; None: never)."""

    subject: str
    period: str
    nanos: int
    ends_at: float | None


def read_spent(folder: Path, subject: str, now: float) -> Sequence[SpentBudget]:
    """Return what is used of the budgets of a key or a team, with those for models, in periods that have not ended.
    Raises StateUnavailable."""
    statement = (
        "SELECT row, used, ends_at FROM counters WHERE row >= ? AND row < ? AND (ends_at IS NULL OR ends_at > ?)"
        " ORDER BY row"
    )
    found = []
    with _read(folder) as database:
        values = (f"{subject}/", f"{subject}0", now)  # 0 follows /
        for row, used, ends_at in database.execute(statement, values) if database else ():
            limit, _, period = row.rpartition("/")
            holder, _, kind = limit.rpartition("/")
            if kind == LimitKind.BUDGET:
                found.append(SpentBudget(holder, period, used, ends_at))
    return found


def read_counters(folder: Path, rows: Sequence[str]) -> Mapping[str, Counter]:
    """Return those counters that there are, by their rows (see `Claim.row`). Raises StateUnavailable."""
    statement = "SELECT row, used, at_us FROM counters WHERE row IN (SELECT value FROM json_each(?))"
    with _read(folder) as database:
        found = database.execute(statement, (json.dumps(rows),)) if database else ()
        return {row: Counter(used, at_us) for row, used, at_us in found}


@contextmanager
def _read(folder: Path) -> Iterator[sqlite3.Connection | None]:
    """Yield a connection that can't write, None if nothing was written yet: there is no file, or no table in it. Raises
    StateUnavailable, for errors inside as well."""
    file = folder / DATABASE
    try:
        if not file.exists():
            yield None
            return
        uri = f"file:{quote(str(file))}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True, timeout=_MAX_WAIT_S)) as database:
            (version,) = database.execute("PRAGMA user_version").fetchone()
            yield database if version else None
    except (sqlite3.Error, OSError) as error:
        raise StateUnavailable(f"The ledger can't be read now: {reason_of(error)}.") from error
