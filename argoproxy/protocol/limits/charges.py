"""What a request is charged when it ends, by how far it came."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import NamedTuple

from argoproxy.protocol.limits.limits import BUDGET, RPM, TPM, Claim
from argoproxy.protocol.prices.token_counts import TokenCounts


class Progress(StrEnum):
    """How far a request came."""

    #: It was not sent to any upstream: nothing is charged.
    UNSENT = "unsent"
    #: It was answered from the cache: a request, but no tokens.
    CACHED = "cached"
    #: It was sent, and failed before anything of a reply came: a request, but no tokens.
    UNANSWERED = "unanswered"
    #: Its reply had begun when the upstream broke off, or the client left.
    BROKEN = "broken"
    COMPLETE = "complete"


#: What is charged for tokens only when a reply had begun.
ANSWERED = (Progress.BROKEN, Progress.COMPLETE)
NO_TOKENS = TokenCounts(0, 0)


class UsedTokens(NamedTuple):
    """The tokens that a request used; `is_estimated` if they are, all or in part."""

    counts: TokenCounts
    is_estimated: bool = False


def count_used(progress: Progress, told: TokenCounts | None, estimate: TokenCounts) -> UsedTokens:
    """Return what a request used, by the usage that the upstream sent, and by an estimate of the prompt and of the
    output that came. What is sent of a reply that then breaks off tells the prompt, but not all of the output."""
    if progress not in ANSWERED:
        return UsedTokens(NO_TOKENS)
    if told is None:
        return UsedTokens(estimate, is_estimated=True)
    if progress == Progress.BROKEN and told.completion < estimate.completion:
        return UsedTokens(told._replace(completion=estimate.completion), is_estimated=True)
    return UsedTokens(told)


def charge_claims(claims: Iterable[Claim], progress: Progress, tokens: int, cost_nanos: int | None) -> dict[str, int]:
    """Return the charges for each row of claims, for LimitStore.settle. A cost that is not known (None) is what was
    reserved: a budget must not be exceeded unseen."""
    if progress is Progress.UNSENT:
        return {}
    is_answered = progress in ANSWERED
    charges = {}
    for claim in claims:
        if claim.kind is RPM:
            charges[claim.row] = 1
        elif is_answered and claim.kind is TPM:
            charges[claim.row] = tokens
        elif is_answered and claim.kind is BUDGET:
            charges[claim.row] = claim.amount if cost_nanos is None else cost_nanos
    return charges
