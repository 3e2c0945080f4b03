"""Usage is read in the terms of every API, and never holds more parts than the whole."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argoproxy.protocol.prices.token_counts import MOST_TOKENS, TokenCounts, read_token_counts

CHAT = {
    "prompt_tokens": 2006,
    "completion_tokens": 300,
    "total_tokens": 2306,
    "prompt_tokens_details": {"cached_tokens": 1920, "audio_tokens": 10},
    "completion_tokens_details": {"reasoning_tokens": 192, "audio_tokens": 8},
}
RESPONSE = {
    "input_tokens": 2006,
    "input_tokens_details": {"cached_tokens": 1920},
    "output_tokens": 300,
    "output_tokens_details": {"reasoning_tokens": 192},
    "total_tokens": 2306,
}
MESSAGE = {
    "input_tokens": 50,
    "cache_read_input_tokens": 1000,
    "cache_creation_input_tokens": 700,
    "cache_creation": {"ephemeral_5m_input_tokens": 200, "ephemeral_1h_input_tokens": 500},
    "output_tokens": 300,
    "output_tokens_details": {"thinking_tokens": 40},
}
CONVERTED = {
    "prompt_tokens": 1750,
    "completion_tokens": 300,
    "total_tokens": 2050,
    "prompt_tokens_details": {"cached_tokens": 1000, "cache_write_tokens": 700, "cache_write_1h_tokens": 500},
    "completion_tokens_details": {"reasoning_tokens": 40},
}


@pytest.mark.parametrize(
    ("usage", "counts"),
    [
        (CHAT, TokenCounts(2006, 300, 1920, prompt_audio=10, reasoning=192, completion_audio=8)),
        (RESPONSE, TokenCounts(2006, 300, 1920, reasoning=192)),
        (MESSAGE, TokenCounts(1750, 300, 1000, 700, 500, reasoning=40)),
        (CONVERTED, TokenCounts(1750, 300, 1000, 700, 500, reasoning=40)),
        ({"prompt_tokens": 8, "total_tokens": 8}, TokenCounts(8, 0)),
        ({"input_tokens": 8, "output_tokens": 3}, TokenCounts(8, 3)),
        ({"input_tokens": 8, "output_tokens": 3, "cache_read_input_tokens": None}, TokenCounts(8, 3)),
        ({"prompt_tokens": 9, "completion_tokens": 1, "prompt_cache_hit_tokens": 8}, TokenCounts(9, 1, 8)),
        ({"prompt_tokens": 9, "completion_tokens": 1, "prompt_tokens_details": None}, TokenCounts(9, 1)),
    ],
)
def test_usage_of_each_api(usage: dict[str, Any], counts: TokenCounts) -> None:
    assert read_token_counts(usage) == counts
    assert counts.total == counts.prompt + counts.completion


def test_thoughts_beside_the_completion_are_counted_once() -> None:
    """xAI's total is prompt + completion + reasoning."""
    usage = {"prompt_tokens": 12, "completion_tokens": 1, "total_tokens": 399}
    details = {"completion_tokens_details": {"reasoning_tokens": 386}}
    assert read_token_counts({**usage, **details}) == TokenCounts(12, 387, reasoning=386)


def test_thoughts_that_only_the_total_counts() -> None:
    """Gemini's endpoint for chats."""
    usage = {"prompt_tokens": 20, "completion_tokens": 198, "total_tokens": 623}
    assert read_token_counts(usage) == TokenCounts(20, 603, reasoning=405)


def test_a_total_that_counts_a_cache_beside_the_prompt_adds_no_thoughts() -> None:
    usage = {"prompt_tokens": 20, "completion_tokens": 5, "total_tokens": 1025}
    details = {"prompt_tokens_details": {"cached_tokens": 1000}}
    assert read_token_counts({**usage, **details}) == TokenCounts(20, 5, cached=20)


@pytest.mark.parametrize(
    "usage",
    [
        None,
        {},
        {"total_tokens": 5},
        {"completion_tokens": 5},
        {"prompt_tokens": None, "completion_tokens": 5},
        {"prompt_tokens": "7"},
        {"prompt_tokens": True},
        {"prompt_tokens": -1},
        {"prompt_tokens": MOST_TOKENS + 1, "completion_tokens": 0},
        {"input_tokens": None, "cache_read_input_tokens": 5},
        {"output_tokens": 5},
    ],
)
def test_what_is_not_told_is_not_known(usage: dict[str, Any] | None) -> None:
    assert read_token_counts(usage) is None


JSON = st.one_of(st.none(), st.booleans(), st.integers(-5, 2 * MOST_TOKENS), st.text(max_size=2), st.floats())
NAMES = sorted({*CHAT, *RESPONSE, *MESSAGE, "prompt_cache_hit_tokens"})
DETAILS = ["cached_tokens", "cache_write_tokens", "cache_write_1h_tokens", "audio_tokens", "reasoning_tokens"]
PARTS = st.dictionaries(st.sampled_from([*DETAILS, "ephemeral_1h_input_tokens", "thinking_tokens"]), JSON)


@given(st.dictionaries(st.sampled_from(NAMES), JSON | PARTS))
def test_parts_are_never_more_than_the_whole(usage: dict[str, Any]) -> None:
    counts = read_token_counts(usage)
    if counts:
        parts = (counts.cached, counts.written - counts.written_1h, counts.written_1h, counts.prompt_audio)
        assert min(parts) >= 0
        assert sum(parts) <= counts.prompt <= MOST_TOKENS
        assert min(counts.reasoning, counts.completion_audio) >= 0
        assert counts.reasoning + counts.completion_audio <= counts.completion <= MOST_TOKENS
