"""Every setting, as data. CONTRIBUTING.md tells how to add one.

A group of settings is a frozen class that declares a typed field for each. Where the class has a `section`, the config
file may hold its settings as a mapping of this name; each of them has a key at the top of the file as well.
"""

from __future__ import annotations

from itertools import chain

from argoproxy.config.options.console_options import ConsoleOptions
from argoproxy.config.options.declaration import settings_of
from argoproxy.config.options.limit_options import AccountingOptions, DatabaseOptions, LimitOptions, ReplicaOptions
from argoproxy.config.options.resilience_options import BreakerOptions, QueueOptions, ResilienceOptions
from argoproxy.config.options.server_options import (
    AccessOptions,
    CacheOptions,
    ClientOptions,
    JournalOptions,
    KeyOptions,
    LogOptions,
    OlderOptions,
    PluginOptions,
    RequestOptions,
    ServerOptions,
)
from argoproxy.config.options.tracing_options import TracingOptions
from argoproxy.config.options.upstream_options import (
    ArgoOptions,
    ImageOptions,
    ModelOptions,
    PriceOptions,
    ThinkingOptions,
    TimeoutOptions,
    UpstreamOptions,
)

GROUPS: tuple[type, ...] = (
    UpstreamOptions,
    ArgoOptions,
    ModelOptions,
    PriceOptions,
    ThinkingOptions,
    ImageOptions,
    TimeoutOptions,
    ResilienceOptions,
    BreakerOptions,
    QueueOptions,
    AccessOptions,
    KeyOptions,
    LimitOptions,
    AccountingOptions,
    ReplicaOptions,
    DatabaseOptions,
    CacheOptions,
    PluginOptions,
    RequestOptions,
    ServerOptions,
    ClientOptions,
    LogOptions,
    TracingOptions,
    ConsoleOptions,
    JournalOptions,
    OlderOptions,
)
SETTINGS = tuple(chain.from_iterable(map(settings_of, GROUPS)))
BY_KEY = {one.key: one for one in SETTINGS}
BY_ENVIRONMENT = {one.environment: one for one in SETTINGS if one.environment}
#: The settings of each section of the config file, by their names in it.
SECTIONS = {
    section: {one.name: one for one in SETTINGS if one.section == section}
    for section in dict.fromkeys(one.section for one in SETTINGS if one.section)
}

#: Keys of later argo-proxy files that do nothing here, and why.
IGNORED = {
    "config_version": "there is only one version of this file",
    "real_stream": "streams are always passed on as they arrive",
    "pseudo_stream": "streams are always passed on as they arrive",
    "use_legacy_argo": "`use_native_openai` chooses between the gateway's own endpoints and its OpenAI-compatible one",
    "force_conversion": "requests are always converted to what the endpoint expects",
    "dev_mode": "`argo_base_url` chooses between development and production",
    "collect_leaked_logs": "answers are not changed in this way",
    "no_banner": "`log_level: warning` leaves it out",
    "use_native_anthropic": "requests go to the gateway's chat endpoints",
    "native_anthropic_base_url": "requests go to the gateway's chat endpoints",
    "anthropic_stream_mode": "requests go to the gateway's chat endpoints",
    "tool_prompt": "tools are sent as tools",
    "provider_tool_format": "tools are sent in the format of the model's family",
    "enable_leaked_tool_fix": "answers are not changed in this way",
    "resolve_overrides": "host names are resolved by the system",
    "connection_test_timeout": "the check at the start takes at most five seconds",
    "socket": "`host: unix:/path` listens on a socket",
    "logging_level": "`log_level` sets the level",
    "log_to_file": "the log is written to standard error",
    "max_log_history": "the log is written to standard error",
    "model_refresh_interval_hours": "the list of models is fetched when it is needed",
    "dump_requests": "`output_path` records requests in a journal",
    "dump_dir": "`output_path` records requests in a journal",
}
