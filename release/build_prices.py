"""Write the table of known prices, argoproxy/data/prices.json, from the data of genai-prices (MIT).

`python release/build_prices.py > argoproxy/data/prices.json`, in an environment of its own that has genai-prices. Taken
are the prices in force today of models that are bought from their makers under names that nobody gives to a model of
their own; models whose price depends on more than tokens are left out.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import re
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime
from types import SimpleNamespace
from typing import Any

#: Which models of a maker, by the beginning of their names.
MAKERS = {
    "openai": r"(gpt-3\.5-turbo$|gpt-4(\.1|o|-turbo)|gpt-[56]|o1|o3|o4|text-embedding-)",
    "anthropic": r"claude-(3-[57]|[a-z]{4})",
    "google": r"gemini-([23456]|embedding)",
    "x-ai": r"grok-[4-9]",
    "mistral": r"(mistral-(large|medium|small)|codestral|magistral-medium|mistral-embed)",
    "deepseek": r"deepseek-(chat|reasoner|flash)$",
    "cohere": r"(command-a|command-r|embed)",
}
#: Models that are no chats, or whose names are those of models that people run themselves.
LEFT_OUT = re.compile(
    r".*(image|audio|realtime|tts|transcribe|search|cyber|research|robotics|instruct|:|deepseek-(r1|chat.))"
)
#: Kinds of tokens by their names in genai-prices.
KINDS = {
    "input_mtok": "input",
    "cache_read_mtok": "cached_input",
    "cache_write_mtok": "cache_write",
    "cache_write_1h_mtok": "cache_write_1h",
    "input_audio_mtok": "audio_input",
    "output_mtok": "output",
    "output_reasoning_mtok": "reasoning",
    "output_audio_mtok": "audio_output",
}
#: Prices of what a client must ask for by name, and of what no usage tells.
IGNORED = {"web_searches_kcount", "storage_searches_kcount", "cache_audio_read_mtok", "input_image_mtok"}


def main() -> None:
    """Print the table."""
    providers = importlib.import_module("genai_prices.data").providers
    today = datetime.now(UTC).date()
    entries = [
        {"maker": provider.id, "names": names, **prices}
        for provider in providers
        for model in provider.models
        if re.match(MAKERS.get(provider.id, r"(?!)"), model.id) and not LEFT_OUT.match(model.id)
        if (prices := prices_on(model, today)) and (names := names_of(model.match))
    ]
    about = {
        "source": f"genai-prices {importlib.metadata.version('genai-prices')}, github.com/pydantic/genai-prices",
        "date": today.isoformat(),
        "currency": "USD, per million tokens",
        "license": license_text(),
    }
    lines = ",\n".join(f"  {json.dumps(entry)}" for entry in entries)
    sys.stdout.write(f'{{"about": {json.dumps(about)},\n "prices": [\n{lines}\n ]}}\n')


def prices_on(model: Any, today: date) -> dict[str, Any]:
    """Return the prices of a model on a day, {} if a part of them can't be told by tokens. Of prices that depend on the
    time of the day, the dearest are taken."""
    prices = model.prices
    choices = [choice for choice in prices if is_in_force(choice.constraint, today)] if isinstance(prices, list) else []
    dated = [choice for choice in choices if hasattr(choice.constraint, "start_date")]
    timed = [choice for choice in choices if hasattr(choice.constraint, "start_time")]
    possible = timed or dated[-1:] or choices[-1:]
    found = [choice.prices for choice in possible] if isinstance(prices, list) else [prices]
    dearest = max(found, key=lambda one: float(convert(one).get("input", 0)))
    usual = convert(dearest)
    services = services_on(model, dearest, today) if usual else {}
    return {**usual, **({"service_tiers": services} if services else {})}


def services_on(model: Any, usual: Any, today: date) -> dict[str, Any]:
    """Return the prices of other tiers of service: what differs, and tiers by the length of prompts."""
    services = {}
    for variant in model.price_variants or ():
        name = variant.when.get("service_tier")
        if name and len(variant.when) == 1 and is_in_force(variant.constraint, today):
            own = {**vars(usual), **{key: value for key, value in vars(variant.prices).items() if value is not None}}
            before, after = convert(usual), convert(SimpleNamespace(**own))
            services[name] = {key: value for key, value in after.items() if key == "tiers" or value != before.get(key)}
    return {name: prices for name, prices in services.items() if prices.keys() - {"tiers"}}


def is_in_force(constraint: Any, today: date) -> bool:
    """Return whether a condition can hold on a day."""
    return not hasattr(constraint, "start_date") or constraint.start_date <= today


def convert(prices: Any) -> dict[str, Any]:
    """Return prices in the terms of the setting `prices`, {} if a part of them has none."""
    given = {key: value for key, value in vars(prices).items() if value is not None and key not in IGNORED}
    if "input_mtok" not in given or not given.keys() <= KINDS.keys():
        return {}
    base = {name: str(getattr(given[key], "base", given[key])) for key, name in KINDS.items() if key in given}
    tiers: dict[int, dict[str, Any]] = {}
    for key, name in KINDS.items():
        for tier in getattr(given.get(key), "tiers", ()):
            tiers.setdefault(tier.start, {"above": tier.start})[name] = str(tier.price)
    return {**base, **({"tiers": [tiers[start] for start in sorted(tiers)]} if tiers else {})}


def names_of(clause: Any) -> list[str]:
    """Return the names and patterns of a model."""
    return sorted({name for name in patterns_of(clause) if not LEFT_OUT.match(name)})


def patterns_of(clause: Any) -> Iterator[str]:
    """Yield the names and patterns that a clause accepts, without those of resellers (`maker/name`)."""
    kind, text = type(clause).__name__, next(iter(vars(clause).values()))
    if kind == "ClauseOr":
        for member in text:
            yield from patterns_of(member)
    elif kind == "ClauseAnd":
        # A beginning without what a second clause excludes, which is another kind of output.
        start = text[0].starts_with
        yield from (f"{start}{ending}" for ending in ("", "-latest", "-preview", "-[0-9]*", "-preview-[0-9]*"))
    elif "/" not in text and (pattern := pattern_of(kind, text)):
        yield pattern


def pattern_of(kind: str, text: str) -> str:
    """Return the pattern of one clause, "" if it can't be told by one."""
    if kind in ("ClauseEquals", "ClauseEndsWith"):
        return text
    if kind in ("ClauseStartsWith", "ClauseContains"):
        return f"{text}*"
    pattern = text.replace(r"\d{8}", "20??????").replace(r"\d{4}-\d{2}-\d{2}", "20??-??-??")
    pattern = pattern.replace(r"\d", "[0-9]").replace("\\.", ".")
    pattern = pattern[1:-1] if pattern.endswith("$") else f"{pattern[1:]}*"
    return pattern if re.fullmatch(r"[\w.*?@-]*(\[(0-9|-@)\][\w.*?@-]*)*", pattern) else ""


def license_text() -> str:
    """Return the licence of the data."""
    files = importlib.metadata.files("genai-prices") or []
    return next(file.read_text() for file in files if file.name == "LICENSE")


if __name__ == "__main__":
    main()
