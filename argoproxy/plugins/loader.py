"""Classes of the operator's own: found, made and checked at the start, guarded while they serve.

`python -m argoproxy.plugins.loader` checks, in a process of its own, those that standard input names: the process that
starts the workers must not load what they load.
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
from argoproxy.protocol.access.auth import Principal
from argoproxy.protocol.access.secrets import CREDENTIAL_HEADERS, without_credentials
from argoproxy.protocol.http_messages import Headers, check_head, without
from argoproxy.upstreams.access import PluginSpec

logger = logging.getLogger("argoproxy")

CHECK_S = 60.0
#: What a class of somebody else's may raise. One that ends the process would end all that is served.
FAILURES = (Exception, SystemExit)
#: What a class must have, by what it is for.
NEEDS = {
    "upstream": ("completion_request", "read_completion", "read_error"),
    "auth": ("__call__",),
    "authenticate": ("authenticate",),
    "listener": ("__call__",),
}


#: The names that the methods of an upstream had up to version 0.3; classes may still use them.
RENAMED = {
    "completion_request": "request",
    "read_completion": "batches",
    "read_error": "error",
    "aliases": "aliases",
    "embedding_requests": "embedding_requests",
    "read_embeddings": "embeddings",
    "model_list_request": "model_list_request",
    "read_model_list": "listing",
    "static_models": "static_models",
    "probe_request": "probe",
    "forward_request": "forward",
}


@dataclass(frozen=True, slots=True)
class Plugin:
    """A class that the settings name: what for, where that stands, and what it is made with."""

    use: str
    place: str
    own: PluginSpec


def configured_plugins(config: Config) -> Iterator[Plugin]:
    """Give all classes that settings name."""
    for upstream in config.upstreams:
        if isinstance(upstream.target, PluginTarget):
            yield Plugin("upstream", f"upstreams.{upstream.name}", upstream.target.spec)
        if upstream.access.auth:
            yield Plugin("auth", f"upstreams.{upstream.name}.auth", upstream.access.auth)
    if config.authenticate:
        yield Plugin("authenticate", "authenticate", config.authenticate)
    for own in config.listeners:
        yield Plugin("listener", "listeners", own)


def add_plugin_folders(folders: Sequence[str]) -> None:
    """Have modules found in these folders too, in their order."""
    sys.path[:0] = [folder for folder in folders if folder not in sys.path]


def instantiate(one: Plugin) -> Any:
    """Make an object of a class. Raises ConfigError with what is missing."""
    module_name, _, class_name = one.own.path.partition(":")
    with _told(one, f"{module_name} can't be imported"):
        module = importlib.import_module(module_name)
    kind = getattr(module, class_name, None)
    if not isinstance(kind, type):
        raise ConfigError([f"{one.place}: the module {module_name} has no class {class_name}"])
    members = {name for base in kind.__mro__ for name in vars(base)}
    missing = [need for need in NEEDS[one.use] if not members & {need, RENAMED.get(need, need)}]
    if missing:
        raise ConfigError([f"{one.place}: {one.own.path} lacks {', '.join(missing)}"])
    with _told(one, f"{one.own.path} refuses its options"):
        return kind(**one.own.options)


def find_mistakes(classes: Sequence[Plugin]) -> list[str]:
    """Try to make all of them: what is wrong, a line each."""
    mistakes: list[str] = []
    for one in classes:
        try:
            instantiate(one)
        except ConfigError as error:
            mistakes += error.mistakes
    return mistakes


def check_plugins(config: Config) -> None:
    """See in a process of its own that all classes can be used. Raises ConfigError."""
    classes = list(configured_plugins(config))
    if not classes:
        return
    asked = {
        "folders": config.class_folders,
        "classes": [[one.use, one.place, one.own.path, dict(one.own.options)] for one in classes],
    }
    try:
        mistakes = json.loads(_in_a_process_of_its_own(json.dumps(asked, default=str).encode()))
    except subprocess.TimeoutExpired:
        names = ", ".join(dict.fromkeys(one.own.path for one in classes))
        mistakes = [f"the classes ({names}) were not made within {CHECK_S:.0f} seconds"]
    except (subprocess.SubprocessError, ValueError):
        mistakes = [f"{one.place}: {one.own.path} ends the process that loads it" for one in classes]
    if mistakes:
        raise ConfigError(mistakes)


def _in_a_process_of_its_own(asked: bytes) -> bytes:
    """Give the last line that the check writes."""
    path = os.pathsep.join(filter(None, (str(Path(__file__).resolve().parents[2]), os.environ.get("PYTHONPATH"))))
    done = subprocess.run(
        [sys.executable, "-m", "argoproxy.plugins.loader"],
        input=asked,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        timeout=CHECK_S,
        check=True,
    )
    return done.stdout.rpartition(b"\n")[2]


@contextmanager
def call_safely(path: str) -> Iterator[None]:
    """Let failures that have words for the client pass, log any other one with the class's name. Raises
    OwnClassFailed."""
    try:
        yield
    except (ProxyError, ClientGone, GeneratorExit):
        raise
    except FAILURES as error:
        logger.exception("%s failed", path)
        raise PluginFailed("A part of this door that its operator added failed on this request.") from error


class PluginAuthenticator:
    """An RequestAuthenticator that asks a class of the operator's own. Every header that may carry a credential stays here."""

    def __init__(self, own: PluginSpec) -> None:
        self._path = own.path
        self._object = instantiate(Plugin("authenticate", "authenticate", own))

    def authenticate(self, headers: Headers) -> Principal:
        with call_safely(self._path):
            principal = self._object.authenticate(headers)
            if principal is None:
                raise AuthenticationError("Nobody is known by what was sent.")
            if not isinstance(principal, Principal) or not isinstance(principal.name, str):
                raise TypeError("authenticate() gives no Principal with a name")
            return principal

    def without_credentials(self, headers: Headers) -> Headers:
        return without(headers, CREDENTIAL_HEADERS)

    def query_without_credentials(self, query: str) -> str:
        return without_credentials(query)


class PluginAuth:
    """Signs requests by a class of the operator's own, a requests.auth.AuthBase."""

    def __init__(self, place: str, own: PluginSpec) -> None:
        self._path = own.path
        self._object: Callable[[Any], Any] = instantiate(Plugin("auth", place, own))

    def __call__(self, prepared: Any) -> Any:
        """Give the request with what was added to it. Raises OwnClassFailed."""
        with call_safely(self._path):
            signed = self._object(prepared)
            if not all(hasattr(signed, name) for name in ("method", "url", "headers", "body")):
                raise TypeError("gives no request")
            check_head(signed.method, signed.url, signed.headers.items())
            return signed


@contextmanager
def _told(one: Plugin, said: str) -> Iterator[None]:
    """Turn whatever a class raises into a mistake of the settings."""
    try:
        yield
    except FAILURES as error:
        reason = f"{type(error).__name__}: {error}" if not isinstance(error, ValueError) else str(error)
        raise ConfigError([f"{one.place}: {said}: {' '.join(reason.split())[:300]}"]) from None


def _main() -> None:
    asked = json.load(sys.stdin)
    add_plugin_folders(asked["folders"])
    classes = [Plugin(use, place, PluginSpec(path, options)) for use, place, path, options in asked["classes"]]
    mistakes = find_mistakes(classes)
    sys.stdout.write("\n" + json.dumps(mistakes))
    sys.stdout.flush()
    os._exit(0)  # whatever the classes have begun, threads and last words too, ends here


if __name__ == "__main__":
    _main()
