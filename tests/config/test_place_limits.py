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


@pytest.mark.parametrize(
    ("size", "options", "is_reached"),
    [
        (32, {}, True),
        (32, {"WORKERS": "2", "THREADS": "32"}, True),
        (33, {"WORKERS": "2", "THREADS": "32"}, False),
        (1, {"THREADS": "1"}, False),
        (0, {"THREADS": "1"}, True),
        (1000, {"WORKERS": "1", "WORKER_CLASS": "gevent"}, True),
        (1001, {"WORKERS": "1", "WORKER_CLASS": "gevent"}, False),
        (1, {"WORKER_CLASS": "sync"}, False),
        (0, {"WORKER_CLASS": "sync"}, True),
    ],
)
def test_a_queue_that_the_workers_can_t_fill_is_a_warning(
    tmp_path: Path, size: int, options: dict[str, str], is_reached: bool
) -> None:
    text = f"queue: {{size: {size}}}\nupstreams: {{a: {{base_url: http://a, max_concurrent: 2}}, b: {{base_url: http://b}}}}"
    warnings = load_text(tmp_path, text, **options).warnings
    assert [("upstream a" in warning, "upstream b" in warning) for warning in warnings] == [(True, False)] * (
        not is_reached
    )


def test_the_queue_of_a_rule_is_one_too(tmp_path: Path) -> None:
    text = """
queue: {size: 0}
max_concurrent: 2
worker_class: sync
upstreams: {a: {base_url: http://a, max_concurrent: none}, b: {base_url: http://b}}
models:
  free: {upstream: a, queue: {size: 1}}
  large: {upstream: [a, b], queue: {size: 1}}
  limited: {upstream: a, max_concurrent: 1, queue: {size: 1}}
  small: {queue: {size: 1}}
  silent: {upstream: b}
"""
    (warning,) = load_text(tmp_path, text).warnings
    assert "at model large, model limited, whatever" in warning
