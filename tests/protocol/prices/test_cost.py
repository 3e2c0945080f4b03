"""What requests cost: exactly, for each kind of tokens, and never less than is charged."""

from __future__ import annotations

from decimal import ROUND_CEILING, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argoproxy.protocol.prices.price import Price, TokenKind
from argoproxy.protocol.prices.price_fields import format_price, parse_price
from argoproxy.protocol.prices.price_table import MOST_NAMES, PriceTable, price_names
from argoproxy.protocol.prices.token_counts import TokenCounts

SONNET = parse_price(
    {
        "input": 3,
        "cached_input": "0.30",
        "cache_write": 3.75,
        "cache_write_1h": 6,
        "output": 15,
        "tiers": [
            {"above": 200000, "input": 6, "cached_input": 0.6, "cache_write": 7.5, "cache_write_1h": 12, "output": 22.5}
        ],
    }
)


def test_cached_tokens_price() -> None:
    """Cached tokens are billed once, at their own price: not in full, not twice, not at 0; in all three APIs."""
    table = PriceTable({"m": parse_price({"input": 2, "cached_input": 0.5, "cache_write": 2.5, "output": 8})})
    chat = {"prompt_tokens": 1000, "completion_tokens": 100, "prompt_tokens_details": {"cached_tokens": 800}}
    response = {"input_tokens": 1000, "output_tokens": 100, "input_tokens_details": {"cached_tokens": 800}}
    message = {"input_tokens": 200, "output_tokens": 100, "cache_read_input_tokens": 800}
    # 200 x 2 + 800 x 0.5 + 100 x 8 = 1600 millionths of a dollar
    assert [table.cost_of(usage, "m") for usage in (chat, response, message)] == [1_600_000] * 3
    assert table.cost_of({**message, "cache_creation_input_tokens": 1000}, "m") == 1_600_000 + 2_500_000
    without = PriceTable({"m": parse_price({"input": 2, "output": 8})})
    assert without.cost_of(chat, "m") == 2_800_000


def test_unknown_price_is_zero() -> None:
    """A model without a price costs something unknown, which is not 0."""
    table = PriceTable({"free": parse_price({"input": 0, "output": 0})}, {"known": SONNET})
    usage = {"prompt_tokens": 1000, "completion_tokens": 100}
    assert table.cost_of(usage, "unmapped") is None
    assert table.reserve_of(1000, 100, "unmapped") is None
    assert table.cost_of(usage, "free") == 0
    assert table.cost_of(None, "known") is None
    assert table.cost_of({}, "free") is None
    assert [table.charge(usage, name).unknown for name in ("unmapped", "free")] == ["model", ""]
    assert [table.charge({}, name).unknown for name in ("unmapped", "free")] == ["model", "usage"]
    assert PriceTable({"m": parse_price({"input": 1})}).charge(usage, "m").unknown == "model"


def test_tiered_price_reserve() -> None:
    """What is reserved for a prompt near a tier is at least what is charged above it."""
    table = PriceTable({"m": SONNET})
    estimated, told = 190_000, 201_000
    reserved = table.reserve_of(estimated, 1000, "m")
    charged = table.cost_of({"prompt_tokens": told, "completion_tokens": 1000}, "m")
    assert reserved is not None
    assert charged is not None
    assert reserved >= charged
    assert table.cost_of({"prompt_tokens": 200_000, "completion_tokens": 0}, "m") == 200_000 * 3000
    assert table.cost_of({"prompt_tokens": 200_001, "completion_tokens": 0}, "m") == 200_001 * 6000
    assert table.reserve_of(1000, 1000, "m") == 1000 * 6000 + 1000 * 15000


def test_a_cost_is_rounded_once_and_up() -> None:
    price = parse_price({"input": "0.000001", "output": "0.0005"})
    assert price.cost(TokenCounts(1, 0)) == 1
    assert price.cost(TokenCounts(1, 1)) == 1
    assert price.cost(TokenCounts(1000, 2)) == 2


def test_kinds_without_a_price_of_their_own() -> None:
    price = parse_price({"input": 1, "output": 2, "cache_write": 3})
    counts = TokenCounts(
        60, 30, cached=10, written=20, written_1h=10, prompt_audio=10, reasoning=10, completion_audio=10
    )
    # 20 of text, 10 cached and 10 of audio at the price of the prompt, 20 written at theirs.
    assert price.cost(counts) == 1000 * (40 * 1 + 20 * 3 + 30 * 2)
    own = parse_price({"input": 1, "output": 2, "audio_input": 10, "audio_output": 20, "reasoning": 4})
    assert own.cost(TokenCounts(20, 30, prompt_audio=10, reasoning=10, completion_audio=10)) == 1000 * 370


def test_a_price_without_output_prices_embeddings_only() -> None:
    price = parse_price({"input": "0.02"})
    assert price.cost(TokenCounts(1000, 0)) == 20_000
    assert price.cost(TokenCounts(1000, 1)) is None
    assert price.reserve(1000, 0) == 20_000
    assert price.reserve(1000, 1) is None


def test_reserved_completions_may_be_thoughts() -> None:
    price = parse_price({"input": 1, "output": 2, "reasoning": 3})
    assert price.reserve(0, 10) == 30_000


RATES = st.dictionaries(st.sampled_from(list(TokenKind)), st.integers(0, 10**12), min_size=1)
COUNTS = st.integers(0, 10**6)


