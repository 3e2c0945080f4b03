"""Where settings come from: layers, the strongest first: flags, environment, `.env`, the config file.

The master publishes its layers as a snapshot for its workers, so that a worker that starts later has the same settings
as the others, whatever the config file holds by then. Only its owner can read that file: it holds keys.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import yaml
from dotenv import dotenv_values

from argoproxy.config.values.config_error import ConfigError
from argoproxy.config.values.flags import FLAGS_VARIABLE
from argoproxy.config.values.settings import BY_ENVIRONMENT

DEFAULT_FILE = "config.yaml"
#: Names the snapshot in the environment of the workers.
SNAPSHOT_VARIABLE = "ARGOPROXY_SNAPSHOT"

#: A variable in a value: `${NAME}`, `${NAME:-text}`, or escaped, `$${NAME}`: (escape, name, text).
VARIABLE = re.compile(r"(\$?)\$\{(\w+)(?::-([^}]*))?\}")


@dataclass(frozen=True, slots=True)
class Layer:
    """Settings from one source: values by key or by environment variable, their lines in the file (a nested one by its
    path, `upstreams/vllm/kind`), and the variables that values use as `${NAME}`."""

    name: str
    values: Mapping[str, Any]
    lines: Mapping[str, int] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict, repr=False)

    def place_of(self, name: str) -> str:
        """Return where a value stands, for messages: `config.yaml, line 3`."""
        return f"{self.name}, line {self.lines[name]}" if name in self.lines else self.name


class _Loader(yaml.SafeLoader):
    """Reads keys as they are written: `1.10`, `yes` and `2024-06-01` are names of models, not a number, a boolean or a
    date."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002
        self.flatten_mapping(node)
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                key.tag = yaml.resolver.BaseResolver.DEFAULT_SCALAR_TAG
        return super().construct_mapping(node, deep)


def read_layers(environ: Mapping[str, str], folder: Path) -> list[Layer]:
    """Read all sources, the strongest first. Raises ConfigError."""
    flags = set(environ.get(FLAGS_VARIABLE, "").split(","))
    values = {name: value for name, value in environ.items() if name in BY_ENVIRONMENT and value.strip()}
    dotenv = _read_dotenv(folder)
    return [
        Layer("flag", {name: value for name, value in values.items() if name in flags}),
        Layer("environment", {name: value for name, value in values.items() if name not in flags}),
        *_dotenv_layers(dotenv),
        *_file_layers(environ.get("CONFIG_PATH", ""), folder, {**dotenv, **environ}),
    ]


def publish_snapshot(layers: Sequence[Layer], path: Path) -> None:
    """Write layers where workers read them, at once: by renaming a complete file."""
    beside = path.with_suffix(".new")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "w", encoding="utf-8") as file:
        json.dump([asdict(layer) for layer in layers], file, default=str)
    beside.replace(path)


def read_snapshot(path: Path) -> list[Layer]:
    """Read the layers that were published last."""
    return [Layer(**layer) for layer in json.loads(path.read_text("utf-8"))]


def config_file(name: str, folder: Path) -> Path:
    """Return the path of the config file, which need not exist; `name` is "" for the default one."""
    return folder / (name or DEFAULT_FILE)


def _read_dotenv(folder: Path) -> Mapping[str, str]:
    """Read `.env`; {} if there is none. Raises ConfigError."""
    path = folder / ".env"
    if not path.is_file():
        return {}
    try:
        values = dotenv_values(path, encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([f".env cannot be read: {error.__class__.__name__}"]) from None
    return {name: value for name, value in values.items() if value and value.strip()}


def _dotenv_layers(values: Mapping[str, str]) -> list[Layer]:
    """Return a layer of the settings in `.env`, none if it has none."""
    settings = {name: value for name, value in values.items() if name in BY_ENVIRONMENT}
    return [Layer(".env", settings)] if settings else []


def _file_layers(name: str, folder: Path, variables: Mapping[str, str]) -> list[Layer]:
    """Read the config file as a layer; none if there is no file. Raises ConfigError."""
    path = config_file(name, folder)
    if not path.is_file():
        if name:
            raise ConfigError([f"the config file {name!r} does not exist"])
        return []
    node, values = _parse_yaml(path)
    if values is None:
        return []
    if not isinstance(values, dict) or not isinstance(node, yaml.MappingNode):
        raise ConfigError([f"{path.name} must hold lines of the form `key: value`"])
    try:
        lines = dict(_lines(node, path.name, ""))
        used = {name for _, name, _ in VARIABLE.findall(json.dumps(values, default=str))}
    except (ValueError, RecursionError):
        raise ConfigError([f"{path.name} holds an anchor that contains itself"]) from None
    return [Layer(path.name, values, lines, {name: variables[name] for name in used if name in variables})]


def _lines(node: yaml.MappingNode, file: str, above: str) -> Iterator[tuple[str, int]]:
    """Yield the line of each key, nested ones by their path. Raises ConfigError for a key that stands there twice."""
    seen: dict[str, int] = {}
    for key, value in node.value:
        name, line = str(key.value), key.start_mark.line + 1
        if name in seen:
            raise ConfigError([f"{file}, line {line}: {above}{name} is already set in line {seen[name]}"])
        seen[name] = line
        yield above + name, line
        if isinstance(value, yaml.MappingNode):
            yield from _lines(value, file, f"{above}{name}/")


def _parse_yaml(path: Path) -> tuple[Any, Any]:
    """Parse a YAML file to (nodes, values). Raises ConfigError; PyYAML lets some of Python's own errors through."""
    try:
        source = path.read_text(encoding="utf-8")
        return yaml.compose(source), yaml.load(source, _Loader)  # noqa: S506 a SafeLoader
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([f"{path.name} cannot be read: {error.__class__.__name__}"]) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f", line {mark.line + 1}" if mark else ""
        raise ConfigError([f"{path.name}{where}: not valid YAML: {error.problem}"]) from None
    except yaml.YAMLError:
        raise ConfigError([f"{path.name} is not valid YAML"]) from None
    except (ValueError, LookupError, AttributeError, TypeError, RecursionError):
        raise ConfigError([f"{path.name} holds a value that YAML cannot read"]) from None
