"""Where settings come from: layers, each a plain mapping, the strongest first.

What a stronger layer says hides what a weaker one does. All mistakes are collected, each with its place.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from dotenv import dotenv_values

from argoproxy.config.values.config_error import ConfigError
from argoproxy.config.values.parsers import base_url, plain_url, suggestion
from argoproxy.config.values.settings import IGNORED, SETTINGS, Setting
from argoproxy.protocol.access.secrets import is_secret_name

DEFAULT_FILE = "config.yaml"
STARS = "****"

_CREDENTIALS = re.compile(r"//[^/\s]*@")
_IN_A_QUERY = re.compile(r"([?&]([^=&\s]+)=)[^&#\s]+")
_VARIABLE = re.compile(r"\$\{(\w+)(?::-[^}]*)?\}")

#: Readers of URLs: an empty text stands for none, as argo-proxy writes it.
_URLS = (base_url, plain_url)

BY_KEY = {setting.key: setting for setting in SETTINGS}
BY_ENVIRONMENT = {setting.environment: setting for setting in SETTINGS if setting.environment}


@dataclass(frozen=True, slots=True)
class Layer:
    """Settings from one place: values by key or by name in the environment, the lines they stand in (of a nested one
    by its path, `upstreams/vllm/kind`), and the variables that values name as `${NAME}`."""

    name: str
    values: Mapping[str, Any]
    lines: Mapping[str, int] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict, repr=False)

    def place_of(self, name: str) -> str:
        """Tell where a value stands."""
        return f"{self.name}, line {self.lines[name]}" if name in self.lines else self.name


class _Loader(yaml.SafeLoader):
    """Takes names as they are written: `1.10`, `yes` and `2024-06-01` are names of models, not numbers, truths or
    dates."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002
        self.flatten_mapping(node)
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                key.tag = yaml.resolver.BaseResolver.DEFAULT_SCALAR_TAG
        return super().construct_mapping(node, deep)


class Given:
    """What the layers say; mistakes and warnings are collected."""

    def __init__(self, layers: Sequence[Layer]) -> None:
        self.mistakes: list[str] = []
        self.warnings: list[str] = []
        self._layers = layers
        self._values: dict[str, tuple[Any, int]] = {}
        self._places: dict[str, str] = {}
        for strength, layer in enumerate(layers):
            for name, value in layer.values.items():
                self._read(strength, layer, name, value)

    def __getitem__(self, key: str) -> Any:
        return self._values[key][0] if key in self._values else BY_KEY[key].default

    def is_set(self, key: str) -> bool:
        """Whether a layer sets a key, whatever its value."""
        return key in self._values

    def origin(self, key: str) -> str:
        """Return a key and the place that sets it, as `timeout (config.yaml, line 3)`."""
        return f"{key} ({self._places.get(key, 'default')})"

    def says(self, key: str) -> bool:
        """Whether a layer says a key, and something by it."""
        return bool(key in self._values and self._values[key][0])

    def strength(self, key: str) -> int:
        """Give the place of the layer that says a key; one more than there are when none does."""
        return self._values[key][1] if key in self._values else len(self._layers)

    def stronger(self, key: str, general: str) -> str:
        """Give the key that counts where one says in particular what another says in general."""
        return key if key in self._values and self.strength(key) <= self.strength(general) else general

    def named(self, key: str) -> str:
        """Name a key by its environment variable, and the layer that says it."""
        return f"{BY_KEY[key].environment or key} ({self._layers[self.strength(key)].name})"

    def layer_of(self, key: str) -> Layer:
        """Give the layer that says a key; an empty one when none does."""
        return self._layers[self.strength(key)] if key in self._values else Layer("default", {})

    def shown(self, derived: Iterable[tuple[str, object, str]] = ()) -> Iterator[str]:
        """Yield a line for each setting: its value, secrets starred, and where it comes from. `derived` holds values
        that follow from other settings, each with its origin."""
        others = {key: (value, origin) for key, value, origin in derived}
        for setting in SETTINGS:
            plain = self[setting.key], self._places.get(setting.key, "default")
            value, origin = others.get(setting.key, plain)
            yield f"{setting.key}: {_shown(setting, value)}  # {origin}"

    def _read(self, strength: int, layer: Layer, name: str, value: Any) -> None:
        place = layer.place_of(name)
        if name in IGNORED:
            self.warnings.append(f"{place}: {name} does nothing here: {IGNORED[name]}")
            return
        setting = BY_KEY.get(name) or BY_ENVIRONMENT.get(name)
        if setting is None:
            self.mistakes.append(f'{place}: unknown key "{name}"{suggestion(name, list(BY_KEY))}')
            return
        if value is None or (setting.read in _URLS and str(value).strip() == ""):
            return
        try:
            read = setting.read(value)
        except ValueError as error:
            shown = "" if setting.is_secret else f" {without_credentials(str(value))[:80]!r}"
            self.mistakes.append(f"{place}: {name}{shown} {error}")
            return
        self._values.setdefault(setting.key, (read, strength))
        self._places.setdefault(setting.key, place)