@given(RATES, COUNTS, COUNTS, COUNTS, COUNTS)
def test_costs_agree_with_decimal_arithmetic(
    rates: dict[TokenKind, int], fresh: int, cached: int, text: int, thoughts: int
) -> None:
    rates = {TokenKind.INPUT: 7, TokenKind.OUTPUT: 9, **rates}
    counts = TokenCounts(fresh + cached, text + thoughts, cached, reasoning=thoughts)
    kinds = (
        (fresh, rates[TokenKind.INPUT]),
        (cached, rates.get(TokenKind.CACHED_INPUT, rates[TokenKind.INPUT])),
        (text, rates[TokenKind.OUTPUT]),
        (thoughts, rates.get(TokenKind.REASONING, rates[TokenKind.OUTPUT])),
    )
    exact = sum((Decimal(count) * rate / 10**6 for count, rate in kinds), Decimal())
    assert Price(rates).cost(counts) == int(exact.to_integral_value(ROUND_CEILING))


@given(COUNTS, COUNTS, COUNTS, COUNTS)
def test_a_true_estimate_reserves_at_least_what_is_charged(fresh: int, cached: int, written: int, output: int) -> None:
    counts = TokenCounts(fresh + cached + written, output, cached, written, written_1h=written // 2)
    reserved, charged = SONNET.reserve(counts.prompt, output), SONNET.cost(counts)
    assert reserved is not None
    assert charged is not None
    assert reserved >= charged


def price(value: int) -> Price:
    return parse_price({"input": value})


def test_which_price_counts() -> None:
    """Names before patterns, the operator's before those that are known, the upstream's before the client's."""
    own = {"gpt-*": price(1), "gpt-4o": price(2), "*-4o": price(3), "vllm/*": price(4), "alias": price(5)}
    table = PriceTable(own, {"gpt-4o": price(6), "o3": price(7), "o4-*": price(8)})
    assert table.price_of("gpt-4o") == price(2)
    assert table.price_of("gpt-5") == price(1)
    assert table.price_of("x-4o") == price(3)
    assert table.price_of(price_names("vllm", "qwen")) == price(4)
    assert table.price_of(price_names("openai", "gpt-4o")) == price(2)
    assert table.price_of(price_names("any", "qwen", "alias")) == price(5)
    assert table.price_of(price_names("any", "o3", "mine")) == price(7)
    assert table.price_of("o4-mini") == price(8)
    assert table.price_of("GPT-5") is None


def test_names_that_clients_invent_leave_prices_as_they_are() -> None:
    table = PriceTable({"m": price(1)})
    for number in range(3 * MOST_NAMES):
        assert table.price_of(f"invented-{number}") is None
    assert table.price_of("m") is table.price_of(("m",))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (5, "must be a mapping"),
        ({}, "needs `input`"),
        ({"input": None, "output": 3}, "needs `input`"),
        ({"input": -1}, "^input must be an amount"),
        ({"input": 1, "ouput": 2}, "holds 'ouput', which is none of input, "),
        ({"input": 1, "tiers": {}}, "tiers must be a list"),
        ({"input": 1, "tiers": [5]}, r"tiers\[0\] must be a mapping"),
        ({"input": 1, "tiers": [{"input": 2}]}, r"tiers\[0\] needs `above`"),
        ({"input": 1, "tiers": [{"above": 9}]}, r"tiers\[0\] needs `above`"),
        ({"input": 1, "tiers": [{"above": 0, "input": 2}]}, r"tiers\[0\] above must be a number of tokens"),
        ({"input": 1, "tiers": [{"above": 9, "input": 2}, {"above": 9, "input": 3}]}, "must rise"),
        ({"input": 1, "max_output": True}, "max_output must be a number of tokens"),
        ({"input": 1, "max_output": 1.5}, "max_output must be a number of tokens"),
    ],
)
def test_mistakes_in_a_price_are_named(value: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_price(value)


def test_a_tier_changes_only_what_it_names() -> None:
    parsed = parse_price({"input": 1, "output": 2, "max_output": 4096, "tiers": [{"above": 10, "input": 3}]})
    assert parsed.max_output == 4096
    assert parsed.tiers[0].rates == {TokenKind.INPUT: 3 * 10**9, TokenKind.OUTPUT: 2 * 10**9}


def test_a_price_is_written_as_it_is_read() -> None:
    written = {"input": "3", "cached_input": "0.3", "output": "15.000000001", "max_output": 100}
    assert format_price(parse_price(written)) == written
    assert parse_price(format_price(SONNET)) == SONNET


def test_another_tier_of_service_has_another_price() -> None:
    """The tier is that of the answer; one that the price does not name costs as usual."""
    written = {
        "input": "2",
        "output": "8",
        "max_output": 9,
        "tiers": [{"above": 1000, "input": "4", "output": "8"}],
        "service_tiers": {
            "flex": {"input": "1", "output": "4"},
            "priority": {"input": "3", "output": "8", "tiers": [{"above": 1000, "input": "7", "output": "8"}]},
        },
    }
    table = PriceTable({"m": parse_price(written)})
    usage = {"prompt_tokens": 2000, "completion_tokens": 0}
    costs = {tier: table.cost_of({**usage, "service_tier": tier}, "m") for tier in ("flex", "priority", "auto", None)}
    assert costs == {"flex": 2_000_000, "priority": 14_000_000, "auto": 8_000_000, None: 8_000_000}
    assert format_price(parse_price(written)) == written
    flex = parse_price(written).for_service("flex")
    assert (flex.max_output, flex.reserve(10, 10)) == (9, 50_000)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "service_tiers must be a mapping"),
        ({"flex": 5}, "service_tiers.flex must be a mapping"),
        ({"flex": {"input": "x"}}, "service_tiers.flex input must be an amount"),
        ({"flex": {"max_output": 5}}, "service_tiers.flex holds 'max_output'"),
    ],
)
def test_mistakes_in_a_tier_of_service_are_named(value: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_price({"input": 1, "service_tiers": value})
