"""The settings of a process: one frozen Config, built once from layers.

Flags win over environment, environment over `.env`, `.env` over the file, the file over defaults. All mistakes are
collected and reported together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from argoproxy.config.cache import CacheSettings, read_cache_settings
from argoproxy.config.default_upstream import resolve_upstreams
from argoproxy.config.derived import (
    JournalSettings,
    LogSettings,
    derived_settings,
    image_settings,
    journal_settings,
    log_settings,
    process_timeouts,
)
from argoproxy.config.key_section import KeySettings, read_keys_section
from argoproxy.config.kinds.target import Target, UpstreamDefaults, UpstreamSettings
from argoproxy.config.limit_section import read_limit_settings
from argoproxy.config.model_rules import read_rules
from argoproxy.config.options.console_options import ConsoleOptions
from argoproxy.config.options.declaration import settings_of
from argoproxy.config.options.parsers import is_placeholder, parse_opening
from argoproxy.config.options.server_options import MIB, ClientOptions, RequestOptions, ServerOptions
from argoproxy.config.options.tracing_options import TracingOptions
from argoproxy.config.options.upstream_options import CA_VARIABLES, ThinkingOptions
from argoproxy.config.price_section import read_prices_section
from argoproxy.config.resilience import process_resilience, warn_of_queues
from argoproxy.config.shared_stores import DatabaseSettings, RedisSettings, read_shared_stores
from argoproxy.config.upstreams import usage_mode
from argoproxy.config.values.config_error import ConfigError
from argoproxy.config.values.config_values import ConfigValues, Shown
from argoproxy.config.values.layers import SNAPSHOT_VARIABLE, Layer, config_file, read_layers, read_snapshot
from argoproxy.config.values.section import Section
from argoproxy.protocol.access.allow_list import AllowList
from argoproxy.protocol.access.auth import Key
from argoproxy.protocol.access.secrets import Secret
from argoproxy.protocol.content import ImageSettings
from argoproxy.protocol.limits.limits import LimitSettings
from argoproxy.protocol.prices.price_table import PriceTable
from argoproxy.protocol.reasoning.policy import Opening, TagPair
from argoproxy.protocol.routing.llm_params import parse_llm_params
from argoproxy.protocol.routing.rules import Rules, RuleSet
from argoproxy.protocol.routing.timeouts import Heartbeat
from argoproxy.protocol.stream.chunk_fields import AnswerModel
from argoproxy.upstreams.access import PluginSpec

#: Holds the key that the master makes, for the case that keys are required and none is set.
RANDOM_KEY = "ARGOPROXY_RANDOM_KEY"
#: Served without a key.
OPEN_ROUTES = ("/", "/health", "/health/live", "/health/ready", "/health/{rest}")

_PROXY_SCHEMES = ("http", "https", "all", "no")


@dataclass(frozen=True, slots=True)
class Config:
    """All settings of a process: groups as they are declared, and what follows from others."""

    server: ServerOptions
    client: ClientOptions
    requests: RequestOptions
    thinking: ThinkingOptions
    log: LogSettings
    heartbeat: Heartbeat
    upstreams: tuple[UpstreamSettings, ...]
    #: The Argo gateway, if there is one: among the upstreams or beside them.
    gateway: UpstreamSettings | None
    rules: Rules
    default_model: str
    answer_model: AnswerModel
    images: ImageSettings
    #: The keys that clients may send; empty unless keys are required.
    keys: tuple[Key, ...]
    requires_key: bool
    #: Managed keys, if a folder for them is set.
    managed: KeySettings | None
    limits: LimitSettings
    #: Where answers are kept, if a rule wants that.
    cache: CacheSettings | None
    open_routes: tuple[str, ...]
    allowed: AllowList
    cors_origins: frozenset[str]
    authenticate: PluginSpec | None
    listeners: tuple[PluginSpec, ...]
    #: Where plug-ins are looked for.
    plugin_folders: tuple[str, ...]
    journal: JournalSettings | None
    ca_bundle: str | None
    warnings: tuple[str, ...]
    #: Those of the warnings that `config validate` reports as mistakes.
    malformed: tuple[str, ...] = ()
    #: What tokens cost; None if nothing needs it.
    prices: PriceTable | None = None
    #: Whether the usage of an answer says what it costs.
    tells_cost: bool = False
    tracing: TracingOptions = TracingOptions()
    console: ConsoleOptions = ConsoleOptions()
    #: The server in which limits are counted for several hosts, if there is one.
    redis: RedisSettings | None = None
    #: The database in which several hosts keep keys and the ledger, if there is one.
    database: DatabaseSettings | None = None

    @property
    def target(self) -> Target:
        """The server of the default upstream."""
        return self.upstreams[0].target

    @property
    def own_key(self) -> str:
        """A key by which commands ask the proxy of these settings: the first whose text they hold; "" if there is none.
        Of keys that commands have created, only a digest is kept."""
        declared = self.managed.texts if self.managed and self.requires_key else ()
        return next((secret.text for secret in (*(key.secret for key in self.keys), *declared)), "")

    @property
    def state_folder(self) -> Path | None:
        """The folder in which is kept what survives a restart, if one is set."""
        return self.managed.folder if self.managed else None

    @property
    def limits_apply(self) -> bool:
        """Whether requests may have limits, or are written into the ledger."""
        upstreams = (*self.upstreams, *([self.gateway] if self.gateway else []))
        limited = (self.limits.everyone, *(one.limited for one in (*self.rules, *upstreams)))
        return self.managed is not None or any(limited)

    @property
    def tags(self) -> TagPair:
        """The tags around thoughts."""
        return TagPair(self.thinking.tag, self.thinking.end_tag)

    @property
    def opening(self) -> Opening:
        """Whether answers start inside a thought, unless a rule says otherwise."""
        return parse_opening(self.thinking.starts_open)

    @property
    def body_limit(self) -> int:
        """Bytes that a JSON body may have."""
        return int(self.requests.max_body_size * MIB)

    @property
    def description(self) -> str:
        """How the log of the start names the upstreams."""
        if len(self.upstreams) == 1:
            return self.target.description
        return ", ".join(f"{upstream.name} ({upstream.target.description})" for upstream in self.upstreams)


def load(environ: Mapping[str, str], folder: Path) -> Config:
    """Read all sources and build; in a worker, from the snapshot of its master. Raises ConfigError."""
    snapshot = environ.get(SNAPSHOT_VARIABLE, "")
    layers = read_snapshot(Path(snapshot)) if snapshot else read_layers(environ, folder)
    return build(layers, environ, folder)


def show(environ: Mapping[str, str], folder: Path) -> Iterator[str]:
    """Yield the settings as YAML, each with the place where it is set; secrets are starred. Raises ConfigError."""
    config, settings = read_shown(environ, folder)
    yield f"# upstream: {config.description}"
    yield from (f"# warning: {warning}" for warning in config.warnings)
    yield from map(str, settings)


def read_shown(environ: Mapping[str, str], folder: Path) -> tuple[Config, Sequence[Shown]]:
    """Return the settings, and each of them as it is shown. Raises ConfigError."""
    values = ConfigValues(read_layers(environ, folder))
    return load(environ, folder), tuple(values.show(derived_settings(values)))


def settings_for_restart(before: Config, after: Config) -> Sequence[str]:
    """Return the keys of the settings that differ and count from the next start on only."""
    groups = ((before.server, after.server), (before.client, after.client))
    return [
        setting.key
        for old, new in groups
        for setting in settings_of(type(old))
        if getattr(old, setting.name) != getattr(new, setting.name)
    ]


def build(layers: Sequence[Layer], environ: Mapping[str, str], folder: Path = Path()) -> Config:
    """Build from layers, the strongest first; `environ` holds proxies and CA bundles. Raises ConfigError."""
    values = ConfigValues(layers)
    ca_bundle = next((environ[name] for name in CA_VARIABLES if environ.get(name)), None)
    upstreams, gateway = resolve_upstreams(values, _upstream_defaults(values, environ, ca_bundle))
    rules, malformed = _read_rules(values, upstreams)
    derived = {
        **_access_fields(values, environ),
        "managed": read_keys_section(values, folder),
        "prices": read_prices_section(values),
        "tells_cost": values["usage_cost"],
        "limits": read_limit_settings(values),
        "tracing": values.group(TracingOptions),
        "console": values.group(ConsoleOptions),
        **read_shared_stores(values),
        "cache": read_cache_settings(values, folder, rules),
        **_plugin_fields(values, [str(config_file(environ.get("CONFIG_PATH", ""), folder).parent), str(folder)]),
    }
    values.mistakes.extend(_missing(values, upstreams, ca_bundle))
    if values.mistakes:
        raise ConfigError(values.mistakes)
    return Config(
        server=values.group(ServerOptions),
        client=values.group(ClientOptions),
        requests=values.group(RequestOptions),
        thinking=values.group(ThinkingOptions),
        log=log_settings(values),
        heartbeat=Heartbeat(values["heartbeat"], is_early=values["early_heartbeat"] and values["heartbeat"] > 0),
        upstreams=upstreams,
        gateway=gateway,
        rules=rules,
        default_model=values["default_model"] or "",
        answer_model=AnswerModel(values["answer_model"]),
        images=image_settings(values),
        journal=journal_settings(values, folder),
        ca_bundle=ca_bundle,
        warnings=(*values.warnings, *malformed, *warn_of_queues(values, upstreams, rules)),
        malformed=malformed,
        **derived,
    )


def _upstream_defaults(values: ConfigValues, environ: Mapping[str, str], ca_bundle: str | None) -> UpstreamDefaults:
    return UpstreamDefaults(
        timeouts=process_timeouts(values),
        inline_images=values["inline_images"],
        mode=values["mode"],
        usage=usage_mode(values["ask_usage"]),
        resilience=process_resilience(values),
        ca_bundle=ca_bundle,
        proxies=_proxies(environ),
    )


def _proxies(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the proxies of the environment by scheme; variables in lower case win."""
    variables = {scheme: f"{scheme}_proxy" for scheme in _PROXY_SCHEMES}
    proxies = {scheme: environ.get(name) or environ.get(name.upper()) for scheme, name in variables.items()}
    return {scheme: url for scheme, url in proxies.items() if url}


