"""`/api/keys`: who may ask, what is left of the limits, and what each key used; no secret, and no digest."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from argoproxy.console.views.sources import Sources
from argoproxy.console.views.totals import Totals, no_counts
from argoproxy.console.views.usage_view import zone_of
from argoproxy.console.views.view_shapes import Access, Counts, KeyKind, KeyRow, KeysView, TeamRow
from argoproxy.errors import ProxyError
from argoproxy.protocol.keys.key_record import KeyBook, KeyRecord, TeamRecord
from argoproxy.protocol.limits.limit_levels import LimitReader, ReadCounters
from argoproxy.protocol.limits.limits import LimitedSubject
from argoproxy.protocol.limits.windows import BudgetCalendar
from argoproxy.stores.keys import key_files
from argoproxy.stores.keys.key_admin import format_moment
from argoproxy.stores.local.sqlite_ledger import read_counters
from argoproxy.stores.postgres.chosen_stores import open_key_store
from argoproxy.web.state_factory import UNKEPT_LIMITS

NO_STORE = (
    "Keys are those of the settings alone; with state_path (STATE_PATH, --state_path DIR) `argoproxy keys` makes"
    " others."
)
#: Keys that are shown: those that used most, or that match what is looked for.
MOST_KEYS = 500


class KeyBooks:
    """The managed keys, read again when they have changed: their store is locked meanwhile."""

    def __init__(self) -> None:
        self._stamp: object = None
        self._book = KeyBook()

    def read(self, sources: Sources) -> tuple[KeyBook, str]:
        """Return the keys and "", or none and why."""
        managed = sources.config.managed
        if managed is None or not (managed.is_shared or (managed.folder / key_files.DATABASE).exists()):
            return KeyBook(), NO_STORE
        folder = managed.published
        try:
            status = os.stat(folder / key_files.SNAPSHOT)
            stamp = (folder, status.st_ino, status.st_mtime_ns)
            if stamp != self._stamp:
                self._book, self._stamp = open_key_store(sources.config).read(), stamp
        except OSError as error:
            return KeyBook(), f"The keys can't be read: {error.strerror}."
        except ProxyError as error:
            return KeyBook(), error.message
        return self._book, ""


@dataclass(frozen=True, slots=True)
class KeyUse:
    """What keys used, by their names: since the start, and today; `reason` says why today is not known, "" if it is."""

    totals: Totals
    today: Mapping[str, Counts]
    reason: str

    def rank(self, name: str) -> tuple[int, int, str]:
        """Return the place of a key: who used most stands first."""
        today, counts = self.of_today(name) or no_counts(), self.of_start(name)
        return -today["tokens_in"] - today["tokens_out"], -counts["tokens_in"] - counts["tokens_out"], name

    def of_start(self, name: str) -> Counts:
        """Return what a key used since the start."""
        return self.totals.by_key.get(name) or no_counts()

    def of_today(self, name: str) -> Counts | None:
        """Return what a key used today."""
        return None if self.reason else self.today.get(name) or no_counts()


def show_keys(sources: Sources, found: tuple[KeyBook, str], use: KeyUse, search: str, now: float) -> KeysView:
    """Return the keys whose name, id or team holds a text, those that used most first, and the teams. `found` is what
    KeyBooks has read."""
    book, reason = found
    names = _find_names(sources, book, use.totals, search)
    shown = sorted(names, key=use.rank)[:MOST_KEYS]
    records = [book.keys[name] for name in shown if name in book.keys]
    subjects = [*map(_subject_of, records), *map(_subject_of_team, book.teams.values()), *_list_subjects(sources)]
    limits, counters_reason = make_limit_reader(sources, subjects, now)
    return {
        "access": _access(sources),
        "keys": [_show_key(row, book, use, limits) for row in _make_rows(sources, shown)],
        "key_count": len(names),
        "teams": [_show_team(team, limits) for team in book.teams.values()],
        "limits": [level for subject in _list_subjects(sources) for level in limits.levels(subject)],
        "started_at": use.totals.started_at,
        "reason": reason or counters_reason,
        "ledger_reason": use.reason,
    }


def make_limit_reader(sources: Sources, subjects: Iterable[LimitedSubject], now: float) -> tuple[LimitReader, str]:
    """Return the counters of the limits of some subjects, and ""; without counters and why if they can't be read."""
    reader, read = LimitReader({}, _make_calendar(sources), now), _find_counters(sources)
    try:
        return (reader.with_counters(read, subjects) if read else reader), ""
    except ProxyError as error:
        return reader, error.message


