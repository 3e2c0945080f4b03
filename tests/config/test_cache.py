"""`cache` of a rule, and mistakes in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from argoproxy.config.cache import CacheSettings, parse_cache
from argoproxy.protocol.cache.cache_policy import CachePolicy, CacheScope
from tests.support.configs import find_mistakes_in, load_text, rules


@pytest.mark.parametrize(
    ("value", "policy"),
    [
        ("1h", CachePolicy(3600)),
        (90, CachePolicy(90)),
        ({"ttl": "7d"}, CachePolicy(7 * 86_400)),
        ({"ttl": 60, "scope": "team", "wait": 0}, CachePolicy(60, CacheScope.TEAM, wait_s=0)),
        ({"ttl": 60, "sampling": True, "length": "yes"}, CachePolicy(60, with_sampling=True, with_length=True)),
        ("none", CachePolicy(0)),
        (False, CachePolicy(0)),
    ],
)
def test_policies(value: Any, policy: CachePolicy) -> None:
    assert parse_cache(value) == policy


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("soon", "duration"),
        (True, "duration"),
        ({}, "mapping"),
        ({"scope": "key"}, "needs `ttl`"),
        ({"ttl": "soon"}, "'ttl', which must be a duration"),
        ({"ttl": 60, "scope": "user"}, "'scope', which"),
        ({"ttl": 60, "sampled": True}, "did you mean"),
        (["1h"], "duration"),
    ],
)
def test_mistakes_name_what_is_wrong(value: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_cache(value)


def test_a_folder_is_needed_only_where_answers_are_kept(tmp_path: Path) -> None:
    text = "models: {m1: {cache: 1h}}"
    (mistake,) = find_mistakes_in(tmp_path, text)
    assert "models.m1.cache needs state_path" in mistake
    assert load_text(tmp_path, text.replace("1h", "none")).cache is None
    kept = load_text(tmp_path, f"state_path: state\ncache_max_bytes: 1048576\n{text}").cache
    assert kept == CacheSettings(tmp_path / "state", 1048576)


def test_a_mistake_has_its_place(tmp_path: Path) -> None:
    (mistake,) = find_mistakes_in(tmp_path, "state_path: state\nmodels: {m1: {cache: {ttl: 1h, scop: key}}}")
    assert "models.m1.cache" in mistake
    assert '"scope"' in mistake


def test_native_upstreams_keep_nothing(tmp_path: Path) -> None:
    text = "state_path: s\nupstreams: {a: {base_url: http://x, native: true}}\nmodels: {m1: {upstream: a, cache: 1h}}"
    loaded = load_text(tmp_path, text)
    assert [warning for warning in loaded.warnings if "models.m1.cache has no effect" in warning]


def test_the_stronger_rule_counts_as_a_whole(tmp_path: Path) -> None:
    text = "state_path: s\nmodels: {m1: {cache: {ttl: 1h, scope: all}}}"
    rule = rules(load_text(tmp_path, text))["m1"]
    stronger = type(rule)("m1", cache=CachePolicy(60))
    assert stronger.merged_over(rule).cache == CachePolicy(60)
    assert type(rule)("m1").merged_over(rule).cache == CachePolicy(3600, CacheScope.ALL)
