"""What a terminal shows at a start, in place of lines of the log: one screen, and below it the endpoints' state."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

from argoproxy.config.config import Config
from argoproxy.server.banner import show_screen
from argoproxy.server.terminal import Painter

#: By name, because it is above this folder.
STATE_CHECK = "argoproxy.cli.start_state"
PACKAGE_PARENT = Path(__file__).resolve().parents[2]
#: Gunicorn's messages of each start and stop (gunicorn/arbiter.py, workers/base.py).
ROUTINE = {
    "Starting gunicorn %s",
    "Listening at: %s (%s)",
    "Using worker: %s",
    "Booting worker with pid: %s",
    "Handling signal: %s",
    "Worker exiting (pid: %s)",
    "Shutting down: %s",
}


def wants_screen(config: Config) -> bool:
    """Return whether there is a terminal, and its user has asked neither for less nor for more."""
    return config.log.level == "info" and not config.log.is_json and sys.stderr.isatty()


def is_no_routine(record: logging.LogRecord) -> bool:
    """Return whether a person at a terminal wants a record: not what Gunicorn logs at each start and stop."""
    return record.msg not in ROUTINE


def show_start(config: Config, made_key: str) -> None:
    """Show the screen, and have a process of its own show the state of the endpoints: that imports and waits much,
    which neither the master nor a worker should do."""
    lines = show_screen(config, made_key, Painter(sys.stderr, os.environ))
    sys.stderr.write("".join(f"{line}\n" for line in lines))
    sys.stderr.flush()
    if config.requests.skip_url_validation:
        return
    path = os.pathsep.join(filter(None, (str(PACKAGE_PARENT), os.environ.get("PYTHONPATH"))))
    null = subprocess.DEVNULL
    try:
        subprocess.Popen(  # noqa: S603 the command is ours
            [sys.executable, "-m", STATE_CHECK, str(os.getpid())],
            env={**os.environ, "PYTHONPATH": path},
            stdin=null,
            stdout=null,
        )
    except OSError as error:
        sys.stderr.write(f"The state of the endpoints is not shown: {error.strerror}\n")
