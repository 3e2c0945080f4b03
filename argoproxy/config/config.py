"""The settings of a process: one frozen Config, built once from layers, each a plain mapping.

Flags win over environment, environment over the file, the file over defaults. All mistakes are collected and shown
together. `build` is pure; `load` reads the file and tells flags from environment: flags travel as environment
variables whose names FLAGS_VARIABLE lists, because Gunicorn's workers need one loader.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from argoproxy.config.default_upstream import described
from argoproxy.config.effective import derived, process_timeouts
from argoproxy.config.kinds.targets import Process, Target, UpstreamSettings
from argoproxy.config.model_rules import read_rules
from argoproxy.config.upstreams import usage_of
from argoproxy.config.values.config_error import ConfigError
from argoproxy.config.values.flags import FLAGS_VARIABLE
from argoproxy.config.values.layers import (
    BY_ENVIRONMENT,
    Given,
    Layer,
    config_file,
    dotenv_layers,
    dotenv_of,
    file_layers,
)
from argoproxy.config.values.parsers import is_placeholder, opening
from argoproxy.config.values.section import Section
from argoproxy.config.values.snapshot import VARIABLE, published
from argoproxy.protocol.access.allow_list import AllowList
from argoproxy.protocol.access.auth import Key
from argoproxy.protocol.access.secrets import Secret
from argoproxy.protocol.addresses import AddressRule
from argoproxy.protocol.api.endpoints import BODY_LIMIT
from argoproxy.protocol.content import ImageSettings
from argoproxy.protocol.reasoning.policy import Opening, TagPair
from argoproxy.protocol.routing.llm_params import parse_llm_params
from argoproxy.protocol.routing.modes import Mode
from argoproxy.protocol.routing.rules import Rules, RuleSet
from argoproxy.protocol.routing.timeouts import Heartbeat
from argoproxy.protocol.stream.chunk_fields import AnswerModel
from argoproxy.upstreams.access import PluginSpec

MIB = 1024 * 1024
#: Names the key that the master made, for when keys are asked for and none is set, in the environment of its workers.
RANDOM_KEY = "ARGOPROXY_RANDOM_KEY"
#: Served without a key.
OPEN_ROUTES = ("/", "/health", "/health/live", "/health/{rest}")
#: Settings that count from the next start on only.
OF_A_START = (
    "host",
    "port",
    "workers",
    "threads",
    "worker_class",
    "client_header_timeout_s",
    "client_body_timeout_s",
    "client_write_timeout_s",
    "drain_delay_s",
    "graceful_timeout_s",
)

_CA_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")
_PROXY_SCHEMES = ("http", "https", "all", "no")


@dataclass(frozen=True, slots=True)
class JournalSettings:
    """Where the journal is, whether bodies stand in it (`full`) or only their sizes (`meta`), the size at which a file
    of it is full, how many full ones of each are kept."""

    folder: Path
    bodies: str
    max_bytes: int
    files: int


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
    heartbeat: Heartbeat
    client_header_timeout_s: float
    client_body_timeout_s: float
    client_write_timeout_s: float
    drain_delay_s: float
    graceful_timeout_s: float
    upstreams: tuple[UpstreamSettings, ...]
    #: The Argo gateway where there is one: among the upstreams, or beside them.
    gateway: UpstreamSettings | None
    rules: Rules
    tags: TagPair
    think_filter: bool
    default_model: str
    images: ImageSettings
    keys: tuple[Key, ...]
    asks_for_keys: bool
    open_routes: tuple[str, ...]
    authenticate: PluginSpec | None
    listeners: tuple[PluginSpec, ...]
    #: Where the operator's own classes are looked for.
    class_folders: tuple[str, ...]
    allowed: AllowList
    cors_origins: frozenset[str]
    compatible: bool
    journal: JournalSettings | None
    ca_bundle: str | None
    warnings: tuple[str, ...]
    #: Those of the warnings that are mistakes to who asks for a check.
    malformed: tuple[str, ...] = ()
    #: Whether answers start inside a thought where no rule says it.
    opening: Opening = Opening.CLOSED
    answer_model: AnswerModel = AnswerModel.UPSTREAM
    skips_url_validation: bool = False
    #: Bytes that a JSON body may have where it is read.
    body_limit: int = BODY_LIMIT

    @property
    def target(self) -> Target:
        """What the default upstream is."""
        return self.upstreams[0].target

    @property
    def shown(self) -> str:
        """How the start tells of the upstreams."""
        if len(self.upstreams) == 1:
            return self.target.shown
        return ", ".join(f"{upstream.name} ({upstream.target.shown})" for upstream in self.upstreams)


def load(environ: Mapping[str, str], folder: Path) -> Config:
    """Read all there is and build; in a worker, what the master has published. Raises ConfigError."""
    published_at = environ.get(VARIABLE, "")
    given = published(Path(published_at)) if published_at else layers(environ, folder)
    return build(given, environ, folder)


def layers(environ: Mapping[str, str], folder: Path) -> list[Layer]:
    """Give all there is, strongest first. Raises ConfigError."""
    flags = set(environ.get(FLAGS_VARIABLE, "").split(","))
    given = {name: value for name, value in environ.items() if name in BY_ENVIRONMENT and value.strip()}
    dotenv = dotenv_of(folder)
    return [
        Layer("flag", {name: value for name, value in given.items() if name in flags}),
        Layer("environment", {name: value for name, value in given.items() if name not in flags}),
        *dotenv_layers(dotenv),
        *file_layers(environ.get("CONFIG_PATH", ""), folder, {**dotenv, **environ}),
    ]


def shown(environ: Mapping[str, str], folder: Path) -> Iterator[str]:
    """Give the settings as YAML, each with the place it comes from; secrets are starred. Raises ConfigError."""
    config = load(environ, folder)
    yield f"# upstream: {config.shown}"
    yield from (f"# warning: {warning}" for warning in config.warnings)
    given = Given(layers(environ, folder))
    yield from given.shown(derived(given))


def build(layers: Sequence[Layer], environ: Mapping[str, str], folder: Path = Path()) -> Config:
    """Build from layers, strongest first; `environ` tells of proxies and CA bundles. Raises ConfigError."""
    given = Given(layers)
    bundle = next((environ[name] for name in _CA_VARIABLES if environ.get(name)), None)
    upstreams, gateway = described(given, _process(given, environ, bundle))
    rules, warnings = _rules(given, upstreams)
    authenticate, listeners = _own_classes(given)
    given.mistakes.extend(_missing(given, upstreams, bundle))
    if given.mistakes:
        raise ConfigError(given.mistakes)
    return Config(
        **_server(given),
        body_limit=int(given["max_body_size"] * MIB),
        debug=given["debug"],
        verbose=given["verbose"],
        heartbeat=Heartbeat(given["heartbeat"], is_early=given["early_heartbeat"] and given["heartbeat"] > 0),
        upstreams=upstreams,
        gateway=gateway,
        rules=rules,
        tags=TagPair(given["think_tag"], given["think_end_tag"]),
        think_filter=given["think_filter"],
        skips_url_validation=given["skip_url_validation"],
        opening=opening(given["think_starts_open"]),
        answer_model=AnswerModel(given["answer_model"]),
        default_model=given["default_model"] or "",
        images=_images(given),
        keys=_keys(given, environ),
        asks_for_keys=given["enable_auth"],
        open_routes=(*OPEN_ROUTES, *(("/metrics",) if given["metrics_open"] else ())),
        authenticate=authenticate,
        listeners=listeners,
        class_folders=(str(config_file(environ.get("CONFIG_PATH", ""), folder).parent), str(folder)),
        allowed=AllowList(given["allowed_models"] or (), given["allow_unknown_routes"]),
        cors_origins=frozenset(given["cors_origins"] or ()),
        compatible=given["compatible"],
        journal=_journal(given, folder),
        ca_bundle=bundle,
        warnings=(*given.warnings, *warnings),
        malformed=warnings,
    )


def _server(given: Given) -> dict[str, Any]:
    """Return what Gunicorn is started with."""
    return {
        "host": given["host"],
        "port": given["port"],
        "workers": given["num_workers"],
        "threads": given["threads"],
        "worker_class": given["worker_class"],
        "client_header_timeout_s": given["client_header_timeout"],
        "client_body_timeout_s": given["client_body_timeout"],
        "client_write_timeout_s": given["client_write_timeout"],
        "drain_delay_s": given["drain_delay"],
        "graceful_timeout_s": given["graceful_timeout"],
    }


def _missing(given: Given, upstreams: Sequence[UpstreamSettings], bundle: str | None) -> Iterator[str]:
    """Tell what the settings need and the machine does not have."""
    may_need_it = any(upstream.speaks_tls or upstream.inline_images for upstream in upstreams)
    if bundle and may_need_it and not Path(bundle).exists():
        yield f"environment: the CA bundle {bundle!r} does not exist"
    if given["worker_class"] == "gevent" and find_spec("gevent") is None:
        yield "the worker class gevent is not installed: pip install -r requirements-gevent.txt"
    if given["enable_auth"] and any(is_placeholder(key.secret.text) for key in given["api_key_secret"] or ()):
        yield f"{given.named('api_key_secret')} holds a placeholder: anybody could guess it; set a key of your own"
    if given["enable_auth"] and given["authenticate"]:
        yield "enable_auth and authenticate exclude each other: keys are asked for, or a class of yours decides"


def _process(given: Given, environ: Mapping[str, str], bundle: str | None) -> Process:
    return Process(
        timeouts=process_timeouts(given),
        inline_images=given["inline_images"],
        mode=Mode(given["mode"]),
        usage=usage_of(given["ask_usage"]),
        ca_bundle=bundle,
        proxies=_proxies(environ),
    )


def _rules(given: Given, upstreams: Sequence[UpstreamSettings]) -> tuple[Rules, tuple[str, ...]]:
    """Give all rules, those of LLM_PARAMS the stronger ones, and what is malformed in LLM_PARAMS."""
    rules, warnings = parse_llm_params(given["llm_params"] or "")
    of_the_file = read_rules(given, {upstream.name: upstream.is_native for upstream in upstreams})
    books = (RuleSet("LLM_PARAMS", rules), RuleSet("models", of_the_file))
    return Rules(tuple(book for book in books if book.rules)), warnings


def _own_classes(given: Given) -> tuple[PluginSpec | None, tuple[PluginSpec, ...]]:
    """Give the operator's class that tells callers apart, and those that hear what became of requests."""
    authenticate = _own_class(given, "authenticate", given["authenticate"]) if given["authenticate"] else None
    return authenticate, tuple(_own_class(given, "listeners", own) for own in given["listeners"] or ())


