"""Files that belong to the package: the sample of a config file, a dashboard for Grafana, prices of
models.

They are read as resources of the package, so they are found wherever it is installed.
"""

from __future__ import annotations

SAMPLE_CONFIG = "config.sample.yaml"
DASHBOARD = "grafana.json"
#: Made by release/build_prices.py, with the licence of the data in it.
PRICES = "prices.json"


def read_data(name: str) -> str:
    """Return the text of one of the files. Raises FileNotFoundError for any other name."""
    from importlib.resources import files  # noqa: PLC0415 a proxy that starts reads none of them

    return (files(__name__) / name).read_text("utf-8")
