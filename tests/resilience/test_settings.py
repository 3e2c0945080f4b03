"""Each setting at process, upstream and rule, and each mistake with its place."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from argoproxy.config.values.config_error import ConfigError
from tests.support.configs import load_text

FILE = """\
upstreams:
  one:
    base_url: http://localhost:1/v1
    {upstream}
  two:
    base_url: http://localhost:2/v1
models:
  m1:
    upstream: [one, two]
    {rule}
{process}
"""
#: Lines of FILE in which the settings of each level stand.
LINES = {"upstream": 4, "rule": 10, "process": 11}

GOOD = [
    "retry_wait: 2s",
    "retry_wait: 0",
    "fallback_on: [500, 503, connect, timeout, content_policy]",
    "fallback_on: []",
    "context_fallback: two",
    "max_concurrent: 8",
    "queue: {size: 32, wait: 10s}",
    "queue: {size: 0}",
    "breaker: {failures: 5, open: 10s}",
    "breaker: {failures: 1}",
]
BAD = [
    "retry_wait: soon",
    "retry_wait: -1",
    "fallback_on: [200]",
    "fallback_on: [999]",
    "fallback_on: [refused]",
    "fallback_on: 500x",
    "context_fallback: [a]",
    "max_concurrent: -1",
    "max_concurrent: many",
    "queue: {size: -1}",
    "queue: {size: 32, wait: soon}",
    "queue: {length: 32}",
    "breaker: {failures: 0}",
    "breaker: {failures: three}",
    "breaker: {open: -5}",
    "breaker: {closed: 5}",
    "retry_waits: 2",
    "fallback: [500]",
]
#: Settings of rules, with as many lines; the mistake is in the last one.
RULES_GOOD = [
    "balance: ordered",
    "balance: least_open",
    "balance: sticky",
    "balance: weighted\n    weights: {one: 3, two: 1}",
]
RULES_BAD = [
    "balance: random",
    "weights: {one: 1}",
    *(f"balance: weighted\n    weights: {value}" for value in ("{three: 1}", "{one: -1}", "{one: heavy}", "[1, 2]")),
]


def text_with(level: str, setting: str) -> str:
    return FILE.format(**{**dict.fromkeys(LINES, ""), level: setting})


def mistakes_of(folder: Path, text: str) -> list[str]:
    try:
        load_text(folder, text)
    except ConfigError as error:
        return list(error.mistakes)
    return []


def levels_with(settings: list[str]) -> list[tuple[str, str]]:
    return [(level, setting) for setting in settings for level in LINES]


@pytest.mark.parametrize(("level", "setting"), levels_with(GOOD))
def test_a_setting_is_taken_at_every_level(tmp_path: Path, level: str, setting: str) -> None:
    assert mistakes_of(tmp_path, text_with(level, setting)) == []


@pytest.mark.parametrize(("level", "setting"), levels_with(BAD))
def test_a_mistake_is_named_with_its_line(tmp_path: Path, level: str, setting: str) -> None:
    (mistake,) = mistakes_of(tmp_path, text_with(level, setting))
    name = re.split(r"[:{ ]+", setting)[0]
    assert name in mistake
    assert f"line {LINES[level]}" in mistake


@pytest.mark.parametrize("setting", RULES_GOOD)
def test_a_rule_may_balance(tmp_path: Path, setting: str) -> None:
    assert mistakes_of(tmp_path, text_with("rule", setting)) == []


@pytest.mark.parametrize("setting", RULES_BAD)
def test_a_rule_that_balances_wrongly_is_a_mistake(tmp_path: Path, setting: str) -> None:
    (mistake,) = mistakes_of(tmp_path, text_with("rule", setting))
    assert f"line {LINES['rule'] + setting.count(chr(10))}" in mistake


@pytest.mark.parametrize("setting", ["balance: sticky", "weights: {one: 1}"])
@pytest.mark.parametrize("level", ["upstream", "process"])
def test_only_a_rule_balances(tmp_path: Path, level: str, setting: str) -> None:
    (mistake,) = mistakes_of(tmp_path, text_with(level, setting))
    assert f"line {LINES[level]}" in mistake
