"""Settings as the master has validated them, published for its workers by renaming a file.

A worker that was started later, or replaced, takes the same settings as all others, whatever the config file says by
then. The file is readable by its owner alone: keys stand in it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

from argoproxy.config.values.layers import Layer

#: Names the file in the environment of the workers.
VARIABLE = "ARGOPROXY_SNAPSHOT"


def publish(layers: Sequence[Layer], path: Path) -> None:
    """Put layers where workers find them, all at once."""
    told = [
        {
            "name": layer.name,
            "values": dict(layer.values),
            "lines": dict(layer.lines),
            "variables": dict(layer.variables),
        }
        for layer in layers
    ]
    beside = path.with_suffix(".new")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "w", encoding="utf-8") as file:
        json.dump(told, file, default=str)
    beside.replace(path)


def published(path: Path) -> list[Layer]:
    """Give the layers that were published last."""
    return [Layer(**told) for told in json.loads(path.read_text("utf-8"))]
