"""The settings of a process: one frozen Config, built once from layers, each a plain mapping.

Flags win over environment, environment over the file, the file over defaults. All mistakes are collected and shown
together. `build` is pure; `load` reads the file and tells flags from environment: flags travel as environment
variables whose names FLAGS_VARIABLE lists, because Gunicorn's workers need one loader.
"""

from __future__ import annotations

import math
import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import yaml

from argoproxy.errors import ConfigError
from argoproxy.protocol.llm_params import parse_llm_params
from argoproxy.protocol.models import Rule
from argoproxy.protocol.secrets import Secret
from argoproxy.protocol.tagged_text import TagPair
from argoproxy.protocol.timeouts import Timeouts
from argoproxy.settings import DEFAULT_TARGET, SETTINGS, suggestion
from argoproxy.upstreams.base_url import BaseUrl

FLAGS_VARIABLE = "ARGOPROXY_FLAGS"
DEFAULT_FILE = "config.yaml"

_BY_KEY = {setting.key: setting for setting in SETTINGS}
_BY_ENVIRONMENT = {setting.environment: setting for setting in SETTINGS}
#: Rows of the table of upstreams, strongest first; the last one yields to all others, in whatever layer it is.
_UPSTREAM_ROWS = ("demo", "target_base_url", "openai_base_url")
_CA_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")
_PROXY_SCHEMES = ("http", "https", "all", "no")
_LOOPBACK = re.compile(r"localhost|127(?:\.\d+){3}|::1|0\.0\.0\.0|::")


@dataclass(frozen=True, slots=True)
class Layer:
    """Settings from one place: values by key or by name in the environment, and the lines they stand in."""

    name: str
    values: Mapping[str, Any]
    lines: Mapping[str, int] = field(default_factory=dict)

    def place_of(self, name: str) -> str:
        """Tell where a value stands."""
        return f"{self.name}, line {self.lines[name]}" if name in self.lines else self.name


@dataclass(frozen=True, slots=True)
class Target:
    """The upstream to ask: the demo where `base` is None. `secret` is what `authorization` holds."""

    base: BaseUrl | None = None
    authorization: Secret = Secret("")
    secret: Secret = Secret("")


@dataclass(frozen=True, slots=True)
class Config:
    """Everything that was decided at the start."""

    host: str
    port: int
    workers: int
    threads: int
    worker_class: str
    debug: bool
    verbose: bool
    heartbeat_s: float
    timeouts: Timeouts
    target: Target
    rules: tuple[Rule, ...]
    tags: TagPair
    think_filter: bool
    ca_bundle: str | None
    proxies: Mapping[str, str] = field(repr=False)
    warnings: tuple[str, ...]


def load(environ: Mapping[str, str], folder: Path) -> Config:
    """Read the file (`CONFIG_PATH`, else config.yaml in the folder if present) and build. Raises ConfigError."""
    flags = set(environ.get(FLAGS_VARIABLE, "").split(","))
    given = {name: value for name, value in environ.items() if name in _BY_ENVIRONMENT and value.strip()}
    layers = [
        Layer("flag", {name: value for name, value in given.items() if name in flags}),
        Layer("environment", {name: value for name, value in given.items() if name not in flags}),
        *_file_layers(environ.get("CONFIG_PATH", ""), folder),
    ]
    config = build(layers, environ)
    if config.worker_class == "gevent" and find_spec("gevent") is None:
        raise ConfigError(["the worker class gevent is not installed: pip install -r requirements-gevent.txt"])
    return config


def build(layers: Sequence[Layer], environ: Mapping[str, str]) -> Config:
    """Build from layers, strongest first; `environ` tells of proxies and CA bundles. Raises ConfigError."""
    given = _Given(layers)
    target = given.target()
    ca_bundle = next((environ[name] for name in _CA_VARIABLES if environ.get(name)), None)
    if ca_bundle and target.base and target.base.root.startswith("https:") and not Path(ca_bundle).exists():
        given.mistakes.append(f"environment: the CA bundle {ca_bundle!r} does not exist")
    if given.mistakes:
        raise ConfigError(given.mistakes)
    rules, warnings = parse_llm_params(given["llm_params"] or "")
    return Config(
        host=given["host"],
        port=given["port"],
        workers=given["num_workers"],
        threads=given["threads"],
        worker_class=given["worker_class"],
        debug=given["debug"],
        verbose=given["verbose"],
        heartbeat_s=given["heartbeat"],
        timeouts=Timeouts(
            connect_s=given["connect_timeout"],
            first_byte_s=given[given.stronger("first_byte_timeout", "timeout")],
            idle_s=given[given.stronger("idle_timeout", "timeout")],
            total_s=given["total_timeout"] or math.inf,
        ),
        target=target,
        rules=rules,
        tags=TagPair(given["think_tag"], given["think_end_tag"]),
        think_filter=given["think_filter"],
        ca_bundle=ca_bundle,
        proxies=_proxies(environ),
        warnings=(*given.warnings, *warnings),
    )


