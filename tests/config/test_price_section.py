"""The section `prices:`, and the table of known prices."""

from __future__ import annotations

import json
from pathlib import Path

from argoproxy.cli.explain import explain_model
from argoproxy.config.price_section import known_prices
from argoproxy.data import PRICES, read_data
from argoproxy.protocol.prices.price_fields import FIELDS
from argoproxy.protocol.prices.price_table import PriceTable, price_names
from argoproxy.protocol.prices.token_counts import TokenCounts
from tests.support.configs import find_mistakes_in, load_text

BASE = "target_base_url: http://localhost:8000/v1\n"
SECTION = """prices:
  gpt-4o: {input: 2, cached_input: 0.10, output: "${OUTPUT}"}
  "vllm/*": {input: 0, output: 0}
  long:
    input: 1
    output: 2
    max_output: 8192
    tiers:
      - {above: 200000, input: 1.5}
"""


def table_of(folder: Path, text: str, **environ: str) -> PriceTable:
    table = load_text(folder, BASE + text, **environ).prices
    assert table is not None
    return table


def test_prices_of_the_file_come_before_known_ones(tmp_path: Path) -> None:
    table = table_of(tmp_path, SECTION, OUTPUT="7.5")
    usage = {"prompt_tokens": 30, "completion_tokens": 10, "prompt_tokens_details": {"cached_tokens": 10}}
    assert table.cost_of(usage, "gpt-4o") == 20 * 2000 + 10 * 100 + 10 * 7500
    assert table.cost_of(usage, price_names("vllm", "llama")) == 0
    long = table.price_of("long")
    assert long is not None
    assert (long.max_output, long.cost(TokenCounts(200_001, 0))) == (8192, 200_001 * 1500)
    assert table.price_of("o3") == known_prices()["o3"]


def test_nothing_is_priced_unless_something_needs_it(tmp_path: Path) -> None:
    assert load_text(tmp_path, BASE).prices is None
    assert table_of(tmp_path, "state_path: state\n").price_of("gpt-4o")
    assert table_of(tmp_path, "prices: {x: {input: 1}}\n").price_of("gpt-4o")
    assert table_of(tmp_path, "usage_cost: true\n").price_of("gpt-4o")


def test_mistakes_are_named_with_their_line(tmp_path: Path) -> None:
    mistakes = find_mistakes_in(
        tmp_path,
        BASE + "prices:\n"
        "  a: {output: 2}\n"
        "  b: {input: 1.0000000001}\n"
        "  c: {input: 1, tiers: [{above: 5}]}\n"
        "  d: {input: -1}\n"
        "  e: 5\n"
        "  f: {input: '${NOT_SET}'}\n"
        "  g: {input: 1, outptu: 2}\n"
        "  h:\n",
    )
    texts = [mistake.removeprefix("config.yaml, line ") for mistake in mistakes]
    assert texts == [
        "3: prices.a needs `input`, the price of a million tokens of the prompt",
        "4: prices.b input must have at most 9 decimal places",
        "5: prices.c tiers[0] needs `above`, a number of tokens, and the prices that differ",
        "6: prices.d input must be an amount that is not negative, such as 2.50",
        "7: prices.e must be a mapping",
        "8: prices.f.input '${NOT_SET}' uses ${NOT_SET}, which is set neither in the environment nor in .env",
        f"9: prices.g holds 'outptu', which is none of {', '.join(FIELDS)}",
        "10: prices.h needs `input`, the price of a million tokens of the prompt",
    ]


def test_the_table_tells_its_source_and_licence() -> None:
    about = json.loads(read_data(PRICES))["about"]
    assert "genai-prices" in about["source"]
    assert "Permission is hereby granted" in about["license"]
    assert len(about["date"]) == len("2026-11-23")


def test_known_prices() -> None:
    table = PriceTable({}, known_prices())
    thousand = TokenCounts(1000, 1000)
    for name, cost in (("gpt-4o", 12_500_000), ("openai/gpt-4o-2024-11-20", 12_500_000), ("gpt-4.1-mini", 2_000_000)):
        price = table.price_of(name)
        assert price is not None
        assert price.cost(thousand) == cost
    assert table.price_of("claude-sonnet-4-5-20250929") == table.price_of("anthropic/claude-sonnet-4.5")
    embeddings = table.price_of("text-embedding-3-small")
    assert embeddings is not None
    assert embeddings.cost(TokenCounts(1000, 0)) == 20_000


def test_models_that_people_run_themselves_are_not_known() -> None:
    table = PriceTable({}, known_prices())
    for name in ("llama-3.3-70b", "qwen3", "deepseek-r1", "gpt-oss-120b", "gemma-3", "mistral-7b-instruct", "default"):
        assert table.price_of(name) is None


def test_the_price_of_a_model_is_explained(tmp_path: Path) -> None:
    config = load_text(tmp_path, BASE + SECTION, OUTPUT="7.5")
    price = '{"input": "2", "cached_input": "0.1", "output": "7.5"}'
    assert f"  price: {price}" in list(explain_model(config, "gpt-4o"))
    assert '  price: "unknown"' in list(explain_model(config, "mine"))
    assert not [line for line in explain_model(load_text(tmp_path, BASE), "gpt-4o") if "price" in line]
