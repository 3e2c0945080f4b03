"""Settings of the process, of an upstream and of a rule become one."""

from __future__ import annotations

from argoproxy.protocol.resilience.resilience_settings import ResilienceOverrides, ResilienceSettings


def test_what_is_set_closer_to_the_model_counts() -> None:
    process = ResilienceSettings(retry_wait_s=1)
    upstream = process.override(ResilienceOverrides(fallback_on=("connect",), context_fallback="large"))
    rule = upstream.override(ResilienceOverrides(fallback_on=()))
    assert upstream == ResilienceSettings(("connect",), 1, "large")
    assert rule == ResilienceSettings((), 1, "large")
    assert process.override(ResilienceOverrides()) is process


def test_a_stronger_rule_hides_the_values_of_a_weaker_one() -> None:
    stronger, weaker = ResilienceOverrides(retry_wait_s=0), ResilienceOverrides(("connect",), 5)
    assert stronger.merged_over(weaker) == ResilienceOverrides(("connect",), 0)