class _Given:
    """What the layers say, the strongest first; mistakes and warnings are collected."""

    def __init__(self, layers: Sequence[Layer]) -> None:
        self.mistakes: list[str] = []
        self.warnings: list[str] = []
        self._layers = layers
        self._values: dict[str, tuple[Any, int]] = {}
        for strength, layer in enumerate(layers):
            for name, value in layer.values.items():
                self._read(strength, layer, name, value)

    def __getitem__(self, key: str) -> Any:
        return self._values[key][0] if key in self._values else _BY_KEY[key].default

    def stronger(self, key: str, general: str) -> str:
        """Give the key that counts where one says in particular what another says in general."""
        return key if self._strength(key) <= self._strength(general) and key in self._values else general

    def target(self) -> Target:
        """Choose the upstream: a row of the table named in a stronger layer wins, within a layer the earlier row."""
        rows = [row for row in _UPSTREAM_ROWS if row in self._values and self[row]]
        rows.sort(key=lambda row: (row == _UPSTREAM_ROWS[-1], self._strength(row)))
        for loser in rows[1:]:
            self.warnings.append(f"{self._named(loser)} is not used: {self._named(rows[0])} is stronger")
        row = rows[0] if rows else "openai_base_url"
        if row == "demo":
            return Target()
        own_key, other_key = ("target_api_key", "openai_api_key")
        if row == "openai_base_url":
            own_key, other_key = other_key, own_key
        if self[other_key] and not self[own_key]:
            self.warnings.append(f"{self._named(other_key)} is not sent to this upstream; its key is {_env(own_key)}")
        url = self[row] or DEFAULT_TARGET
        self._refuse_itself(url)
        return _target(url, self[own_key] or "")

    def _read(self, strength: int, layer: Layer, name: str, value: Any) -> None:
        setting = _BY_KEY.get(name) or _BY_ENVIRONMENT.get(name)
        if setting is None:
            hint = suggestion(name, list(_BY_KEY))
            self.mistakes.append(f'{layer.place_of(name)}: unknown key "{name}"{hint}')
            return
        if value is None:
            return
        try:
            read = setting.read(value)
        except ValueError as error:
            shown = "" if setting.is_secret else f" {str(value)[:80]!r}"
            self.mistakes.append(f"{layer.place_of(name)}: {name}{shown} {error}")
            return
        self._values.setdefault(setting.key, (read, strength))

    def _strength(self, key: str) -> int:
        return self._values[key][1] if key in self._values else len(self._layers)

    def _named(self, key: str) -> str:
        return f"{_env(key)} ({self._layers[self._strength(key)].name})"

    def _refuse_itself(self, url: str) -> None:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        if port == self["port"] and _LOOPBACK.fullmatch(parts.hostname or ""):
            self.mistakes.append(f"the upstream {BaseUrl.parse(url).root!r} is this very proxy; name another one")


def _target(url: str, key: str) -> Target:
    base, parts = BaseUrl.parse(url), urlsplit(url)
    if key:
        return Target(base, Secret(f"Bearer {key}"), Secret(key))
    if parts.username is None:
        return Target(base)
    credentials = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    encoded = b64encode(credentials.encode()).decode()
    return Target(base, Secret(f"Basic {encoded}"), Secret(encoded))


def _file_layers(named: str, folder: Path) -> list[Layer]:
    path = folder / (named or DEFAULT_FILE)
    if not path.is_file():
        if named:
            raise ConfigError([f"the config file {named!r} does not exist"])
        return []
    try:
        source = path.read_text(encoding="utf-8")
        node, values = yaml.compose(source), yaml.safe_load(source)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([f"{path.name} can't be read: {error.__class__.__name__}"]) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f", line {mark.line + 1}" if mark else ""
        raise ConfigError([f"{path.name}{where}: no YAML: {error.problem}"]) from None
    except yaml.YAMLError:
        raise ConfigError([f"{path.name} is no YAML"]) from None
    if values is None:
        return []
    if not isinstance(values, dict) or not isinstance(node, yaml.MappingNode):
        raise ConfigError([f"{path.name} must hold `key: value` lines"])
    lines = {str(key.value): key.start_mark.line + 1 for key, _ in node.value}
    return [Layer(path.name, {str(key): value for key, value in values.items()}, lines)]


def _proxies(environ: Mapping[str, str]) -> dict[str, str]:
    """Find the proxy variables, lower case first."""
    names = {scheme: f"{scheme}_proxy" for scheme in _PROXY_SCHEMES}
    found = {scheme: environ.get(name) or environ.get(name.upper()) for scheme, name in names.items()}
    return {scheme: value for scheme, value in found.items() if value}


def _env(key: str) -> str:
    return _BY_KEY[key].environment
