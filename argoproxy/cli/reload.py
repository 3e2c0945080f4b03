"""`reload`: make the proxy that runs at a port read its settings again."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence

from argoproxy.cli.serve import read_environment
from argoproxy.config.config import load
from argoproxy.config.values.config_error import USAGE_EXIT, ConfigError, explain_refusal
from argoproxy.config.values.flags import SettingFlags, Task, parse_for_task
from argoproxy.server.runtime import pid_at

NOT_RELOADED = "The settings were not reloaded; the proxy keeps the previous ones"


def main(arguments: Sequence[str], program: str) -> int:
    """Run `reload` and return the exit status."""
    return run_task(parse_for_task(Task.RELOAD, arguments, program))


def run_task(flags: SettingFlags) -> int:
    """Ask the proxy at the port of these settings to read them again, if they can be used."""
    try:
        port = load(*read_environment(flags)).server.port
    except ConfigError as error:
        sys.stderr.write(explain_refusal(error, NOT_RELOADED))
        return error.exit_status
    pid = pid_at(port)
    if pid is None:
        sys.stderr.write(f"{NOT_RELOADED}: no proxy of this user is running on port {port}\n")
        return USAGE_EXIT
    os.kill(pid, signal.SIGHUP)
    sys.stdout.write(f"Asked the proxy on port {port} (process {pid}) to reload its settings; see its log.\n")
    return 0
