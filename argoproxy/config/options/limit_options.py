"""Settings of limits; settings.py tells how they are declared.

Keys, teams, rules and upstreams have the same keys as the section `limits`: `argoproxy/config/limit_section.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

from argoproxy.config.options.declaration import setting
from argoproxy.config.options.parsers import choice_parser, parse_text, whole_number_parser
from argoproxy.protocol.limits.limit_fields import parse_budget, parse_count
from argoproxy.protocol.limits.limits import Budget, LimitSettings, Reserve, StoreFailure, Unpriced

UTC = "UTC"


def parse_zone(value: Any) -> str:
    """Parse the name of a time zone that this system knows."""
    name = parse_text(value)
    if name.upper() == UTC:
        return UTC
    try:
        ZoneInfo(name)
    except (ValueError, OSError):  # ZoneInfoNotFoundError is a KeyError
        raise ValueError("is not a time zone; use a name such as Europe/Berlin, or UTC") from None
    except KeyError:
        raise ValueError(
            "is not a time zone that this system knows; use a name such as Europe/Berlin, or UTC"
        ) from None
    return name


@dataclass(frozen=True, slots=True)
class LimitOptions:
    """Limits on all requests together"""

    section: ClassVar[str] = "limits"

    rpm: int | None = setting(parse_count, None, "Requests a minute; any number if unset", page="limits.md")
    tpm: int | None = setting(
        parse_count, None, "Tokens a minute, of prompts and answers; any number if unset", page="limits.md"
    )
    concurrent: int | None = setting(
        parse_count, None, "Requests at once: others are refused, they do not wait", page="limits.md"
    )
    budget: Budget | None = setting(
        parse_budget,
        None,
        "Money for a day, week, month or in total, such as 5/month; needs state_path and prices",
        page="limits.md#budgets",
    )


@dataclass(frozen=True, slots=True)
class AccountingOptions:
    """How limits are counted"""

    reserve: str = setting(
        choice_parser(list(Reserve)),
        str(Reserve.EXPECTED),
        "What is set aside for an answer while it runs: expected (expect_output), or max (max_tokens), a hard cap",
        page="limits.md#what-is-reserved",
    )
    expect_output: int = setting(
        whole_number_parser(0, 1_000_000),
        LimitSettings().expect_output,
        "Tokens that an answer is expected to have, if its max_tokens is not smaller",
        page="limits.md#what-is-reserved",
    )
    unpriced: str = setting(
        choice_parser(list(Unpriced)),
        str(Unpriced.REFUSE),
        "Requests under a budget for a model whose price is not known: refuse, or allow them at no cost",
        page="limits.md#budgets",
    )
    budget_zone: str = setting(
        parse_zone, UTC, "Time zone in which days, weeks and months of budgets begin", page="limits.md#budgets"
    )
    on_store_failure: str = setting(
        choice_parser(list(StoreFailure)),
        str(StoreFailure.REFUSE),
        "Limited requests while the counters can't be used: refuse them, or allow them without limits",
        page="limits.md#where-counts-are-kept",
    )
