"""The settings of a process: one frozen Config, built once from layers, each a plain mapping.

Flags win over environment, environment over the file, the file over defaults. All mistakes are collected and shown
together. `build` is pure; `load` reads the file and tells flags from environment: flags travel as environment
variables whose names FLAGS_VARIABLE lists, because Gunicorn's workers need one loader.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from argoproxy.errors import ConfigError
from argoproxy.flags import FLAGS_VARIABLE
from argoproxy.layers import BY_ENVIRONMENT, Given, Layer, dotenv_layers, file_layers
from argoproxy.protocol.addresses import AddressRule
from argoproxy.protocol.allowance import AllowList
from argoproxy.protocol.auth import Key
from argoproxy.protocol.content import ImageSettings
from argoproxy.protocol.llm_params import parse_llm_params
from argoproxy.protocol.models import Rule
from argoproxy.protocol.secrets import Secret
from argoproxy.protocol.tagged_text import TagPair
from argoproxy.protocol.timeouts import Timeouts
from argoproxy.snapshot import VARIABLE, published
from argoproxy.targets import ArgoTarget, DemoTarget, NativeTarget, Target, choose

MIB = 1024 * 1024
#: Names the key that the master made, for when keys are asked for and none is set, in the environment of its workers.
RANDOM_KEY = "ARGOPROXY_RANDOM_KEY"
#: Served without a key.
OPEN_ROUTES = ("/", "/health", "/health/live", "/health/{rest}")
#: Settings that count from the next start on only.
OF_A_START = ("host", "port", "workers", "threads", "worker_class")

_CA_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")
_PROXY_SCHEMES = ("http", "https", "all", "no")


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
    default_model: str
    images: ImageSettings
    keys: tuple[Key, ...]
    asks_for_keys: bool
    open_routes: tuple[str, ...]
    allowed: AllowList
    ca_bundle: str | None
    proxies: Mapping[str, str] = field(repr=False)
    warnings: tuple[str, ...]
    #: Those of the warnings that are mistakes to who asks for a check.
    malformed: tuple[str, ...] = ()


def load(environ: Mapping[str, str], folder: Path) -> Config:
    """Read all there is and build; in a worker, what the master has published. Raises ConfigError."""
    published_at = environ.get(VARIABLE, "")
    given = published(Path(published_at)) if published_at else layers(environ, folder)
    return build(given, environ)


def layers(environ: Mapping[str, str], folder: Path) -> list[Layer]:
    """Give all there is, strongest first. Raises ConfigError."""
    flags = set(environ.get(FLAGS_VARIABLE, "").split(","))
    given = {name: value for name, value in environ.items() if name in BY_ENVIRONMENT and value.strip()}
    return [
        Layer("flag", {name: value for name, value in given.items() if name in flags}),
        Layer("environment", {name: value for name, value in given.items() if name not in flags}),
        *dotenv_layers(folder),
        *file_layers(environ.get("CONFIG_PATH", ""), folder),
    ]


def shown(environ: Mapping[str, str], folder: Path) -> Iterator[str]:
    """Give the settings as YAML, each with the place it comes from; secrets are starred. Raises ConfigError."""
    config = load(environ, folder)
    yield f"# upstream: {config.target.shown}"
    yield from (f"# warning: {warning}" for warning in config.warnings)
    yield from Given(layers(environ, folder)).shown()


def build(layers: Sequence[Layer], environ: Mapping[str, str]) -> Config:
    """Build from layers, strongest first; `environ` tells of proxies and CA bundles. Raises ConfigError."""
    given = Given(layers)
    target = choose(given)
    ca_bundle = next((environ[name] for name in _CA_VARIABLES if environ.get(name)), None)
    given.mistakes.extend(_missing(given, target, ca_bundle))
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
        default_model=given["default_model"] or "",
        images=_images(given, target),
        keys=_keys(given, environ),
        asks_for_keys=given["enable_auth"],
        open_routes=(*OPEN_ROUTES, *(("/metrics",) if given["metrics_open"] else ())),
        allowed=AllowList(given["allowed_models"] or ()),
        ca_bundle=ca_bundle,
        proxies=_proxies(environ),
        warnings=(*given.warnings, *warnings),
        malformed=warnings,
    )


def _missing(given: Given, target: Target, ca_bundle: str | None) -> Iterator[str]:
    """Tell what the settings need and the machine does not have."""
    may_need_it = _speaks_tls(target) or _images(given, target).inline
    if ca_bundle and may_need_it and not Path(ca_bundle).exists():
        yield f"environment: the CA bundle {ca_bundle!r} does not exist"
    if given["worker_class"] == "gevent" and find_spec("gevent") is None:
        yield "the worker class gevent is not installed: pip install -r requirements-gevent.txt"


def _keys(given: Given, environ: Mapping[str, str]) -> tuple[Key, ...]:
    """Give the keys to ask for: those that are set, else the one that was made at the start."""
    if not given["enable_auth"]:
        return ()
    made = environ.get(RANDOM_KEY)
    return given["api_key_secret"] or ((Key("key-1", Secret(made)),) if made else ())


def _images(given: Given, target: Target) -> ImageSettings:
    wished = given["inline_images"]
    return ImageSettings(
        inline=isinstance(target, ArgoTarget | NativeTarget) if wished is None else wished,
        timeout_s=given["image_timeout"],
        concurrency=given["concurrent_downloads"],
        payload_limit=int(given["max_payload_size"] * MIB) if given["enable_payload_control"] else None,
        addresses=AddressRule.parse(given["image_allow_private"]),
        keeps_failed=given["image_on_error"] == "keep",
    )


def _speaks_tls(target: Target) -> bool:
    if isinstance(target, DemoTarget):
        return False
    root = target.urls.chat if isinstance(target, ArgoTarget) else target.base.root
    return root.startswith("https:")


def _proxies(environ: Mapping[str, str]) -> dict[str, str]:
    """Find the proxy variables, lower case first."""
    names = {scheme: f"{scheme}_proxy" for scheme in _PROXY_SCHEMES}
    found = {scheme: environ.get(name) or environ.get(name.upper()) for scheme, name in names.items()}
    return {scheme: value for scheme, value in found.items() if value}
