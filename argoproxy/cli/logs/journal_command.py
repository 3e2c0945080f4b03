"""`logs`: find the journal that the settings or a flag name, and read it."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from argoproxy.cli.logs import command
from argoproxy.config.config import load
from argoproxy.config.values.config_error import ConfigError, explain_refusal
from argoproxy.config.values.settings import BY_KEY
from argoproxy.server.runtime import running_ports


def main(arguments: Sequence[str], program: str) -> int:
    """Run `logs …` and return the exit status."""
    folder = Path.cwd()
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--output_path", "--output-path", dest="path", default="")
    parser.add_argument("--config", default="")
    parser.add_argument("--port", default="")
    parsed, rest = parser.parse_known_args(arguments)
    flags = {
        "CONFIG_PATH": str(folder / parsed.config) if parsed.config else "",
        "OUTPUT_PATH": parsed.path,
        "PORT": parsed.port,
    }
    try:
        config = load({**os.environ, **{name: value for name, value in flags.items() if value}}, folder)
    except ConfigError as error:
        sys.stderr.write(explain_refusal(error))
        return error.exit_status
    port = config.server.port if parsed.port else _likely_port(config.server.port)
    return command.main(rest, config.journal.folder if config.journal else None, port)


def _likely_port(configured: int) -> int:
    """Return the configured port; if that is the default, the port of the only running proxy of this user, if any."""
    ports = list(running_ports()) if configured == BY_KEY["port"].default else []
    return ports[0] if len(ports) == 1 else configured