def _own_class(given: Given, key: str, own: PluginSpec) -> PluginSpec:
    """Give a class with the variables in its options."""
    return replace(own, options=Section(given, (key,), own.options).whole())


def _journal(given: Given, folder: Path) -> JournalSettings | None:
    if not given["output_path"]:
        return None
    return JournalSettings(
        folder=folder / Path(given["output_path"]).expanduser(),
        bodies=given["journal_bodies"],
        max_bytes=given["journal_max_bytes"],
        files=given["journal_files"],
    )


def _keys(given: Given, environ: Mapping[str, str]) -> tuple[Key, ...]:
    """Give the keys to ask for: those that are set, else the one that was made at the start."""
    if not given["enable_auth"]:
        return ()
    made = environ.get(RANDOM_KEY)
    return given["api_key_secret"] or ((Key("key-1", Secret(made)),) if made else ())


def _images(given: Given) -> ImageSettings:
    return ImageSettings(
        timeout_s=given["image_timeout"],
        concurrency=given["concurrent_downloads"],
        payload_limit=int(given["max_payload_size"] * MIB) if given["enable_payload_control"] else None,
        addresses=AddressRule.parse(given["image_allow_private"]),
        keeps_failed=given["image_on_error"] == "keep",
    )


def _proxies(environ: Mapping[str, str]) -> dict[str, str]:
    """Find the proxy variables, lower case first."""
    names = {scheme: f"{scheme}_proxy" for scheme in _PROXY_SCHEMES}
    found = {scheme: environ.get(name) or environ.get(name.upper()) for scheme, name in names.items()}
    return {scheme: value for scheme, value in found.items() if value}
