"""What the console shows as left of limits that replicas count in a Redis server."""

from __future__ import annotations

from pathlib import Path

import pytest

from argoproxy.console.views.keys_view import make_limit_reader
from argoproxy.protocol.limits.limits import Claim, LimitedSubject, LimitKind, Limits
from argoproxy.stores.redis.redis_limits import RedisLimits
from tests.support.console_sources import make_sources
from tests.support.redis_server import MISSING, RealRedis

if MISSING:
    pytest.skip(f"missing: {MISSING}", allow_module_level=True)

SUBJECT = LimitedSubject("key:a", Limits(concurrent=5))


def test_the_console_shows_what_replicas_count_together(tmp_path: Path) -> None:
    with RealRedis(tmp_path) as redis:
        check_levels(redis, tmp_path)


def check_levels(redis: RealRedis, tmp_path: Path) -> None:
    sources = make_sources(tmp_path, f"redis_url: {redis.url}\n")
    settings = sources.config.redis
    assert settings
    claim = Claim("key:a/concurrent", LimitKind.CONCURRENT, "key:a", 5, 1)
    RedisLimits(redis.server(), settings.prefix).admit("r1", [claim], 0, 0.0)
    reader, reason = make_limit_reader(sources, [SUBJECT], 0.0)
    assert ([level["left"] for level in reader.levels(SUBJECT)], reason) == ([4], "")
    redis.kill()
    reader, reason = make_limit_reader(sources, [SUBJECT], 0.0)
    assert [level["left"] for level in reader.levels(SUBJECT)] == [5]
    assert reason
