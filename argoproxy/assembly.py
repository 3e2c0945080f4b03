"""From settings to a served application: the one place where everything is put together."""

from __future__ import annotations

import logging
import math
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import certifi
from flask import Flask

from argoproxy.config import Config, load
from argoproxy.images import Images
from argoproxy.journey import Proxy
from argoproxy.memory import Remembered
from argoproxy.observe.log_line import LogLine
from argoproxy.protocol.models import Models
from argoproxy.targets import ArgoTarget, DemoTarget, NativeTarget, Target
from argoproxy.transport import Transport
from argoproxy.upstreams import Upstream
from argoproxy.upstreams.argo.gateway import Argo
from argoproxy.upstreams.demo import Demo
from argoproxy.upstreams.native import Native
from argoproxy.upstreams.openai import OpenAI
from argoproxy.watch import Poller
from argoproxy.web import create_app

KEEP_LIST_S = 60.0
LOG_FORMAT = "%(asctime)s.%(msecs)03d %(levelname)s %(message)s"


def application(environ: Mapping[str, str], folder: Path) -> Flask:
    """Read the settings and make the WSGI application. Raises ConfigError."""
    return assembled(load(environ, folder))


def assembled(config: Config) -> Flask:
    """Make the WSGI application of these settings; to be called in the process that serves it."""
    _set_up_log(config)
    models = Models(
        upstream=_upstream(config.target),
        rules=config.rules,
        timeouts=config.timeouts,
        tags=config.tags,
        think_filter=config.think_filter,
        default_model=config.default_model,
    )
    gateway = _gateway(config.target)
    proxy = Proxy(
        models=models,
        gateway=replace(models, upstream=gateway) if gateway else None,
        transport=Transport(
            connections=config.threads,
            tick_s=config.heartbeat_s or math.inf,
            ca_bundle=config.ca_bundle,
            proxies=config.proxies,
        ),
        listeners=(LogLine(sys.stderr.fileno()),) if config.verbose else (),
        heartbeat_s=config.heartbeat_s,
        listed=Remembered(KEEP_LIST_S),
        images=Images(config.images, config.ca_bundle or certifi.where()),
    )
    return create_app(proxy, Poller())


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
    logger = logging.getLogger("argoproxy")
    logger.handlers = [handler]
    logger.propagate = False
    logger.setLevel(logging.DEBUG if config.debug else logging.INFO if config.verbose else logging.WARNING)