def _read_rules(values: ConfigValues, upstreams: Sequence[UpstreamSettings]) -> tuple[Rules, tuple[str, ...]]:
    """Return all rules, those of LLM_PARAMS being the stronger ones, and what is malformed in LLM_PARAMS."""
    rules, malformed = parse_llm_params(values["llm_params"] or "")
    file_rules = read_rules(values, {upstream.name: upstream.is_passthrough for upstream in upstreams})
    sets = (RuleSet("LLM_PARAMS", rules), RuleSet("models", file_rules))
    return Rules(tuple(one for one in sets if one.rules)), malformed


def _access_fields(values: ConfigValues, environ: Mapping[str, str]) -> dict[str, Any]:
    """Return the fields that tell who may use the proxy, and for what. If keys are required and none is set, the key
    is the one that the master made."""
    # Managed keys stay the same over restarts, so none is made for one start beside them.
    random_key = "" if values["state_path"] else environ.get(RANDOM_KEY)
    made = (Key("key-1", Secret(random_key)),) if random_key else ()
    return {
        "keys": (values["api_key_secret"] or made) if values["enable_auth"] else (),
        "requires_key": values["enable_auth"],
        "open_routes": (*OPEN_ROUTES, *(("/metrics",) if values["metrics_open"] else ())),
        "allowed": AllowList(values["allowed_models"] or (), values["allow_unknown_routes"]),
        "cors_origins": frozenset(values["cors_origins"] or ()),
    }


