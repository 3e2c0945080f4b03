"""Build the WSGI application from the settings, and build its proxy anew when they are reloaded.

Everything is put together here: classes elsewhere get what they need as arguments.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import certifi
from flask import Flask

from argoproxy.config.config import Config, load
from argoproxy.config.kinds.target import UpstreamSettings
from argoproxy.config.resilience import most_waiting
from argoproxy.config.values.config_error import ConfigError
from argoproxy.config.values.layers import SNAPSHOT_VARIABLE
from argoproxy.images.image_workers import ImageWorkers
from argoproxy.images.inline import Images
from argoproxy.pipeline.live_row import describe_now
from argoproxy.pipeline.proxy import Proxy, UpstreamLink
from argoproxy.pipeline.shared.active_probe import ActiveProbe
from argoproxy.pipeline.shared.caches import CachedResult, RefusedModes
from argoproxy.pipeline.shared.health import Probe
from argoproxy.plugins.loader import configured_plugins, instantiate
from argoproxy.protocol.access.masking import Masker
from argoproxy.protocol.api.cors import Cors
from argoproxy.server.process import limit_unused_memory
from argoproxy.server.runtime import is_draining
from argoproxy.server.start_check import EndpointServer, distinct, make_check
from argoproxy.shared_state.upstream_memory import SharedMemory
from argoproxy.shared_state.upstream_places import UpstreamPlaces
from argoproxy.shared_state.upstream_state import UpstreamState, UpstreamStates
from argoproxy.telemetry.journal.writer import JournalFiles, JournalWriter
from argoproxy.telemetry.live.live_requests import LiveRequests
from argoproxy.telemetry.metrics import Metrics
from argoproxy.telemetry.outcome import Listener
from argoproxy.telemetry.slots import FOLDER_VARIABLE
from argoproxy.transport.watch import Poller, Watch
from argoproxy.web.app import create_app
from argoproxy.web.state_factory import (
    DatabaseSharing,
    build_accountant,
    build_authenticator,
    build_cache,
    build_key_desk,
    build_store_checks,
    make_fault_finder,
)
from argoproxy.web.telemetry_factory import build_access_log, build_tracer, configure_logging, count_nothing
from argoproxy.web.upstream_factory import collect_secrets, make_transport, models_of, provider

logger = logging.getLogger("argoproxy")

#: How long a list of models, a failure to get one, and the refusal of a mode are remembered.
KEEP_LIST_S = 60.0
KEEP_FAILURE_S = 10.0
KEEP_REFUSAL_S = 600.0
#: The key in `app.extensions` of the function that checks once whether the endpoints answer.
START_CHECK = "argoproxy.server.start_check"


#: Inode and time of the file of published settings.
Stamp = tuple[int, int]


def build_application(environ: Mapping[str, str], folder: Path) -> Flask:
    """Read the settings and build the WSGI application, in the worker that serves it. Raises ConfigError."""
    limit_unused_memory()
    poller, published = Poller(), environ.get(SNAPSHOT_VARIABLE)
    counts = environ.get(FOLDER_VARIABLE, "")
    metrics, config = _create_metrics(counts), load(environ, folder)
    live = LiveRequests(Path(counts), metrics.slot, describe_now) if metrics and config.console.console else None
    counting: Sequence[Listener] = [one for one in (metrics, live) if one]
    shared = Path(published) if published else None
    is_stopping = partial(is_draining, shared.parent) if shared else lambda: False
    build = partial(
        build_proxy, poller=poller, listeners=counting, is_stopping=is_stopping, memory=_create_memory(metrics, counts)
    )
    sharing = DatabaseSharing(metrics.count_dropped_entries if metrics else count_nothing)

    def build_latest() -> Proxy:
        latest = load(environ, folder)
        if metrics:
            metrics.expect_models(rule.name for rule in latest.rules if not rule.is_pattern)
        proxy = build(latest)
        sharing.use(latest)
        return proxy

    current = CurrentProxy(build_latest, shared)
    app = create_app(current, poller, metrics, live)
    app.extensions[START_CHECK] = make_start_check(config, current())
    return app


class CurrentProxy:
    """Returns the proxy of the latest settings; a request that runs keeps the one it began with.

    The master publishes settings by renaming a file. A worker compares the file's inode and time at each request, which
    costs one `stat`: it needs no thread or signal to learn of a reload.
    """

    def __init__(self, build: Callable[[], Proxy], published: Path | None) -> None:
        """`build` builds a proxy of the settings that are published now; without `published` it is called once."""
        self._build = build
        self._published = published
        self._lock = threading.Lock()
        self._stamp: Stamp = (0, 0)
        self._stamp = self._read_stamp()
        self._proxy = build()

    def __call__(self) -> Proxy:
        if self._published is not None and self._read_stamp() != self._stamp:
            with self._lock:
                self._reload()
        return self._proxy

    def _reload(self) -> None:
        stamp = self._read_stamp()
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            proxy = self._build()
        except (ConfigError, OSError) as error:
            logger.warning("The new settings can't be used; this worker keeps the previous ones: %s", error)
            return
        previous, self._proxy = self._proxy, proxy
        previous.close()

    def _read_stamp(self) -> Stamp:
        try:
            status = os.stat(self._published) if self._published else None
        except OSError:
            return self._stamp
        return (status.st_ino, status.st_mtime_ns) if status else self._stamp


def make_start_check(config: Config, proxy: Proxy) -> Callable[[], None]:
    """Return a function that checks once whether the endpoints answer, and logs a warning for each that does not."""
    if config.requests.skip_url_validation:
        return lambda: None
    endpoints = (
        EndpointServer(settings.name, proxy.links[settings.name].transport.next_hop(url), _ca_bundle(settings))
        for settings in config.upstreams
        for url in settings.target.urls
    )
    return make_check(distinct(endpoints))


def _ca_bundle(settings: UpstreamSettings) -> str:
    bundle = settings.access.ca_bundle
    return certifi.where() if bundle is None else bundle


def build_proxy(
    config: Config,
    poller: Poller,
    listeners: Sequence[Listener],
    is_stopping: Callable[[], bool],
    memory: SharedMemory,
) -> Proxy:
    """Build the proxy of these settings. `listeners` and `memory` are kept over reloads; `is_stopping` tells whether
    the server will stop soon. Raises ConfigError if keys are required but none is set, or if a plug-in can't be
    used."""
    authenticator = build_authenticator(config)
    journal = _create_journal(config)
    masker = Masker(collect_secrets(config))
    configure_logging(config, journal, masker)
    models = models_of(config)
    gateway = [config.gateway] if config.gateway else []
    unwatched = partial(Watch, None, poller)
    build_link = partial(_build_link, config=config, unwatched=unwatched, workers=ImageWorkers())
    links = {settings.name: build_link(settings) for settings in (*gateway, *config.upstreams)}
    probed = [(item.upstream, links[item.upstream.name].transport) for item in models.providers]
    # Any other is asked by each request in any case.
    spared = [pair for pair in probed if pair[0].name in config.rules.spared_upstreams]
    states = _build_states(config, memory)
    accountant = build_accountant(config)
    return Proxy(
        models=models,
        gateway=models.bound_to(provider(config.gateway)) if config.gateway else None,
        links=links,
        listeners=(*listeners, *_build_plugin_listeners(config), *build_access_log(config, journal)),
        heartbeat=config.heartbeat,
        probe=Probe(probed, unwatched, is_stopping, make_fault_finder(config, authenticator, accountant)),
        refused_modes=RefusedModes(KEEP_REFUSAL_S),
        states=states,
        places=_open_places(config, memory),
        accountant=accountant,
        cache=build_cache(config),
        active_probes=[ActiveProbe(one, transport, states.of(one.name), unwatched) for one, transport in spared],
        authenticator=authenticator,
        key_desk=build_key_desk(config),
        shared_stores=build_store_checks(config),
        open_routes=config.open_routes,
        masker=masker,
        journal=JournalWriter(journal, config.journal.bodies, masker) if journal and config.journal else None,
        compatible=config.requests.compatible,
        body_limit=config.body_limit,
        tracer=build_tracer(config, listeners),
        prices=config.prices,
        tells_cost=config.tells_cost,
        cors=Cors(config.cors_origins) if config.cors_origins else None,
    )


def _build_link(
    settings: UpstreamSettings, config: Config, unwatched: Callable[[], Watch], workers: ImageWorkers
) -> UpstreamLink:
    images = Images(replace(config.images, inline=settings.inline_images), config.ca_bundle or certifi.where(), workers)
    return UpstreamLink(make_transport(settings, config), images, CachedResult(KEEP_LIST_S, KEEP_FAILURE_S), unwatched)


def _build_states(config: Config, memory: SharedMemory) -> UpstreamStates:
    gateway = [config.gateway] if config.gateway else []
    states = (
        UpstreamState(settings.name, memory.of(settings.name, settings.target.urls), settings.resilience.breaker)
        for settings in (*gateway, *config.upstreams)
    )
    return UpstreamStates({state.name: state for state in states})


def _open_places(config: Config, memory: SharedMemory) -> UpstreamPlaces | None:
    """Return the places at upstreams, if any upstream or rule limits them; kept over reloads."""
    gateway = [config.gateway] if config.gateway else []
    limits = (settings.resilience.max_concurrent for settings in (*gateway, *config.upstreams))
    if not any(limits) and not any(rule.resilience.rule_limit for rule in config.rules):
        return None
    memory.places.most_waiting = most_waiting(config.server)
    return memory.places


def _build_plugin_listeners(config: Config) -> Iterator[Listener]:
    for plugin in configured_plugins(config):
        if plugin.kind == "listener":
            yield instantiate(plugin)


def _create_metrics(folder: str) -> Metrics | None:
    """Return the metrics of this worker, None if the master created no folder for them."""
    try:
        return Metrics(Path(folder)) if folder else None
    except OSError as error:
        logger.warning("code=metrics_disabled: metrics are disabled in this worker: %s", error.strerror)
        return None


def _create_memory(metrics: Metrics | None, folder: str) -> SharedMemory:
    """Return what this worker shares with the others about upstreams, in the slot in which it counts."""
    return SharedMemory(Path(folder), metrics.slot) if metrics else SharedMemory(None)


def _create_journal(config: Config) -> JournalFiles | None:
    journal = config.journal
    return JournalFiles(journal.folder, journal.max_bytes, journal.files) if journal else None
