"""`/api/keys`: who may ask, what is left of the limits, and what each key used; no secret, and no digest."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from argoproxy.console.views.limit_levels import LimitReader
from argoproxy.console.views.sources import Sources
from argoproxy.console.views.totals import Totals, no_counts
from argoproxy.console.views.usage_view import read_today, zone_of
from argoproxy.console.views.view_shapes import Access, Counts, KeyKind, KeyRow, KeysView, TeamRow
from argoproxy.errors import ProxyError
from argoproxy.protocol.keys.key_record import KeyBook, KeyRecord, TeamRecord
from argoproxy.protocol.limits.limits import LimitedSubject
from argoproxy.protocol.limits.windows import BudgetCalendar
from argoproxy.stores.keys import key_files
from argoproxy.stores.keys.key_admin import format_moment
from argoproxy.stores.keys.key_store import KeyStore
from argoproxy.stores.keys.sqlite_keys import SqliteKeys
from argoproxy.stores.sqlite_ledger import read_counters
from argoproxy.web.state_factory import UNKEPT_LIMITS

NO_STORE = (
    "Keys are those of the settings alone; with state_path (STATE_PATH, --state_path DIR) `argoproxy keys` makes"
    " others."
)


def open_keys(sources: Sources) -> KeyStore | None:
    """Return the store of managed keys; None if none is configured, or nothing was kept in it yet."""
    folder = sources.config.state_folder
    return SqliteKeys(folder) if folder and (folder / key_files.DATABASE).exists() else None


def show_keys(sources: Sources, store: KeyStore | None, totals: Totals, now: float) -> KeysView:
    """Return the keys, those that used most first, and teams."""
    today, ledger_reason = read_today(sources, now)
    try:
        book, reason = (store.read(), "") if store else (KeyBook(), NO_STORE)
        limits = make_limit_reader(sources, now)
    except ProxyError as error:
        book, reason = KeyBook(), error.message
        limits = LimitReader({}, _make_calendar(sources), now)
    rows = [*_list_managed(book, limits, now), *_list_of_settings(sources, book)]
    rows += _list_others({row["name"] for row in rows}, totals.by_key)
    for row in rows:
        row["counts"] = totals.by_key.get(row["name"]) or no_counts()
        row["today"] = today.get(row["name"], no_counts()) if not ledger_reason else None
    return {
        "access": _access(sources),
        "keys": sorted(rows, key=_rank),
        "teams": [_show_team(team, limits) for team in book.teams.values()],
        "limits": [level for subject in _subjects(sources) for level in limits.levels(subject)],
        "uptime_s": totals.uptime_s,
        "reason": reason,
        "ledger_reason": ledger_reason,
    }


def make_limit_reader(sources: Sources, now: float) -> LimitReader:
    """Return what reads the counters of all limits. Raises StateUnavailable."""
    folder = sources.config.state_folder or (sources.shared / UNKEPT_LIMITS if sources.shared else None)
    counters = read_counters(folder, now) if folder else {}
    return LimitReader(counters, _make_calendar(sources), now)


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


def _list_managed(book: KeyBook, limits: LimitReader, now: float) -> Iterable[KeyRow]:
    for record in book.keys.values():
        yield {
            **_make_row(record.name, "managed", record.state(now)),
            "id": record.id,
            "team": record.team,
            "models": list(record.models),
            "expires": format_moment(record.expires) or "",
            "created": format_moment(record.created) or "",
            "ends_with": [secret.tail for secret in record.live_secrets(now)],
            "is_declared": record.is_declared,
            "limits": limits.levels(_subject_of(record)),
        }


def _subject_of(record: KeyRecord) -> LimitedSubject:
    return LimitedSubject(f"key:{record.id}", record.limits)


def _list_of_settings(sources: Sources, book: KeyBook) -> Iterable[KeyRow]:
    return (_make_row(key.name, "setting", "active") for key in sources.config.keys if key.name not in book.keys)


def _list_others(known: set[str], counted: Mapping[str, Counts]) -> list[KeyRow]:
    return [_make_row(name, "other", "") for name in counted if name not in known and name]


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
    levels = limits.levels(LimitedSubject(f"team:{team.name}", team.limits))
    return {"name": team.name, "models": list(team.models), "limits": levels}


def _subjects(sources: Sources) -> Iterable[LimitedSubject]:
    """Yield what has limits besides keys and teams."""
    config = sources.config
    gateway = [config.gateway] if config.gateway else []
    others = (one.limited for one in (*config.rules, *config.upstreams, *gateway))
    return dict.fromkeys(filter(None, (config.limits.everyone, *others)))


def _rank(row: KeyRow) -> tuple[int, int, str]:
    today = row["today"] or no_counts()
    used = (today["tokens_in"] + today["tokens_out"], row["counts"]["tokens_in"] + row["counts"]["tokens_out"])
    return -used[0], -used[1], row["name"]