def _plugin_fields(values: ConfigValues, folders: Sequence[str]) -> dict[str, Any]:
    """Return the plug-ins besides those of upstreams, and where plug-ins are looked for."""
    authenticate: PluginSpec | None = values["authenticate"]
    return {
        "authenticate": _expand_options(values, "authenticate", authenticate) if authenticate else None,
        "listeners": tuple(_expand_options(values, "listeners", plugin) for plugin in values["listeners"] or ()),
        "plugin_folders": tuple(folders),
    }


def _expand_options(values: ConfigValues, key: str, plugin: PluginSpec) -> PluginSpec:
    return replace(plugin, options=Section(values, (key,), plugin.options).expand_all())


def _missing(values: ConfigValues, upstreams: Sequence[UpstreamSettings], ca_bundle: str | None) -> Iterator[str]:
    """Yield what the settings need and do not have."""
    uses_tls = any(upstream.speaks_tls or upstream.inline_images for upstream in upstreams)
    if ca_bundle and uses_tls and not Path(ca_bundle).exists():
        yield f"environment: the CA bundle {ca_bundle!r} does not exist"
    if values["worker_class"] == "gevent" and find_spec("gevent") is None:
        yield "the worker class gevent is not installed: pip install -r requirements-gevent.txt"
    if values["enable_auth"] and any(is_placeholder(key.secret.text) for key in values["api_key_secret"] or ()):
        yield f"{values.describe('api_key_secret')} is a placeholder, which anyone could guess; set a key of your own"
    if values["enable_auth"] and values["authenticate"]:
        yield "enable_auth and authenticate exclude each other; remove one of them"
