"""From settings to a served application: the one place where everything is put together."""

from __future__ import annotations

import logging
import math
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import certifi
from flask import Flask

from argoproxy.config.config import Config, load
from argoproxy.config.kinds.targets import ArgoTarget, PluginTarget, Target, UpstreamSettings
from argoproxy.config.values.config_error import ConfigError
from argoproxy.config.values.layers import secrets_in
from argoproxy.config.values.snapshot import VARIABLE
from argoproxy.images.inline import Images, ImageWorkers
from argoproxy.pipeline.caches import CachedResult, RefusedModes
from argoproxy.pipeline.handlers import Proxy
from argoproxy.pipeline.health import Probe
from argoproxy.pipeline.upstream_calls import UpstreamLink
from argoproxy.plugins.loader import OwnAuth, PluginAuthenticator, made, wanted
from argoproxy.protocol.access.auth import ApiKeys, Authenticator
from argoproxy.protocol.access.masking import Masker
from argoproxy.protocol.api.cors import Cors
from argoproxy.protocol.http_messages import COOKIES_DOWN
from argoproxy.server.allocator import return_large_blocks
from argoproxy.server.runtime import is_draining
from argoproxy.server.start_check import Endpoint, distinct, look_at
from argoproxy.telemetry.access_log import AccessLog
from argoproxy.telemetry.journal.files import JournalFiles, JournalHandler
from argoproxy.telemetry.journal.writer import JournalWriter
from argoproxy.telemetry.log_format import PrintableFormatter
from argoproxy.telemetry.metrics import Metrics
from argoproxy.telemetry.outcome import Listener
from argoproxy.telemetry.slots import FOLDER_VARIABLE
from argoproxy.transport.transport import Transport
from argoproxy.transport.watch import Poller, Watch
from argoproxy.web.app import create_app
from argoproxy.web.reload import Current
from argoproxy.web.upstream_factory import models_of, provider

logger = logging.getLogger("argoproxy")

KEEP_LIST_S = 60.0
KEEP_FAILURE_S = 10.0
KEEP_REFUSAL_S = 600.0
#: Where an application tells what looks at its endpoints at the start.
START_CHECK = "argoproxy.server.start_check"
LOG_FORMAT = "%(asctime)s.%(msecs)03d %(levelname)s %(message)s"


def application(environ: Mapping[str, str], folder: Path) -> Flask:
    """Read the settings and make the WSGI application, in the process that serves it. Raises ConfigError."""
    return_large_blocks()
    poller, published = Poller(), environ.get(VARIABLE)
    metrics = _metrics(environ.get(FOLDER_VARIABLE, ""))
    counting = (metrics,) if metrics else ()
    shared = Path(published) if published else None
    current = Current(lambda: assembled(load(environ, folder), poller, counting, draining_in(shared)), shared)
    app = create_app(current, poller, metrics)
    app.extensions[START_CHECK] = start_check(load(environ, folder), current())
    return app


def start_check(config: Config, proxy: Proxy) -> Callable[[], None]:
    """Return what looks once whether the endpoints answer, and warns where one does not."""
    if config.skips_url_validation:
        return lambda: None
    endpoints = (
        Endpoint(one.name, proxy.links[one.name].transport.next_hop(url), _bundle(one))
        for one in config.upstreams
        for url in _urls(one.target)
    )
    return look_at(distinct(endpoints))


def _urls(target: Target) -> Sequence[str]:
    if isinstance(target, ArgoTarget):
        return target.urls.chat, target.urls.stream, target.urls.embed
    return (target.url,)


def _bundle(settings: UpstreamSettings) -> str:
    bundle = settings.access.ca_bundle
    return certifi.where() if bundle is None else bundle


def draining_in(published: Path | None) -> Callable[[], bool]:
    """Give who knows whether the proxy will stop soon, by the folder in which its settings are published."""
    return partial(is_draining, published.parent) if published else lambda: False


