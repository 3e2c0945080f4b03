"""Settings of limits; settings.py tells how they are declared.

Keys, teams, rules and upstreams have the same keys as the section `limits`: `argoproxy/config/limit_section.py`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, ClassVar
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from argoproxy.config.options.declaration import setting
from argoproxy.config.options.parsers import choice_parser, parse_seconds, parse_text, whole_number_parser
from argoproxy.protocol.access.secrets import Secret
from argoproxy.protocol.keys.key_token import PEPPER_BYTES
from argoproxy.protocol.limits.limit_fields import parse_budget, parse_count
from argoproxy.protocol.limits.limits import Budget, LimitSettings, Reserve, StoreFailure, Unpriced

UTC = "UTC"
_REDIS_SCHEMES = ("redis", "rediss", "unix")
_PEPPER = re.compile(rf"[0-9a-f]{{{2 * PEPPER_BYTES}}}")
_PREFIX = re.compile(r"[A-Za-z0-9._:-]{1,64}")


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


def parse_redis_url(value: Any) -> str:
    """Parse the URL of a Redis server. It is not shown in a mistake: it may hold a password."""
    text = parse_text(value)
    try:
        parts = urlsplit(text)
        is_whole = bool(parts.path if parts.scheme == "unix" else parts.hostname) and parts.port != 0
    except ValueError:
        is_whole = False
    if text.partition("://")[0] not in _REDIS_SCHEMES or not is_whole:
        raise ValueError("must be redis://HOST:PORT/0, rediss:// for TLS, or unix://PATH")
    return text


def parse_database_url(value: Any) -> str:
    """Parse the URL of a PostgreSQL database. It is not shown in a mistake: it may hold a password."""
    text = parse_text(value)
    try:
        parts = urlsplit(text)
        is_whole = (
            parts.scheme in ("postgresql", "postgres") and "://" in text and "@" not in parts.path + parts.fragment
        )
    except ValueError:
        is_whole = False
    if not is_whole:
        raise ValueError(
            "must be postgresql://USER:PASSWORD@HOST:PORT/DATABASE, with / # [ and @ in PASSWORD as %2F %23 %5B %40"
        )
    return text


def parse_pepper(value: Any) -> Secret:
    """Parse the secret that digests of keys are made with, as keys.pepper holds it."""
    text = parse_text(value).lower()
    if not _PEPPER.fullmatch(text):
        raise ValueError(f"must be {2 * PEPPER_BYTES} hexadecimal digits, as of: openssl rand -hex {PEPPER_BYTES}")
    return Secret(text)


def parse_prefix(value: Any) -> str:
    """Parse the beginning of keys: letters, digits and a few signs."""
    text = parse_text(value)
    if not _PREFIX.fullmatch(text):
        raise ValueError("must be letters, digits and . _ : - alone, up to 64")
    return text


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
    on_store_failure: str | None = setting(
        choice_parser(list(StoreFailure)),
        None,
        "Limited requests while the counters can't be used: refuse them, allow them without limits, or with redis_url"
        " count them on this host (local); refuse if unset, with redis_url local",
        page="limits.md#where-counts-are-kept",
    )


@dataclass(frozen=True, slots=True)
class ReplicaOptions:
    """What several hosts share"""

    redis_url: str | None = setting(
        parse_redis_url,
        None,
        "Redis or Valkey server in which the limits of all replicas are counted: redis://, rediss://, unix://",
        page="redis.md",
    )
    redis_prefix: str = setting(parse_prefix, "argoproxy", "Beginning of all keys in the Redis server", page="redis.md")
    redis_timeout: float = setting(
        parse_seconds, 0.2, "How long the Redis server is waited for before on_store_failure holds", page="redis.md"
    )
    replicas: int = setting(
        whole_number_parser(1, 10_000),
        1,
        "Hosts that share redis_url: each counts its part of the limits while the server can't be used",
        page="redis.md",
    )
    on_store_failure_budgets: str | None = setting(
        choice_parser(list(StoreFailure)),
        None,
        "The same as on_store_failure for requests under a budget; as on_store_failure if unset",
        page="redis.md#when-redis-fails",
    )
    budget_grace: float = setting(
        parse_seconds,
        600.0,
        "How long budgets are counted locally while the Redis server can't be used; then requests are refused",
        page="redis.md#when-redis-fails",
    )


@dataclass(frozen=True, slots=True)
class DatabaseOptions:
    """What several hosts keep in a database"""

    database_url: str | None = setting(
        parse_database_url,
        None,
        "PostgreSQL database of the keys and the ledger of all replicas: postgresql://; needs state_path",
        page="database.md",
    )
    database_timeout: float = setting(
        parse_seconds, 5.0, "How long the database is waited for; no request waits for it", page="database.md"
    )
    key_pepper: Secret | None = setting(
        parse_pepper,
        None,
        "Secret that digests of keys in the database are made with; if unset, the database keeps one",
        page="database.md#the-pepper",
    )
    key_grace: float = setting(
        parse_seconds,
        86_400.0,
        "How long the keys that are known stay valid while the database can't be used",
        page="database.md#when-the-database-fails",
    )
    ledger_backlog: int = setting(
        whole_number_parser(1000, 100_000_000),
        1_000_000,
        "Requests that a host keeps for the ledger while the database can't be used; older ones are dropped",
        page="database.md#when-the-database-fails",
    )
