"""What is done when upstreams fail: at the process, at an upstream and at a rule."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from argoproxy.cli.explain import explain_model
from argoproxy.protocol.resilience.breaker import BreakerSettings
from argoproxy.protocol.resilience.failures import DEFAULT_FALLBACK_ON
from argoproxy.protocol.resilience.resilience_settings import ResilienceSettings
from argoproxy.protocol.routing.call import Call
from argoproxy.web.upstream_factory import models_of
from tests.support.configs import find_mistakes_in, load_text

LEVELS = """
retry_wait: 1500ms
context_fallback: large
upstreams:
  a: {base_url: http://a, fallback_on: [connect, 429, "503", 429]}
  b: {base_url: http://b, retry_wait: 0}
models:
  m: {upstream: [a, b], context_fallback: huge}
  n: {upstream: [b], fallback_on: []}
"""


def settings_for(folder: Path, text: str, model: str) -> list[ResilienceSettings]:
    body = {"model": model, "messages": []}
    call = Call("id", 1, "/v1/chat/completions", "", (), body, None, requested_model=model)
    return [route.resilience for route in models_of(load_text(folder, text)).resolve(call)]


def test_each_level_overrides_the_one_above(tmp_path: Path) -> None:
    assert settings_for(tmp_path, LEVELS, "m") == [
        ResilienceSettings(("connect", "429", "503"), 1.5, "huge"),
        ResilienceSettings(DEFAULT_FALLBACK_ON, 0, "huge"),
    ]
    assert settings_for(tmp_path, LEVELS, "n") == [ResilienceSettings((), 0, "large")]


def test_the_defaults_hold_for_a_single_upstream(tmp_path: Path) -> None:
    assert settings_for(tmp_path, "target_base_url: http://a", "m") == [ResilienceSettings()]
    text = "target_base_url: http://a\nfallback_on: none"
    assert settings_for(tmp_path, text, "m") == [ResilienceSettings(())]


def test_a_breaker_is_set_at_each_level_and_each_part_alone(tmp_path: Path) -> None:
    text = """
breaker: {failures: 7}
upstreams:
  a: {base_url: http://a, breaker: {open: 2s}}
  b: {base_url: http://b, breaker: {failures: 5, open: 500ms}}
models:
  m: {upstream: [a, b], breaker: {failures: 1}}
  n: {upstream: [a, b]}
"""
    assert [one.breaker for one in settings_for(tmp_path, text, "m")] == [
        BreakerSettings(1, 2.0),
        BreakerSettings(1, 0.5),
    ]
    assert [one.breaker for one in settings_for(tmp_path, text, "n")] == [
        BreakerSettings(7, 2.0),
        BreakerSettings(5, 0.5),
    ]
    text = "target_base_url: http://a\nbreaker_failures: 2\nbreaker_open: 1m"
    assert [one.breaker for one in settings_for(tmp_path, text, "m")] == [BreakerSettings(2, 60.0)]


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ("fallback_on: [connect, 200]", "config.yaml, line 1: fallback_on"),
        ("fallback_on: conect", 'did you mean "connect"?'),
        ("retry_wait: soon", "config.yaml, line 1: retry_wait"),
        ("context_fallback: [a]", "config.yaml, line 1: context_fallback"),
        ("upstreams:\n  a: {base_url: http://a, retry_wait: x}", "config.yaml, line 2: upstreams.a.retry_wait"),
        ("breaker:\n  failures: 0", "config.yaml, line 2: breaker.failures"),
        ("breaker: 3", "config.yaml, line 1: breaker must be a mapping of failures, open"),
        ("upstreams:\n  a: {base_url: http://a, breaker: {failure: 1}}", 'did you mean "failures"?'),
        ("upstreams:\n  a: {base_url: http://a, breaker: 3}", "config.yaml, line 2: upstreams.a.breaker"),
        ("models:\n  m:\n    breaker: {open: soon}", "config.yaml, line 3: models.m.breaker holds 'open'"),
        ("models:\n  m:\n    fallback_on: [600]", "config.yaml, line 3: models.m.fallback_on"),
    ],
)
def test_a_mistake_is_named_with_its_line(tmp_path: Path, text: str, mistake: str) -> None:
    assert any(mistake in found for found in find_mistakes_in(tmp_path, text))


def test_config_show_tells_what_follows_a_failure_where_that_is_set(tmp_path: Path) -> None:
    config = load_text(tmp_path, LEVELS)
    failures = {"fallback_on": ["connect", "429", "503"], "retry_wait_s": 1.5, "context_fallback": "huge"}
    assert f"  failures: {json.dumps(failures)}" in list(explain_model(config, "m"))
    plain = load_text(tmp_path, "target_base_url: http://a")
    assert not [line for line in explain_model(plain, "m") if "failures" in line]