def assembled(config: Config, poller: Poller, listeners: Sequence[Listener], draining: Callable[[], bool]) -> Proxy:
    """Make the proxy of these settings; `listeners` outlive it, `draining` tells whether it will stop soon. Raises
    ConfigError when it would ask for keys that nobody has, or where a class of the operator's own can't be used."""
    if config.asks_for_keys and not config.keys:
        raise ConfigError(["keys are asked for, but none is set: API_KEY_SECRET sets one"])
    journal = _journal(config)
    masker = Masker(_secrets(config))
    _set_up_log(config, journal, masker)
    models = models_of(config)
    beside = [config.gateway] if config.gateway else []
    gateways = [models.bound_to(provider(settings)) for settings in beside]
    unwatched = partial(Watch, None, poller)
    link_to = partial(_link, config=config, unwatched=unwatched, workers=ImageWorkers())
    links = {settings.name: link_to(settings) for settings in (*beside, *config.upstreams)}
    asked = [(one.upstream, links[one.upstream.name].transport) for one in models.providers]
    return Proxy(
        models=models,
        gateway=gateways[0] if gateways else None,
        links=links,
        listeners=(*listeners, *_own_listeners(config), *_log_lines(config, journal)),
        heartbeat=config.heartbeat,
        probe=Probe(asked, unwatched, draining),
        refused_modes=RefusedModes(KEEP_REFUSAL_S),
        authenticator=_authenticator(config),
        open_routes=config.open_routes,
        masker=masker,
        journal=JournalWriter(journal, config.journal.bodies, masker) if journal and config.journal else None,
        compatible=config.compatible,
        body_limit=config.body_limit,
        cors=Cors(config.cors_origins) if config.cors_origins else None,
    )


def _link(
    settings: UpstreamSettings, config: Config, unwatched: Callable[[], Watch], workers: ImageWorkers
) -> UpstreamLink:
    access = settings.access
    transport = Transport(
        connections=config.threads,
        tick_s=config.heartbeat.every_s or math.inf,
        access=access,
        auth=OwnAuth(f"upstreams.{settings.name}.auth", access.auth) if access.auth else None,
        not_passed=frozenset() if settings.passes_cookies and not config.authenticate else COOKIES_DOWN,
    )
    images = Images(replace(config.images, inline=settings.inline_images), config.ca_bundle or certifi.where(), workers)
    return UpstreamLink(transport, images, CachedResult(KEEP_LIST_S, KEEP_FAILURE_S), unwatched)


def _authenticator(config: Config) -> Authenticator | None:
    if config.authenticate:
        return PluginAuthenticator(config.authenticate)
    return ApiKeys(config.keys) if config.keys else None


def _own_listeners(config: Config) -> Iterator[Listener]:
    for one in wanted(config):
        if one.use == "listener":
            yield made(one)


def _metrics(folder: str) -> Metrics | None:
    """Begin to count, where the master has made a folder for it."""
    try:
        return Metrics(Path(folder)) if folder else None
    except OSError as error:
        logger.warning("this worker counts nothing, /metrics is off in it: %s", error.strerror)
        return None


def _journal(config: Config) -> JournalFiles | None:
    journal = config.journal
    return JournalFiles(journal.folder, journal.max_bytes, journal.files) if journal else None


def _secrets(config: Config) -> Iterator[str]:
    """Give everything that must never stand in the log or the journal."""
    yield from (key.secret.text for key in config.keys)
    for upstream in (*config.upstreams, *([config.gateway] if config.gateway else ())):
        yield from (secret.text for secret in upstream.secrets)
        classes = (upstream.target.own if isinstance(upstream.target, PluginTarget) else None, upstream.access.auth)
        yield from (text for one in classes if one for text in secrets_in(one.options))


def _log_lines(config: Config, journal: JournalFiles | None) -> Iterator[Listener]:
    """Give who writes a line for each request: to standard error, and into the journal."""
    if config.verbose:
        yield AccessLog(partial(os.write, sys.stderr.fileno()))
        if journal:
            yield AccessLog(lambda line: journal.log(line.decode()))


def _set_up_log(config: Config, journal: JournalFiles | None, masker: Masker) -> None:
    handlers = [logging.StreamHandler(sys.stderr), *((JournalHandler(journal),) if journal else ())]
    for handler in handlers:
        handler.setFormatter(PrintableFormatter(LOG_FORMAT, "%Y-%m-%dT%H:%M:%S", masker))
    logger.handlers = list[logging.Handler](handlers)
    logger.propagate = False
    logger.setLevel(logging.DEBUG if config.debug else logging.INFO if config.verbose else logging.WARNING)
