"""Settings for tests of the configuration, from variables, layers or a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from argoproxy.config.config import Config, build, load
from argoproxy.config.values.config_error import ConfigError
from argoproxy.config.values.layers import Layer
from argoproxy.protocol.routing.rules import Rule

NOWHERE = Path("/nonexistent")


def config(**environ: str) -> Config:
    """Return the settings of these environment variables, without a file."""
    return load(environ, NOWHERE)


def layered(*layers: dict[str, Any]) -> Config:
    """Return the settings of these layers, the strongest first."""
    return build([Layer(f"layer {place}", values) for place, values in enumerate(layers)], {})


def find_mistakes(**environ: str) -> list[str]:
    """Return the mistakes that loading these variables reports."""
    with pytest.raises(ConfigError) as caught:
        config(**environ)
    return list(caught.value.mistakes)


def write_config(folder: Path, text: str, name: str = "config.yaml") -> Path:
    """Write a config file, and return its folder."""
    (folder / name).write_text(text)
    return folder


def load_text(folder: Path, text: str, **environ: str) -> Config:
    """Return the settings of a config file with this text."""
    (folder / "config.yaml").write_text(text)
    return load(environ, folder)


def find_mistakes_in(folder: Path, text: str, **environ: str) -> list[str]:
    """Return the mistakes that loading such a file reports."""
    with pytest.raises(ConfigError) as caught:
        load_text(folder, text, **environ)
    return list(caught.value.mistakes)


def rules(config: Config) -> dict[str, Rule]:
    """Return the rules of the section `models:` by name."""
    return {rule.name: rule for book in config.rules.sets for rule in book.rules if book.source == "models"}
