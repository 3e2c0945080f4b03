"""`/api/usage`: what requests used and cost, from the ledger; without one, from the counts since the start."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

from argoproxy.console.views.sources import Sources
from argoproxy.console.views.totals import Totals, no_counts
from argoproxy.console.views.view_shapes import Counts, ShownUsage, UsageView
from argoproxy.errors import BadRequest, StateUnavailable
from argoproxy.protocol.prices.money import to_number
from argoproxy.stores.local.sqlite_ledger import Grouping, LedgerFilter, UsageRow
from argoproxy.stores.postgres.chosen_stores import read_usage
from argoproxy.stores.usage_period import TODAY, parse_since

NO_LEDGER = (
    "Nothing is written down, so these are the counts since the start; state_path (STATE_PATH, --state_path DIR) sets"
    " the folder of a ledger."
)
NOT_COUNTED = (
    "Without a ledger teams and days are not known; state_path (STATE_PATH, --state_path DIR) sets its folder."
)
#: From when on sums are made unless the page says otherwise.
DEFAULT_SINCE = "30d"
MOST_DAYS = 400


def show_usage(sources: Sources, totals: Totals, options: Mapping[str, str], now: float) -> UsageView:
    """Return the sums that the options ask for: `by`, `since` (`today`, `7d`, a date), `key`. Raises BadRequest,
    StateUnavailable."""
    grouping = parse_grouping(options.get("by", ""))
    zone = zone_of(sources)
    since = parse_beginning(options.get("since", "") or DEFAULT_SINCE, now, zone)
    if sources.config.state_folder is None:
        return _from_counts(grouping, totals)
    chosen = LedgerFilter(since, float("inf"), options.get("key") or None)
    rows = read_usage(sources.config, grouping, chosen, zone)
    shown = [_show(row, sources) for row in rows]
    if grouping is Grouping.DAY:
        shown = fill_days(shown, datetime.fromtimestamp(now, zone).date())
    return _make_view(grouping, since, "ledger", shown, str(zone))


def fill_days(rows: Sequence[ShownUsage], today: date) -> list[ShownUsage]:
    """Return days in their order until today, those without a request among them, MOST_DAYS at most."""
    if not rows:
        return []
    by_day = {row["name"]: row for row in rows}
    first = max(date.fromisoformat(rows[0]["name"]), today - timedelta(days=MOST_DAYS - 1))
    days = [(first + timedelta(days=number)).isoformat() for number in range((today - first).days + 1)]
    return [by_day.get(day) or _show_counts(day, no_counts()) for day in days]


def read_today(sources: Sources, now: float) -> tuple[Mapping[str, Counts], str]:
    """Return what each key used today, by its name, and ""; or nothing, and why."""
    zone = zone_of(sources)
    if sources.config.state_folder is None:
        return {}, NO_LEDGER
    chosen = LedgerFilter(parse_since(TODAY, now, zone), float("inf"))
    try:
        rows = read_usage(sources.config, Grouping.KEY, chosen, zone)
    except StateUnavailable as error:
        return {}, error.message
    return {row.name: _as_counts(row) for row in rows}, ""


def parse_grouping(text: str) -> Grouping:
    """Return by what requests are added up. Raises BadRequest."""
    try:
        return Grouping(text or Grouping.KEY)
    except ValueError:
        raise BadRequest(f"`by` must be one of {', '.join(Grouping)}.", param="by") from None


def parse_beginning(text: str, now: float, zone: tzinfo) -> float:
    """Return the moment from which on requests count, of `today`, `7d`, `2026-11-01`: a whole minute, so that two looks
    at the same requests see the same. Raises BadRequest."""
    try:
        return parse_since(text, now, zone) // 60 * 60
    except ValueError as error:
        raise BadRequest(f"`since` {error}.", param="since") from None


def zone_of(sources: Sources) -> tzinfo:
    """Return the zone in which days begin."""
    name = sources.config.limits.zone
    return UTC if name == "UTC" else ZoneInfo(name)


def _show(row: UsageRow, sources: Sources) -> ShownUsage:
    return {
        "name": sources.mask(row.name),
        "requests": row.requests,
        "prompt_tokens": row.prompt_tokens,
        "cached_tokens": row.cached_tokens,
        "completion_tokens": row.completion_tokens,
        "reasoning_tokens": row.reasoning_tokens,
        "total_tokens": row.total_tokens,
        "cost": None if row.cost_nanos is None else to_number(row.cost_nanos),
        "unpriced": row.unpriced,
        "estimated": row.estimated,
    }


def _from_counts(grouping: Grouping, totals: Totals) -> UsageView:
    groups = {Grouping.KEY: totals.by_key, Grouping.MODEL: totals.by_model, Grouping.UPSTREAM: totals.by_upstream}
    rows = [_show_counts(name, counts) for name, counts in groups.get(grouping, {}).items()]
    view = _make_view(grouping, totals.started_at or 0.0, "counts", rows, "UTC")
    return {**view, "reason": NO_LEDGER if grouping in groups else NOT_COUNTED}


def _show_counts(name: str, counts: Counts) -> ShownUsage:
    return {
        "name": name,
        "requests": counts["requests"],
        "prompt_tokens": counts["tokens_in"],
        "cached_tokens": 0,
        "completion_tokens": counts["tokens_out"],
        "reasoning_tokens": 0,
        "total_tokens": counts["tokens_in"] + counts["tokens_out"],
        "cost": counts["cost"],
        "unpriced": 0,
        "estimated": 0,
    }


def _as_counts(row: UsageRow) -> Counts:
    cost = None if row.cost_nanos is None else to_number(row.cost_nanos)
    tokens = {"tokens_in": row.prompt_tokens, "tokens_out": row.completion_tokens}
    return {"requests": row.requests, "errors": 0, "cost": cost, **tokens}  # type: ignore[typeddict-item]


def _make_view(grouping: Grouping, since: float, source: str, rows: list[ShownUsage], zone: str) -> UsageView:
    ordered = rows if grouping is Grouping.DAY else sorted(rows, key=_rank)
    return {"by": str(grouping), "since": since, "source": source, "rows": ordered, "zone": zone, "reason": ""}  # type: ignore[typeddict-item]


def _rank(row: ShownUsage) -> tuple[float, int, str]:
    return -(row["cost"] or 0.0), -row["total_tokens"], row["name"]
