"""The errors of requests that limits refuse. They name the limit, never a key, nor what others have used of it."""

from __future__ import annotations

from math import ceil
from typing import ClassVar

from argoproxy.errors import BadRequest, Ending, ProxyError, TryLater
from argoproxy.protocol.http_messages import Headers
from argoproxy.protocol.limits.limits import Claim, LimitKind

#: Longer times are left out: a client would sleep through a month.
LONGEST_WAIT_S = 24 * 3600.0
#: What the subjects begin with that are upstreams.
UPSTREAM = "upstream:"
_HOLDERS = {
    "global": "this proxy",
    "key": "this key",
    "team": "the team of this key",
    "model": "this model",
    "upstream": "the upstream",
    "key.model": "this key for this model",
    "team.model": "the team of this key for this model",
}
_COUNTED = {
    LimitKind.RPM: "requests a minute",
    LimitKind.TPM: "tokens a minute",
    LimitKind.CONCURRENT: "requests at once",
}


class LimitExceeded(ProxyError):
    """A limit does not allow the request now. `claim` is what it asked of the limit."""

    status = 429
    type = "rate_limit_error"
    code = "rate_limit_exceeded"
    ending = Ending.REFUSED
    reached = False
    #: Whether to try again can be of use, whenever.
    is_temporary: ClassVar[bool] = True

    def __init__(self, message: str, claim: Claim, retry_after_s: float | None) -> None:
        super().__init__(message, param=f"{kind_of_subject(claim.subject)}.{claim.kind}")
        self.claim = claim
        self.retry_after_s = retry_after_s

    @property
    def headers(self) -> Headers:
        wait_s = self.retry_after_s
        if wait_s is None:
            return (("x-should-retry", "false"),)
        times = (("Retry-After", str(max(1, ceil(wait_s)))), ("retry-after-ms", str(max(1, ceil(1000 * wait_s)))))
        return times if self.is_temporary else (times[0], ("x-should-retry", "false"))


class QuotaExceeded(LimitExceeded):
    """A budget is spent."""

    type = "insufficient_quota"
    code = "insufficient_quota"
    is_temporary = False


class UnpricedModel(BadRequest):
    """A budget holds, and the price of the model is not known."""

    code = "unpriced_model"


class LimitsUnavailable(TryLater):
    """The counters can't be used now."""

    status = 503
    code = "state_unavailable"
    ending = Ending.REFUSED
    reached = False


def make_refusal(claim: Claim, retry_after_s: float | None) -> LimitExceeded:
    """Return the error for a claim that was not granted; `retry_after_s` is None where waiting can't help."""
    whose = _HOLDERS[kind_of_subject(claim.subject)]
    if claim.kind is LimitKind.BUDGET:
        soon = retry_after_s is not None and retry_after_s <= LONGEST_WAIT_S
        return QuotaExceeded(
            f"What is left of the budget of {whose} is not enough for this request.",
            claim,
            retry_after_s if soon else None,
        )
    if not claim.limit:
        return LimitExceeded(f"The limit on {_COUNTED[claim.kind]} of {whose} is 0.", claim, None)
    if retry_after_s is None:
        return LimitExceeded(f"The request is larger than the limit on tokens a minute of {whose}.", claim, None)
    message = f"The limit on {_COUNTED[claim.kind]} of {whose} is reached; try again later."
    return LimitExceeded(message, claim, retry_after_s)


def kind_of_subject(subject: str) -> str:
    """Return what kind of subject it is that a limit holds for: `key` of `key:ab12`, `key.model` of
    `key:ab12/model:gpt-*`."""
    holder, _, pattern = subject.partition("/model:")
    kind = holder.partition(":")[0]
    return f"{kind}.model" if pattern else kind


def is_of_upstream(subject: str) -> bool:
    """Return whether a limit is that of an upstream: another one may have none."""
    return subject.startswith(UPSTREAM)
