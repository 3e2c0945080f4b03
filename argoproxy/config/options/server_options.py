"""Settings of the server, its clients, its log and its journal; settings.py tells how they are declared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from argoproxy.config.options.declaration import Flag, Names, setting
from argoproxy.config.options.parsers import (
    choice_parser,
    is_placeholder,
    parse_boolean,
    parse_header_text,
    parse_host,
    parse_keys,
    parse_log_level,
    parse_mapping,
    parse_names,
    parse_origins,
    parse_plugin,
    parse_plugins,
    parse_positive,
    parse_seconds,
    parse_seconds_or_zero,
    parse_text,
    parse_workers,
    whole_number_parser,
)
from argoproxy.protocol.access.auth import Key
from argoproxy.protocol.access.secrets import Secret
from argoproxy.upstreams.access import PluginSpec

MIB = 1024 * 1024
SHORTEST_ADMIN_KEY = 16
WORKER_CLASSES = ("gthread", "gevent", "sync")


def parse_admin_key(value: Any) -> Secret:
    """Parse the key of the administrator."""
    text = parse_header_text(value)
    if len(text) < SHORTEST_ADMIN_KEY or is_placeholder(text):
        raise ValueError(f"must have at least {SHORTEST_ADMIN_KEY} characters, and be no placeholder")
    return Secret(text)


@dataclass(frozen=True, slots=True)
class AccessOptions:
    """Who may use the proxy"""

    enable_auth: bool = setting(parse_boolean, False, "Serve only clients that send one of the keys", page="sharing.md")
    api_key_secret: tuple[Key, ...] | None = setting(
        parse_keys,
        None,
        "The keys, separated by commas, each alone or as name=key; if unset, one is made at each start",
        page="sharing.md#keys",
    )
    metrics_open: bool = setting(parse_boolean, False, "Serve /metrics without a key", page="metrics.md")
    allowed_models: tuple[str, ...] | None = setting(
        parse_names,
        None,
        "Names and patterns of the models that may be used; all if unset",
        page="sharing.md#models",
    )
    allow_unknown_routes: bool = setting(
        parse_boolean, False, "With allowed_models: also forward requests whose model is not known"
    )
    cors_origins: tuple[str, ...] | None = setting(
        parse_origins,
        None,
        "Web pages that may use the proxy: origins such as https://app.example, or *",
        page="browsers.md",
    )


@dataclass(frozen=True, slots=True)
class KeyOptions:
    """Managed keys"""

    state_path: str | None = setting(
        parse_text,
        None,
        "Folder in which keys are kept that commands create; none are if unset",
        Names(flags=(Flag(("--state_path",), "DIR"),)),
        "keys.md",
    )
    admin_key: Secret | None = setting(
        parse_admin_key,
        None,
        "Key for /admin/keys, which manages keys over HTTP; not served if unset",
        page="keys.md#over-http",
    )
    keys: dict[str, Any] | None = setting(
        parse_mapping, None, "Keys by their names", Names(environment=""), "keys.md#in-the-config-file"
    )
    teams: dict[str, Any] | None = setting(
        parse_mapping, None, "Teams by their names", Names(environment=""), "keys.md#in-the-config-file"
    )


@dataclass(frozen=True, slots=True)
class CacheOptions:
    """Kept answers"""

    cache_max_bytes: int = setting(
        whole_number_parser(MIB, 2**40),
        256 * MIB,
        "Bytes that kept answers may take in state_path; the oldest make room for new ones",
        page="cache.md",
    )
    cache_store: str = setting(
        choice_parser(["host", "redis"]),
        "host",
        "Where answers are kept: host (state_path), or redis, for all replicas that share redis_url",
        page="cache.md#several-hosts",
    )


@dataclass(frozen=True, slots=True)
class PluginOptions:
    """Plug-ins"""

    authenticate: PluginSpec | None = setting(
        parse_plugin,
        None,
        "A class that authenticates requests, instead of keys",
        Names(environment=""),
        "extending.md",
    )
    listeners: tuple[PluginSpec, ...] | None = setting(
        parse_plugins,
        None,
        "Classes that are called with the outcome of each request",
        Names(environment=""),
        "extending.md",
    )


@dataclass(frozen=True, slots=True)
class RequestOptions:
    """Requests and responses"""

    max_body_size: float = setting(
        parse_positive, 32, "MiB that a JSON body may have", page="running.md#memory-of-a-request"
    )
    compatible: bool = setting(
        parse_boolean,
        False,
        "Send errors with status 200, for clients that need it",
        Names(flags=(Flag(("--compatible",)),)),
        "errors.md",
    )
    skip_url_validation: bool = setting(
        parse_boolean, False, "Do not check at the start whether upstreams answer", page="running.md#at-the-start"
    )


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """Server (changes count after a restart)"""

    host: str = setting(
        parse_host,
        "0.0.0.0",
        "Address to listen on, or unix:/path/of/a/socket",
        Names(flags=(Flag(("--host", "--expose_host"), "ADDRESS"),)),
        "running.md#a-unix-socket",
    )
    port: int = setting(
        whole_number_parser(1, 65535),
        5000,
        "Port to listen on",
        Names(flags=(Flag(("--port", "--expose_port"), "PORT"),)),
    )
    num_workers: int | str = setting(
        parse_workers,
        4,
        "Worker processes, or auto: as many as there are processor cores for them",
        Names(environment="WORKERS"),
        "running.md#workers",
    )
    pin_workers: bool = setting(
        parse_boolean,
        True,
        "Bind each gthread worker to a core of its own if there are as many workers as cores",
        page="running.md#workers",
    )
    threads: int = setting(
        whole_number_parser(1, 10000),
        1024,
        "Requests at the same time in each gthread worker",
        page="running.md#workers",
    )
    worker_class: str = setting(
        choice_parser(WORKER_CLASSES),
        "gthread",
        "gthread, gevent (needs requirements-gevent.txt) or sync",
        page="running.md#workers",
    )
    drain_delay: float = setting(
        parse_seconds_or_zero,
        0.0,
        "At a stop, seconds in which /health already answers 503 while requests are served",
        page="running.md#stopping",
    )
    graceful_timeout: float = setting(
        parse_seconds, 30.0, "At a stop, seconds that requests in progress have to end", page="running.md#stopping"
    )


@dataclass(frozen=True, slots=True)
class ClientOptions:
    """Slow clients (changes count after a restart)"""

    section: ClassVar[str] = "client"

    header_timeout: float = setting(
        parse_seconds,
        30.0,
        "Seconds that a client may take to send the head of a request",
        page="running.md#clients-that-are-slow-to-send",
    )
    body_timeout: float = setting(
        parse_seconds,
        30.0,
        "Seconds that a client may pause while it sends a body",
        page="running.md#clients-that-are-slow-to-send",
    )
    write_timeout: float = setting(
        parse_seconds_or_zero,
        60.0,
        "Seconds after which a client that reads nothing is disconnected; 0: never",
        page="running.md#clients-that-stop-reading",
    )


@dataclass(frozen=True, slots=True)
class LogOptions:
    """Log"""

    section: ClassVar[str] = "log"

    level: str = setting(
        parse_log_level,
        "info",
        "warning: problems only; info: also a line for each request; debug: more, but never bodies, keys or queries",
        page="running.md#log",
    )
    format: str = setting(
        choice_parser(("text", "json")),
        "text",
        "text: lines for people; json: a JSON object a line, with the id of the trace",
        page="running.md#log",
    )


@dataclass(frozen=True, slots=True)
class JournalOptions:
    """Journal"""

    section: ClassVar[str] = "journal"

    path: str | None = setting(
        parse_text,
        None,
        "Folder of the journal, in which every request and its answer are recorded; no journal if unset",
        Names("output_path", flags=(Flag(("--output_path", "--output-path"), "DIR"),)),
        "journal.md",
    )
    bodies: str = setting(choice_parser(("full", "meta")), "full", "full: record bodies; meta: record only their sizes")
    max_bytes: int = setting(
        whole_number_parser(4096, 10**9), 100 * MIB, "Bytes after which a file is put aside and a new one begun"
    )
    files: int = setting(whole_number_parser(1, 1000), 5, "Files of each kind that are kept when put aside")


@dataclass(frozen=True, slots=True)
class OlderOptions:
    """Older settings, which others replace"""

    verbose: bool = setting(
        parse_boolean,
        True,
        "true: log_level info; false: log_level warning",
        Names(
            replaced_by="log_level",
            flags=(
                Flag(("--verbose",), about="log a line for each request"),
                Flag(("--quiet",), constant="false", about="log warnings only"),
            ),
        ),
    )
    debug: bool = setting(parse_boolean, False, "true: log_level debug", Names(replaced_by="log_level"))
    enable_payload_control: bool = setting(
        parse_boolean, False, "true: reduce images to max_payload_size", Names(replaced_by="image_shrink_to")
    )
    max_payload_size: float = setting(
        parse_positive, 20, "MiB for enable_payload_control", Names(replaced_by="image_shrink_to")
    )
