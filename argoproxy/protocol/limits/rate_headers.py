"""OpenAI's headers about limits: how many requests and tokens there are a minute, how many are left, and when all are.

Times have the form of Go's durations, as OpenAI sends them: `12ms`, `1.5s`, `6m0s`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from argoproxy.protocol.http_messages import Headers, without
from argoproxy.protocol.limits.limits import Claim, Level, LimitKind

_NAMES = {
    kind: (f"x-ratelimit-limit-{unit}", f"x-ratelimit-remaining-{unit}", f"x-ratelimit-reset-{unit}")
    for kind, unit in ((LimitKind.RPM, "requests"), (LimitKind.TPM, "tokens"))
}


def make_rate_headers(claims: Iterable[Claim], levels: Mapping[str, Level]) -> Headers:
    """Return the headers of the tightest limit on requests, and of that on tokens: of which the least part is left."""
    tightest: dict[LimitKind, Level] = {}
    for claim in claims:
        if claim.kind in _NAMES and (level := levels.get(claim.row)):
            held = tightest.get(claim.kind)
            if held is None or _part_left(level) < _part_left(held):
                tightest[claim.kind] = level
    headers: list[tuple[str, str]] = []
    for kind, (limit, remaining, full_in_s) in tightest.items():
        of_limit, of_rest, of_reset = _NAMES[kind]
        left = max(0, remaining)
        headers += ((of_limit, str(limit)), (of_rest, str(left)), (of_reset, format_duration(full_in_s)))
    return tuple(headers)


def replace_rate_headers(headers: Headers, own: Headers) -> Headers:
    """Return headers with those about the proxy's limits in place of the upstream's about the same."""
    return (*without(headers, frozenset(name for name, _ in own)), *own)


def format_duration(seconds: float) -> str:
    """Return a time as OpenAI writes it, rounded up to a millisecond."""
    millis = math.ceil(max(0.0, seconds) * 1000 - 1e-6)
    if millis < 1000:
        return f"{millis}ms" if millis else "0s"
    minutes, rest = divmod(millis, 60_000)
    text = f"{rest / 1000:.3f}".rstrip("0").rstrip(".") + "s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes}m{text}" if hours else f"{minutes}m{text}" if minutes else text


def _part_left(level: Level) -> float:
    return level.remaining / level.limit if level.limit else 0.0
