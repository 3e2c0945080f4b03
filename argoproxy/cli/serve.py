"""`serve`, and command lines without a command: start the proxy, or do what a flag asks for instead."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path

from argoproxy.cli.commands import COMMANDS
from argoproxy.config.config import load
from argoproxy.config.values.config_error import USAGE_EXIT, ConfigError, explain_refusal
from argoproxy.config.values.flags import SettingFlags, Task, parse_arguments
from argoproxy.protocol.access.printable import printable
from argoproxy.server.launch import run_gunicorn
from argoproxy.server.ports import check_port


def main(arguments: Sequence[str], program: str) -> int:
    """Run a command line of flags. Returns the exit status; does not return while the proxy serves."""
    parsed = parse_arguments(arguments, program)
    if parsed.file in COMMANDS and not Path(parsed.file).exists():
        sys.stderr.write(f"{program}: the command {parsed.file} must come first, before all flags\n")
        return USAGE_EXIT
    if parsed.task is Task.SERVE:
        return _serve(parsed)
    # A proxy that starts needs none of these.
    name = "reload" if parsed.task is Task.RELOAD else "config_command"
    status: int = import_module(f"argoproxy.cli.{name}").run_task(parsed)
    return status


def read_environment(flags: SettingFlags) -> tuple[Mapping[str, str], Path]:
    """Return the environment with flags in it, and the folder that paths start from; print warnings about flags."""
    folder = Path.cwd()
    sys.stderr.writelines(f"warning: {printable(warning)}\n" for warning in flags.warnings)
    return flags.environment(os.environ, folder), folder


def _serve(flags: SettingFlags) -> int:
    environ, folder = read_environment(flags)
    try:
        config = load(environ, folder)
        # systemd passes an open socket in LISTEN_FDS: then the port is rightly in use.
        if "LISTEN_FDS" not in environ:
            check_port(config.server.host, config.server.port)
    except ConfigError as error:
        sys.stderr.write(explain_refusal(error))
        return error.exit_status
    return run_gunicorn(environ)
