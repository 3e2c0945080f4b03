from __future__ import annotations

from typing import Any

import pytest

from argoproxy.protocol.limits.prompt_estimate import PART_TOKENS, bound_prompt, estimate_prompt

HUNDRED = "word " * 80


@pytest.mark.parametrize(
    "body",
    [
        {"messages": [{"role": "user", "content": HUNDRED}]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": HUNDRED}]}]},
        {"prompt": HUNDRED},
        {"prompt": ["word " * 40, "word " * 40]},
        {"prompt": [7] * 100},
        {"input": [HUNDRED]},
        {"input": [{"role": "user", "content": [{"type": "input_text", "text": HUNDRED}]}]},
        {"system": [{"type": "text", "text": HUNDRED}], "messages": []},
        {"instructions": HUNDRED, "model": "m" * 1000, "metadata": {"a": HUNDRED * 9}},
        {"messages": [], "tools": [{"type": "function", "function": {"name": "f", "description": HUNDRED}}]},
    ],
)
def test_four_bytes_are_a_token_in_every_api(body: dict[str, Any]) -> None:
    assert 100 <= estimate_prompt(body) <= 115


def test_other_scripts_have_more_bytes() -> None:
    assert estimate_prompt({"prompt": "世" * 100}) == 75
    assert estimate_prompt({"prompt": "\ud800" * 4}) == 3


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 100_000}},
        {"type": "input_image", "image_url": "https://example.org/x.png"},
        {"type": "document", "source": {"type": "base64", "data": "A" * 100_000}},
    ],
)
def test_a_file_has_a_usual_size(part: dict[str, Any]) -> None:
    assert PART_TOKENS <= estimate_prompt({"messages": [{"role": "user", "content": [part]}]}) <= PART_TOKENS + 10


def test_odd_bodies_have_an_estimate_too() -> None:
    deep: Any = "word"
    for _ in range(100_000):
        deep = [deep]
    assert estimate_prompt({"messages": deep}) == 1
    assert estimate_prompt({}) == 0
    assert estimate_prompt({"messages": [{"type": ["image"]}, None, True, 1.5]}) > 0


def test_a_prompt_has_no_more_tokens_than_bytes() -> None:
    """Digits and odd characters are tokens of their own, and templates put some around each message."""
    body: dict[str, Any] = {"messages": [{"role": "user", "content": "1 2 3 " * 50}, {"role": "user", "content": "x"}]}
    assert 300 + 2 * 8 < bound_prompt(body) < 500
    assert bound_prompt({"prompt": [7] * 100}) >= 100
