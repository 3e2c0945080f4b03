"""Keys of the config file, as a proxy that starts or reads its settings again declares them.

For a database that is done in a process of its own: the master may not import what opens connections, because gevent
patches the workers that it forks, and no connection may be carried over a fork.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

from argoproxy.config.config import Config, load
from argoproxy.config.values.config_error import ConfigError
from argoproxy.config.values.layers import SNAPSHOT_VARIABLE
from argoproxy.errors import StateUnavailable
from argoproxy.stores.keys import declared_keys, key_files
from argoproxy.stores.postgres.chosen_stores import open_key_store

#: In the folder of keys, while those of the config file have yet to be declared.
UNDECLARED = "keys.undeclared"
#: What starting Python takes at most, besides waiting for the server.
_START_S = 60.0


def with_keys(config: Config) -> Config:
    """Prepare the keys of a proxy that starts or reads its settings again, and return the settings with warnings about
    them. Raises ConfigError."""
    if config.database is None or config.managed is None:
        return declared_keys.with_keys(config)
    return replace(config, warnings=(*config.warnings, *_ask_process(2 * config.database.timeout_s + _START_S)))


def prepare_shared_keys(config: Config) -> tuple[str, ...]:
    """Prepare the database, declare the keys of the config file, publish all on this host; return warnings. A database
    that can't be used is no reason not to start: the workers go on trying. Raises ConfigError."""
    if config.managed is None:
        return ()
    marker = config.managed.published / UNDECLARED
    store = open_key_store(config)
    try:
        store.create()
        warnings = declared_keys.declare_keys(config, store, time.time())
    except StateUnavailable as error:
        _mark(marker)
        known = (
            "the keys that this host knows stay valid"
            if _has_keys(config.managed.published)
            else "this host knows no key"
        )
        return (f"code=keys_not_writable: {error.message} Until it can be used, {known}",)
    marker.unlink(missing_ok=True)
    return warnings


def _mark(marker: Path) -> None:
    try:
        marker.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        marker.touch(mode=0o600)
    except OSError as error:
        raise ConfigError([f"state_path {str(marker.parent)!r}: {error.strerror}"]) from None


def _has_keys(folder: Path) -> bool:
    try:
        return not key_files.read_snapshot(folder).is_withdrawn
    except (OSError, ValueError):
        return False


def _ask_process(timeout_s: float) -> tuple[str, ...]:
    """Run this module in a process, and return its warnings. Raises ConfigError."""
    path = os.pathsep.join(filter(None, (str(Path(__file__).resolve().parents[3]), os.environ.get("PYTHONPATH"))))
    # The settings that are published are those before a reload.
    environ = {name: value for name, value in os.environ.items() if name != SNAPSHOT_VARIABLE}
    command = [sys.executable, "-m", "argoproxy.stores.postgres.start_keys"]
    try:
        done = subprocess.run(  # noqa: S603 this module
            command, env={**environ, "PYTHONPATH": path}, stdout=subprocess.PIPE, timeout=timeout_s, check=True
        )
        found = json.loads(done.stdout.rpartition(b"\n")[2])
    except (subprocess.SubprocessError, ValueError):
        return ("code=keys_not_writable: the process that declares the keys of the config file did not end well",)
    if found["mistakes"]:
        raise ConfigError(found["mistakes"])
    return tuple(found["warnings"])


def _main() -> None:
    found: dict[str, list[str]] = {"warnings": [], "mistakes": []}
    try:
        found["warnings"] += prepare_shared_keys(load(os.environ, Path.cwd()))
    except ConfigError as error:
        found["mistakes"] += error.mistakes
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    _main()
