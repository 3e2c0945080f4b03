"""Prices: the section `prices:` of the config file, and the table of known ones."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache

from argoproxy.config.values.config_values import ConfigValues
from argoproxy.config.values.section import Section
from argoproxy.data import PRICES, read_data
from argoproxy.protocol.prices.price import Price
from argoproxy.protocol.prices.price_fields import parse_price
from argoproxy.protocol.prices.price_table import PriceTable


def read_prices_section(values: ConfigValues) -> PriceTable | None:
    """Return the prices of models, None if nothing needs them: costs are calculated where prices are set, where clients
    see them, and where requests are written down. Mistakes are added to those of the values."""
    own: dict[str, Price] = {}
    for section in Section.of(values, "prices").members():
        content = section.expand_all()
        try:
            own[section.name] = parse_price(content)
        except ValueError as error:
            if not section.is_faulty:
                section.mistake(str(error))
    if values["prices"] is None and not (values["usage_cost"] or values["state_path"]):
        return None
    return PriceTable(own, known_prices())


@lru_cache(maxsize=1)
def known_prices() -> Mapping[str, Price]:
    """Return the table of the package: names and patterns, with and without their maker's (`openai/gpt-4o`)."""
    prices: dict[str, Price] = {}
    for entry in json.loads(read_data(PRICES))["prices"]:
        price = parse_price({key: value for key, value in entry.items() if key not in ("maker", "names")})
        for name in entry["names"]:
            prices.setdefault(name, price)
            prices.setdefault(f"{entry['maker']}/{name}", price)
    return prices