def without_credentials(text: str) -> str:
    """Star out what stands before the host of a URL, and keys in its query."""
    return _IN_A_QUERY.sub(_without_value, _CREDENTIALS.sub(f"//{STARS}@", text))


def _without_value(found: re.Match[str]) -> str:
    return f"{found[1]}{STARS}" if is_secret_name(found[2]) else found[0]


def config_file(named: str, folder: Path) -> Path:
    """Tell where the config file is, or would be."""
    return folder / (named or DEFAULT_FILE)


def dotenv_of(folder: Path) -> Mapping[str, str]:
    """Read `.env`; nothing where there is no such file. Raises ConfigError."""
    path = folder / ".env"
    if not path.is_file():
        return {}
    try:
        found = dotenv_values(path, encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([f".env can't be read: {error.__class__.__name__}"]) from None
    return {name: value for name, value in found.items() if value and value.strip()}


def dotenv_layers(found: Mapping[str, str]) -> list[Layer]:
    """Give a layer of what is ours in `.env`, none where there is nothing."""
    ours = {name: value for name, value in found.items() if name in BY_ENVIRONMENT}
    return [Layer(".env", ours)] if ours else []


def file_layers(named: str, folder: Path, variables: Mapping[str, str]) -> list[Layer]:
    """Read the config file: one layer, none where there is no file. Raises ConfigError."""
    path = config_file(named, folder)
    if not path.is_file():
        if named:
            raise ConfigError([f"the config file {named!r} does not exist"])
        return []
    node, values = _parsed(path)
    if values is None:
        return []
    if not isinstance(values, dict) or not isinstance(node, yaml.MappingNode):
        raise ConfigError([f"{path.name} must hold `key: value` lines"])
    try:
        lines = dict(_lines(node, path.name, ""))
        named_ones = set(_VARIABLE.findall(json.dumps(values, default=str)))
    except (ValueError, RecursionError):
        raise ConfigError([f"{path.name} holds an anchor that holds itself"]) from None
    return [Layer(path.name, values, lines, {name: variables[name] for name in named_ones if name in variables})]


def _lines(node: yaml.MappingNode, file: str, above: str) -> Iterator[tuple[str, int]]:
    """Give the line of each key, nested ones by their path. Raises ConfigError for one that stands there twice."""
    seen: dict[str, int] = {}
    for key, value in node.value:
        name, line = str(key.value), key.start_mark.line + 1
        if name in seen:
            raise ConfigError([f"{file}, line {line}: {above}{name} stands in line {seen[name]} already"])
        seen[name] = line
        yield above + name, line
        if isinstance(value, yaml.MappingNode):
            yield from _lines(value, file, f"{above}{name}/")


def _parsed(path: Path) -> tuple[Any, Any]:
    """Give a YAML file as nodes and as values. Raises ConfigError; PyYAML lets some failures of Python's through."""
    try:
        source = path.read_text(encoding="utf-8")
        return yaml.compose(source), yaml.load(source, _Loader)  # noqa: S506 a SafeLoader
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([f"{path.name} can't be read: {error.__class__.__name__}"]) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f", line {mark.line + 1}" if mark else ""
        raise ConfigError([f"{path.name}{where}: no YAML: {error.problem}"]) from None
    except yaml.YAMLError:
        raise ConfigError([f"{path.name} is no YAML"]) from None
    except (ValueError, LookupError, AttributeError, TypeError, RecursionError):
        raise ConfigError([f"{path.name} holds a value that YAML can't read"]) from None


def _shown(setting: Setting, value: Any) -> str:
    if value is None:
        return ""
    if setting.is_secret:
        return STARS
    return json.dumps(_starred(value), ensure_ascii=False, default=str)


def _starred(value: Any) -> Any:
    """Star what is secret in a value, and in what it holds: but for what only names a variable."""
    if isinstance(value, dict):
        return {key: _starred_under(str(key), part) for key, part in value.items()}
    if isinstance(value, list):
        return [_starred(part) for part in value]
    return without_credentials(value) if isinstance(value, str) else value


def _starred_under(key: str, value: Any) -> Any:
    if key == "options" and isinstance(value, dict):
        return {name: _hidden(part) if is_secret_name(str(name)) else _starred(part) for name, part in value.items()}
    is_secret = is_secret_name(key) and not isinstance(value, dict)
    return _hidden(value) if is_secret else _starred(value)


def secrets_in(options: Mapping[str, Any]) -> Iterator[str]:
    """Give the texts that stand under names of secrets among the options of a class."""
    for name, value in options.items():
        if is_secret_name(str(name)):
            yield from _texts(value)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _texts(part)


def _hidden(value: Any) -> Any:
    """Star all texts in a value, but for those that only name a variable."""
    if isinstance(value, dict):
        return {key: _hidden(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_hidden(part) for part in value]
    return STARS if isinstance(value, str) and not _VARIABLE.fullmatch(value.strip()) else value
