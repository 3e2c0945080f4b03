"""What a request is charged, by how far it came."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from argoproxy.protocol.limits.charges import Progress, UsedTokens, charge_claims, count_used
from argoproxy.protocol.limits.limits import Claim, LimitKind
from argoproxy.protocol.prices.token_counts import TokenCounts

CLAIMS = [Claim(f"global/{kind}", kind, "global", 100, 60) for kind in LimitKind]
ESTIMATE, TOLD, BEGUN = TokenCounts(10, 20), TokenCounts(12, 25, cached=4), TokenCounts(12, 1)
NOTHING = UsedTokens(TokenCounts(0, 0))


@pytest.mark.parametrize(
    ("progress", "told", "used"),
    [
        (Progress.UNSENT, None, NOTHING),
        (Progress.UNANSWERED, None, NOTHING),
        (Progress.CACHED, TOLD, NOTHING),
        (Progress.COMPLETE, TOLD, UsedTokens(TOLD)),
        (Progress.COMPLETE, None, UsedTokens(ESTIMATE, is_estimated=True)),
        (Progress.BROKEN, None, UsedTokens(ESTIMATE, is_estimated=True)),
        (Progress.BROKEN, BEGUN, UsedTokens(TokenCounts(12, 20), is_estimated=True)),
        (Progress.BROKEN, TOLD, UsedTokens(TOLD)),
    ],
)
def test_used_tokens(progress: Progress, told: TokenCounts | None, used: UsedTokens) -> None:
    assert count_used(progress, told, ESTIMATE) == used


@pytest.mark.parametrize(
    ("progress", "charged"),
    [
        (Progress.UNSENT, (None, None, None)),
        (Progress.UNANSWERED, (1, None, None)),
        (Progress.CACHED, (1, None, None)),
        (Progress.BROKEN, (1, 30, 7)),
        (Progress.COMPLETE, (1, 30, 7)),
    ],
)
def test_charges(progress: Progress, charged: Sequence[int | None]) -> None:
    charges = charge_claims(CLAIMS, progress, 30, 7)
    assert tuple(charges.get(f"global/{kind}") for kind in ("rpm", "tpm", "budget")) == charged
    assert "global/concurrent" not in charges


def test_a_cost_that_is_not_known_is_what_was_reserved() -> None:
    assert charge_claims(CLAIMS, Progress.COMPLETE, 30, None)["global/budget"] == 60
