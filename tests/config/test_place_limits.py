"""How many requests an upstream gets at once: at the process, at an upstream and at a rule."""

from __future__ import annotations

from pathlib import Path

import pytest

from argoproxy.protocol.resilience.waiting import PlaceLimits
from argoproxy.protocol.routing.call import Call
from argoproxy.web.upstream_factory import models_of
from tests.support.configs import find_mistakes_in, load_text

LEVELS = """
max_concurrent: 8
queue: {size: 16, wait: 3s}
upstreams:
  a: {base_url: http://a}
  b: {base_url: http://b, max_concurrent: 2, queue: {size: 0}}
  c: {base_url: http://c, max_concurrent: none}
models:
  all: {upstream: [a, b, c]}
  big-*: {upstream: [a, c], max_concurrent: 1, queue: {wait: 500ms}}
"""


def limits_for(folder: Path, text: str, model: str) -> list[PlaceLimits | None]:
    body = {"model": model, "messages": []}
    call = Call("id", 1, "/v1/chat/completions", "", (), body, None, requested_model=model)
    return [route.limits for route in models_of(load_text(folder, text)).resolve(call)]


def test_an_upstream_overrides_the_process(tmp_path: Path) -> None:
    first, second, third = limits_for(tmp_path, LEVELS, "all")
    assert first
    assert second
    assert ([pool.limit for pool in first.pools], first.queue_size, first.wait_s) == ([8], 16, 3.0)
    assert ([pool.limit for pool in second.pools], second.queue_size, second.wait_s) == ([2], 0, 3.0)
    assert third is None


def test_a_rule_s_limit_holds_beside_that_of_the_upstream(tmp_path: Path) -> None:
    first, third = limits_for(tmp_path, LEVELS, "big-1")
    assert first
    assert third
    assert ([pool.limit for pool in first.pools], first.queue_size, first.wait_s) == ([8, 1], 16, 0.5)
    assert [pool.limit for pool in third.pools] == [1]
    assert limits_for(tmp_path, LEVELS, "big-2") == [first, third]


def test_without_the_setting_there_is_no_limit(tmp_path: Path) -> None:
    assert limits_for(tmp_path, "queue: {size: 3}\nupstreams: {a: {base_url: http://a}}", "m") == [None]


@pytest.mark.parametrize("setting", ["max_concurrent: 0", "queue: {size: -1}", "queue: {sise: 1}", "queue: {wait: x}"])
def test_a_mistake_is_named_with_its_line(tmp_path: Path, setting: str) -> None:
    text = f"upstreams:\n  a:\n    base_url: http://a\n    {setting}\n"
    (mistake,) = find_mistakes_in(tmp_path, text)
    assert setting.partition(":")[0] in mistake
    assert "4" in mistake
