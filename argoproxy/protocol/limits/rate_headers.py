"""OpenAI's headers about limits: how many requests and tokens there are a minute, how many are left, and when all are.

Times have the form of Go's durations, as OpenAI sends them: `12ms`, `1.5s`, `6m0s`.
"""

from __future__ import annotations

import math

from argoproxy.protocol.http_messages import Headers, without
from argoproxy.protocol.limits.buckets import UNITS
from argoproxy.protocol.limits.limits import RPM, TPM, Admission, LimitKind

_NAMES = {
    kind: (f"x-ratelimit-limit-{unit}", f"x-ratelimit-remaining-{unit}", f"x-ratelimit-reset-{unit}")
    for kind, unit in ((RPM, "requests"), (TPM, "tokens"))
}


def make_rate_headers(admission: Admission) -> Headers:
    """Return the headers of the tightest limit on requests, and of that on tokens: of which the most is used."""
    tightest: dict[LimitKind, tuple[float, int, int]] = {}
    for claim, (used, _) in zip(admission.claims, admission.counters, strict=True):
        kind, limit = claim.kind, claim.limit
        if kind is RPM or kind is TPM:
            part = used / limit if limit else UNITS
            if kind not in tightest or part > tightest[kind][0]:
                tightest[kind] = part, limit, used
    headers: list[tuple[str, str]] = []
    for kind, (part, limit, used) in tightest.items():
        of_limit, of_rest, of_reset = _NAMES[kind]
        left = limit - -(-used // UNITS)
        full_in_s = part / 1e6 if limit else 0.0
        headers += (
            (of_limit, f"{limit}"),
            (of_rest, f"{max(0, left)}"),
            (of_reset, format_duration(full_in_s)),
        )
    return tuple(headers)


def replace_rate_headers(headers: Headers, own: Headers) -> Headers:
    """Return headers with those about the proxy's limits in place of the upstream's about the same."""
    return (*without(headers, frozenset(dict(own))), *own)


def format_duration(seconds: float) -> str:
    """Return a time as OpenAI writes it, rounded up to a millisecond."""
    millis = math.ceil(max(0.0, seconds) * 1000 - 1e-6)
    if millis < 1000:
        return f"{millis}ms" if millis else "0s"
    minutes, rest = divmod(millis, 60_000)
    text = f"{rest / 1000:.3f}".rstrip("0").rstrip(".") + "s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes}m{text}" if hours else f"{minutes}m{text}" if minutes else text
