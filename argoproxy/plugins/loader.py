"""Plug-ins: load the classes that the settings name, check them at the start, and contain their failures.

The check runs in a subprocess, `python -m argoproxy.plugins.loader`. The master process never imports plug-ins: what
they import (ssl, requests) must be imported after gevent has patched the workers (gevent issue 1016), and threads or
exit handlers that they start must not live in the process that forks.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from argoproxy.config.config import Config
from argoproxy.config.kinds.plugin_kind import PluginTarget
from argoproxy.config.values.config_error import ConfigError
from argoproxy.errors import AuthenticationError, ClientGone, PluginFailed, ProxyError
from argoproxy.plugins.old_names import install_old_modules, missing_methods
from argoproxy.protocol.access.auth import Principal
from argoproxy.protocol.access.secrets import CREDENTIAL_HEADERS, drop_credentials
from argoproxy.protocol.http_messages import Headers, check_head, without
from argoproxy.upstreams.access import PluginSpec

logger = logging.getLogger("argoproxy")

CHECK_TIMEOUT_S = 60.0
#: What a plug-in may raise. SystemExit too: it would end a worker with all its requests.
FAILURES = (Exception, SystemExit)
#: The methods that a class must have, by the kind of plug-in.
REQUIRED_METHODS = {
    "upstream": ("completion_request", "read_completion", "read_error"),
    "auth": ("__call__",),
    "authenticate": ("authenticate",),
    "listener": ("__call__",),
}


@dataclass(frozen=True, slots=True)
class ConfiguredPlugin:
    """A plug-in that the settings name: its kind, a key of REQUIRED_METHODS, and the setting that names it."""

    kind: str
    setting: str
    spec: PluginSpec


def configured_plugins(config: Config) -> Iterator[ConfiguredPlugin]:
    """Yield all plug-ins that the settings name."""
    for upstream in config.upstreams:
        if isinstance(upstream.target, PluginTarget):
            yield ConfiguredPlugin("upstream", f"upstreams.{upstream.name}", upstream.target.spec)
        if upstream.access.auth:
            yield ConfiguredPlugin("auth", f"upstreams.{upstream.name}.auth", upstream.access.auth)
    if config.authenticate:
        yield ConfiguredPlugin("authenticate", "authenticate", config.authenticate)
    for spec in config.listeners:
        yield ConfiguredPlugin("listener", "listeners", spec)


def add_plugin_folders(folders: Sequence[str]) -> None:
    """Let plug-ins be imported from these folders, in their order, and use their old imports of this package."""
    sys.path[:0] = [folder for folder in folders if folder not in sys.path]
    install_old_modules()


def instantiate(plugin: ConfiguredPlugin) -> Any:
    """Import the class of a plug-in and call it with its options. Raises ConfigError."""
    module_name, _, class_name = plugin.spec.path.partition(":")
    with _failures_as_config_error(plugin, f"cannot import {module_name}"):
        module = importlib.import_module(module_name)
    factory = getattr(module, class_name, None)
    if not isinstance(factory, type):
        raise ConfigError([f"{plugin.setting}: the module {module_name} has no class {class_name}"])
    members = [name for base in factory.__mro__ for name in vars(base)]
    if missing := missing_methods(members, REQUIRED_METHODS[plugin.kind]):
        raise ConfigError([f"{plugin.setting}: {plugin.spec.path} lacks the method {', '.join(missing)}"])
    with _failures_as_config_error(plugin, f"{plugin.spec.path} rejects its options"):
        return factory(**plugin.spec.options)


def find_mistakes(plugins: Sequence[ConfiguredPlugin]) -> list[str]:
    """Instantiate all plug-ins and return what is wrong with them, one line each."""
    mistakes: list[str] = []
    for plugin in plugins:
        try:
            instantiate(plugin)
        except ConfigError as error:
            mistakes += error.mistakes
    return mistakes


def check_plugins(config: Config, timeout_s: float = CHECK_TIMEOUT_S) -> None:
    """Check in a subprocess that all plug-ins can be instantiated. Raises ConfigError."""
    plugins = list(configured_plugins(config))
    if not plugins:
        return
    task = {
        "folders": config.plugin_folders,
        "plugins": [[one.kind, one.setting, one.spec.path, dict(one.spec.options)] for one in plugins],
    }
    try:
        mistakes = json.loads(_run_check(json.dumps(task, default=str).encode(), timeout_s))
    except subprocess.TimeoutExpired:
        names = ", ".join(dict.fromkeys(one.spec.path for one in plugins))
        mistakes = [f"the plug-ins ({names}) did not start within {timeout_s:.0f} seconds"]
    except (subprocess.SubprocessError, ValueError):
        mistakes = [f"{one.setting}: {one.spec.path} ends the process that loads it" for one in plugins]
    if mistakes:
        raise ConfigError(mistakes)


def _run_check(task: bytes, timeout_s: float) -> bytes:
    """Run `_main` in a subprocess and return the last line that it writes: plug-ins may print, too."""
    path = os.pathsep.join(filter(None, (str(Path(__file__).resolve().parents[2]), os.environ.get("PYTHONPATH"))))
    process = subprocess.run(
        [sys.executable, "-m", "argoproxy.plugins.loader"],
        input=task,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        timeout=timeout_s,
        check=True,
    )
    return process.stdout.rpartition(b"\n")[2]


@contextmanager
def catch_failures(path: str) -> Iterator[None]:
    """Log an exception of the plug-in of this path and raise PluginFailed instead; a ProxyError passes."""
    try:
        yield
    except (ProxyError, ClientGone, GeneratorExit):
        raise
    except FAILURES as error:
        logger.exception("code=plugin_failed plugin=%s", path)
        raise PluginFailed("A plug-in of this proxy failed; the server's log has the details.") from error


class PluginAuthenticator:
    """A RequestAuthenticator that asks a plug-in. Every header that may carry a credential is removed from requests."""

    def __init__(self, spec: PluginSpec) -> None:
        self._path = spec.path
        self._object = instantiate(ConfiguredPlugin("authenticate", "authenticate", spec))

    def authenticate(self, headers: Headers) -> Principal:
        with catch_failures(self._path):
            principal = self._object.authenticate(headers)
            if principal is None:
                raise AuthenticationError("Invalid credentials.")
            if not isinstance(principal, Principal) or not isinstance(principal.name, str):
                raise TypeError(f"authenticate() returned {principal!r}, not a Principal with a name")
            return principal

    def without_credentials(self, headers: Headers) -> Headers:
        return without(headers, CREDENTIAL_HEADERS)

    def query_without_credentials(self, query: str) -> str:
        return drop_credentials(query)


class PluginAuth:
    """Signs requests with a plug-in, a requests.auth.AuthBase."""

    def __init__(self, setting: str, spec: PluginSpec) -> None:
        self._path = spec.path
        self._object: Callable[[Any], Any] = instantiate(ConfiguredPlugin("auth", setting, spec))

    def __call__(self, prepared: Any) -> Any:
        """Return the signed request. Raises PluginFailed, also if it can't be sent."""
        with catch_failures(self._path):
            signed = self._object(prepared)
            if not all(hasattr(signed, name) for name in ("method", "url", "headers", "body")):
                raise TypeError(f"it returned {type(signed).__name__}, not a PreparedRequest")
            check_head(signed.method, signed.url, signed.headers.items())
            return signed


@contextmanager
def _failures_as_config_error(plugin: ConfiguredPlugin, problem: str) -> Iterator[None]:
    try:
        yield
    except FAILURES as error:
        reason = f"{type(error).__name__}: {error}" if not isinstance(error, ValueError) else str(error)
        if isinstance(error, ImportError) and (error.name or "").startswith("argoproxy."):
            reason += " (import from argoproxy.api: docs/extending.md)"
        raise ConfigError([f"{plugin.setting}: {problem}: {' '.join(reason.split())[:300]}"]) from None


def _main() -> None:
    task = json.load(sys.stdin)
    add_plugin_folders(task["folders"])
    plugins = [
        ConfiguredPlugin(kind, setting, PluginSpec(path, options)) for kind, setting, path, options in task["plugins"]
    ]
    mistakes = find_mistakes(plugins)
    sys.stdout.write("\n" + json.dumps(mistakes))
    sys.stdout.flush()
    os._exit(0)  # ends threads that plug-ins have started, and skips their exit handlers


if __name__ == "__main__":
    _main()
