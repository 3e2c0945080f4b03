"""From settings to a served application: the one place where everything is put together."""

from __future__ import annotations

import logging
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import certifi
from flask import Flask

from argoproxy.config import Config, load
from argoproxy.current import Current
from argoproxy.errors import ConfigError
from argoproxy.health import Probe
from argoproxy.images import Images
from argoproxy.journey import Proxy
from argoproxy.memory import Remembered
from argoproxy.observe.log_line import LogLine
from argoproxy.observe.metrics import Metrics
from argoproxy.observe.slots import FOLDER_VARIABLE
from argoproxy.protocol.models import Models
from argoproxy.snapshot import VARIABLE
from argoproxy.targets import ArgoTarget, DemoTarget, NativeTarget, Target
from argoproxy.transport import Transport
from argoproxy.trip import Listener
from argoproxy.upstreams import Upstream
from argoproxy.upstreams.argo.gateway import Argo
from argoproxy.upstreams.demo import Demo
from argoproxy.upstreams.native import Native
from argoproxy.upstreams.openai import OpenAI
from argoproxy.watch import Poller, Watch
from argoproxy.web import create_app

logger = logging.getLogger("argoproxy")

KEEP_LIST_S = 60.0
LOG_FORMAT = "%(asctime)s.%(msecs)03d %(levelname)s %(message)s"


def application(environ: Mapping[str, str], folder: Path) -> Flask:
    """Read the settings and make the WSGI application, in the process that serves it. Raises ConfigError."""
    poller, published = Poller(), environ.get(VARIABLE)
    metrics = _metrics(environ.get(FOLDER_VARIABLE, ""))
    counting = (metrics,) if metrics else ()
    current = Current(
        lambda: assembled(load(environ, folder), poller, counting), Path(published) if published else None
    )
    return create_app(current, poller, metrics)


def assembled(config: Config, poller: Poller, listeners: Sequence[Listener]) -> Proxy:
    """Make the proxy of these settings; `listeners` outlive it. Raises ConfigError when it would ask for keys that
    nobody has."""
    if config.asks_for_keys and not config.keys:
        raise ConfigError(["keys are asked for, but none is set: API_KEY_SECRET sets one"])
    _set_up_log(config)
    transport = Transport(
        connections=config.threads,
        tick_s=config.heartbeat_s or math.inf,
        ca_bundle=config.ca_bundle,
        proxies=config.proxies,
    )
    models = Models(
        upstream=_upstream(config.target),
        rules=config.rules,
        timeouts=config.timeouts,
        tags=config.tags,
        think_filter=config.think_filter,
        default_model=config.default_model,
        allowed=config.allowed,
    )
    gateway = _gateway(config.target)
    return Proxy(
        models=models,
        gateway=replace(models, upstream=gateway) if gateway else None,
        transport=transport,
        listeners=(*listeners, *((LogLine(sys.stderr.fileno()),) if config.verbose else ())),
        heartbeat_s=config.heartbeat_s,
        listed=Remembered(KEEP_LIST_S),
        images=Images(config.images, config.ca_bundle or certifi.where()),
        probe=Probe(models.upstream, transport, lambda: Watch(None, poller)),
        keys=config.keys,
        open_routes=config.open_routes,
    )


def _metrics(folder: str) -> Metrics | None:
    """Begin to count, where the master has made a folder for it."""
    try:
        return Metrics(Path(folder)) if folder else None
    except OSError as error:
        logger.warning("this worker counts nothing, /metrics is off in it: %s", error.strerror)
        return None


def _upstream(target: Target) -> Upstream:
    if isinstance(target, DemoTarget):
        return Demo()
    if isinstance(target, ArgoTarget):
        return Argo(target.urls, target.identity)
    if isinstance(target, NativeTarget):
        return Native(target.base, identity=target.identity)
    return OpenAI(target.base, target.authorization.text, target.secret.text.encode())


def _gateway(target: Target) -> Upstream | None:
    beside = target.gateway if isinstance(target, NativeTarget) else target
    return _upstream(beside) if isinstance(beside, ArgoTarget) else None


def _set_up_log(config: Config) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter(LOG_FORMAT, "%Y-%m-%dT%H:%M:%S"))
    logger.handlers = [handler]
    logger.propagate = False
    logger.setLevel(logging.DEBUG if config.debug else logging.INFO if config.verbose else logging.WARNING)