def _find_counters(sources: Sources) -> ReadCounters | None:
    """Return what reads the counters of limits, where the workers count them; None if each counts for itself."""
    redis = sources.config.redis
    if redis:
        from argoproxy.stores.redis.open_redis import open_server  # noqa: PLC0415 redis-py, only where it is used
        from argoproxy.stores.redis.redis_limits import RedisLimits  # noqa: PLC0415

        return RedisLimits(open_server(redis), redis.prefix).find_counters
    folder = sources.config.state_folder or (sources.shared / UNKEPT_LIMITS if sources.shared else None)
    return partial(read_counters, folder) if folder else None


def _make_calendar(sources: Sources) -> BudgetCalendar:
    zone = zone_of(sources)

    def local_date(moment: float) -> tuple[int, int, int]:
        date = datetime.fromtimestamp(moment, zone)
        return date.year, date.month, date.day

    return BudgetCalendar(local_date)


def _access(sources: Sources) -> Access:
    if sources.config.authenticate:
        return "plugin"
    return "keys" if sources.config.requires_key else "open"


def _find_names(sources: Sources, book: KeyBook, totals: Totals, search: str) -> Sequence[str]:
    """Return the names of managed keys, of those of the settings, and of those that were used and are gone."""
    names = dict.fromkeys((*book.keys, *(key.name for key in sources.config.keys), *filter(None, totals.by_key)))
    if not search:
        return list(names)
    return [name for name in names if any(search in text for text in _texts_of(name, book.keys.get(name)))]


def _texts_of(name: str, record: KeyRecord | None) -> tuple[str, ...]:
    return (name, record.id, record.team) if record else (name,)


def _make_rows(sources: Sources, names: Iterable[str]) -> Iterable[KeyRow]:
    """Yield the rows of keys, as those of the settings or of none."""
    in_settings = {key.name for key in sources.config.keys}
    for name in names:
        yield _make_row(name, "setting", "active") if name in in_settings else _make_row(name, "other", "")


def _show_key(row: KeyRow, book: KeyBook, use: KeyUse, limits: LimitReader) -> KeyRow:
    name = row["name"]
    shown = _show_managed(book.keys[name], limits) if name in book.keys else row
    return {**shown, "counts": use.of_start(name), "today": use.of_today(name)}


def _show_managed(record: KeyRecord, limits: LimitReader) -> KeyRow:
    return {
        **_make_row(record.name, "managed", record.state(limits.now)),
        "id": record.id,
        "team": record.team,
        "models": list(record.models),
        "expires": format_moment(record.expires) or "",
        "created": format_moment(record.created) or "",
        "ends_with": [secret.tail for secret in record.live_secrets(limits.now)],
        "is_declared": record.is_declared,
        "limits": limits.levels(_subject_of(record)),
    }


def _make_row(name: str, kind: KeyKind, state: str) -> KeyRow:
    return {
        "name": name,
        "id": "",
        "kind": kind,
        "state": state,
        "team": "",
        "models": [],
        "expires": "",
        "created": "",
        "ends_with": [],
        "is_declared": False,
        "limits": [],
        "counts": no_counts(),
        "today": None,
    }


def _show_team(team: TeamRecord, limits: LimitReader) -> TeamRow:
    return {"name": team.name, "models": list(team.models), "limits": limits.levels(_subject_of_team(team))}


def _subject_of(record: KeyRecord) -> LimitedSubject:
    return LimitedSubject(f"key:{record.id}", record.limits)


def _subject_of_team(team: TeamRecord) -> LimitedSubject:
    return LimitedSubject(f"team:{team.name}", team.limits)


def _list_subjects(sources: Sources) -> Iterable[LimitedSubject]:
    """Return what has limits besides keys and teams."""
    config = sources.config
    gateway = [config.gateway] if config.gateway else []
    others = (one.limited for one in (*config.rules, *config.upstreams, *gateway))
    return list(filter(None, (config.limits.everyone, *others)))
