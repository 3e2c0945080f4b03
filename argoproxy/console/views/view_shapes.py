"""The JSON of the views, but for those of requests. Moments are seconds since 1970, what is not there is "" or null,
and `reason` is a sentence that says why a part is missing, "" if none is."""

from __future__ import annotations

from typing import Any, Literal, TypedDict

from argoproxy.protocol.json_text import Json
from argoproxy.protocol.limits.limit_levels import LimitLevel


class Counts(TypedDict):
    """What requests came to. `cost` is in the currency of the prices, null if it is not known."""

    requests: int
    errors: int
    tokens_in: int
    tokens_out: int
    cost: float | None


class Percentiles(TypedDict):
    """Milliseconds; null without any."""

    p50: float | None
    p95: float | None


class StripCell(TypedDict):
    """A minute: how many requests ended, how many of them failed, and their median time to the first byte."""

    requests: int
    failed: int
    p50: float | None


class LastEnding(TypedDict):
    """How the last request of a model ended."""

    at: float
    id: str
    ending: str
    status: int


class ShownModel(TypedDict):
    """A model: `upstreams` in the order in which they are tried, `rules` with their sources, `is_model` the one that a
    pseudo-model stands for. `circuit` is its own at the first upstream, else that upstream's: `state`, `reason`,
    `since_s`, `next_probe_s`. `refused` says why no client may ask for it. `counts` are those since the start; times
    are those of the requests that are known still, at most half an hour old."""

    name: str
    upstreams: list[str]
    rules: list[str]
    is_model: str
    is_listed: bool
    refused: str
    circuit: Json
    counts: Counts
    first_byte_ms: Percentiles
    total_ms: Percentiles
    recent: int
    last: LastEnding | None
    strip: list[StripCell]


class ModelsView(TypedDict):
    """`/api/models`. `strip` of a model has a cell for each of the last `minutes`, oldest first."""

    models: list[ShownModel]
    minutes: int
    started_at: float | None
    reason: str


class ShownCircuit(TypedDict):
    """The circuit of a model that is not closed."""

    model: str
    state: str
    reason: str
    since_s: float | None
    next_probe_s: float | None


class UpstreamRow(TypedDict):
    """An upstream: its circuit, since when and why it is as it is, what it serves now, what attempts came to since the
    start. `max_concurrent` is null without a limit."""

    name: str
    kind: str
    description: str
    url: str
    is_default: bool
    state: str
    reason: str
    reason_text: str
    since_s: float | None
    next_probe_s: float | None
    openings: int
    open_streams: int
    waiting: int
    max_concurrent: int | None
    models: list[ShownCircuit]
    attempts: dict[str, int]
    retries: int
    fallbacks: int
    counts: Counts


class UpstreamsView(TypedDict):
    """`/api/upstreams`."""

    upstreams: list[UpstreamRow]
    started_at: float | None
    reason: str


Access = Literal["open", "keys", "plugin"]
KeyKind = Literal["managed", "setting", "other"]


class KeyRow(TypedDict):
    """A key, without its text: `ends_with` are the last characters of those that are accepted. `today` is null without
    a ledger. Those with the kind `other` are names in requests of keys that are gone."""

    name: str
    id: str
    kind: KeyKind
    state: str
    team: str
    models: list[str]
    expires: str
    created: str
    ends_with: list[str]
    is_declared: bool
    limits: list[LimitLevel]
    counts: Counts
    today: Counts | None


class TeamRow(TypedDict):
    """A team."""

    name: str
    models: list[str]
    limits: list[LimitLevel]


class KeysView(TypedDict):
    """`/api/keys?find=TEXT`. `access` says who may ask: `open`, `keys` or `plugin`. Of `key_count` keys at most 500 are
    shown, those that used most. `limits` are those of all, of models and of upstreams."""

    access: Access
    keys: list[KeyRow]
    key_count: int
    teams: list[TeamRow]
    limits: list[LimitLevel]
    started_at: float | None
    reason: str
    ledger_reason: str


class ShownUsage(TypedDict):
    """What the requests of a group used together."""

    name: str
    requests: int
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    reasoning_tokens: int
    total_tokens: int
    cost: float | None
    unpriced: int
    estimated: int


class UsageView(TypedDict):
    """`/api/usage?by=key|team|model|upstream|day&since=7d&key=NAME`. Without a ledger the sums are those of the counts
    since the start (`source` is `counts`), which know no teams and days."""

    by: str
    since: float
    source: Literal["ledger", "counts"]
    rows: list[ShownUsage]
    zone: str
    reason: str


class ShownSetting(TypedDict):
    """A setting, its secrets starred, where it is set (`default`: nowhere), and what it is for."""

    key: str
    section: str
    value: Any
    place: str
    is_default: bool
    is_starred: bool
    environment: str
    about: str


class SettingsView(TypedDict):
    """`/api/settings`; with `?model=NAME`, `model` tells how a chat with it is served."""

    upstream: str
    version: str
    warnings: list[str]
    settings: list[ShownSetting]
    model: Json | None
    reason: str


class LogLine(TypedDict):
    """A line of the log: `id` is that of its request, `code` that of an event; a traceback stands below its line in
    `text`."""

    at: str
    level: str
    code: str
    id: str
    text: str


class LogView(TypedDict):
    """`/api/log?after=CURSOR`: the last lines, or those after the cursor; `is_gap` if some between were missed."""

    lines: list[LogLine]
    cursor: str
    is_gap: bool
    reason: str


class DoctorView(TypedDict):
    """`/api/doctor`: the last report, as `argoproxy doctor --json` prints it, and whether one is being made."""

    state: Literal["never", "running", "done", "failed"]
    started_at: float | None
    finished_at: float | None
    report: Json | None
    reason: str
