from __future__ import annotations

import pytest

from argoproxy.upstreams.argo.completions import estimate_tokens, estimate_usage

#: Texts with their tokens as o200k counts them.
COUNTED = [
    ("", 0),
    (" ", 1),
    ("Hello", 1),
    ("Hello there, how are you today?", 8),
    ("The quick brown fox jumps over the lazy dog.", 10),
    ("def add(a, b):\n    return a + b\n", 13),
    ('{"name": "weather", "arguments": {"city": "Berlin"}}', 15),
    ("1234567890", 4),
    ("Wissenschaftlerinnen und Wissenschaftler untersuchen Halbleiter.", 14),
    ("Учёные изучают свойства полупроводников.", 13),
    ("东京是日本的首都", 6),
    ("🎉🎉🎉", 6),
    ("snake_case_name", 4),
]


@pytest.mark.parametrize(("text", "tokens"), COUNTED)
def test_an_estimate_is_near(text: str, tokens: int) -> None:
    assert abs(estimate_tokens(text) - tokens) <= max(2, 0.35 * tokens)


def test_usage_adds_up() -> None:
    assert estimate_usage("Hello there", "Hi") == {"prompt_tokens": 2, "completion_tokens": 1, "total_tokens": 3}


def test_long_texts_cost_no_more_than_their_length() -> None:
    assert estimate_tokens("a" * 1_000_000) > 100_000
    assert estimate_tokens("\n" * 100_000) == 1
