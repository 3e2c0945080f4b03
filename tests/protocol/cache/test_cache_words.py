"""Cache-Control of requests, Cache-Status of responses."""

from __future__ import annotations

import math

import pytest

from argoproxy.protocol.cache.cache_control import NotCached, RequestDirectives, read_directives
from argoproxy.protocol.cache.cache_headers import CacheReport, CacheResult


@pytest.mark.parametrize(
    ("text", "directives"),
    [
        ("no-cache", RequestDirectives(no_cache=True)),
        ("No-Store", RequestDirectives(no_store=True)),
        ("only-if-cached, max-age=60", RequestDirectives(only_if_cached=True, max_age_s=60)),
        ('max-age="5"', RequestDirectives(max_age_s=5)),
        ("max-age=soon", RequestDirectives(max_age_s=0)),
        ("max-age", RequestDirectives(max_age_s=0)),
        ("max-age=-1", RequestDirectives(max_age_s=0)),
        ("max-age=" + "9" * 400, RequestDirectives(max_age_s=999_999_999_999)),
        ("max-stale=5, no-transform, unknown", RequestDirectives()),
        ("", RequestDirectives()),
    ],
)
def test_directives(text: str, directives: RequestDirectives) -> None:
    assert read_directives((("Cache-Control", text),)) == directives


def test_several_fields_are_one_list() -> None:
    both = read_directives((("cache-control", "no-cache"), ("Cache-Control", "max-age=3")))
    assert both == RequestDirectives(no_cache=True, max_age_s=3)
    assert read_directives(()).max_age_s == math.inf


@pytest.mark.parametrize(
    ("report", "headers"),
    [
        (
            CacheReport(CacheResult.HIT, age_s=5.9, ttl_s=54.1),
            {"Cache-Status": "argoproxy; hit; ttl=54", "X-Cache": "HIT", "Age": "5"},
        ),
        (CacheReport(CacheResult.MISS, "stale"), {"Cache-Status": "argoproxy; fwd=stale", "X-Cache": "MISS"}),
        (
            CacheReport(CacheResult.BYPASS, "bypass", "sampling"),
            {"Cache-Status": "argoproxy; fwd=bypass; detail=sampling", "X-Cache": "BYPASS"},
        ),
    ],
)
def test_reports_as_header_fields(report: CacheReport, headers: dict[str, str]) -> None:
    assert dict(report.headers()) == headers


def test_official_clients_do_not_repeat_what_is_not_cached() -> None:
    assert NotCached("x").headers == (("x-should-retry", "false"),)
