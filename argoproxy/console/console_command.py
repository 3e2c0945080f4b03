"""`console`: a page that shows what the running proxy does; for a browser on this machine."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from argoproxy.config.config import load
from argoproxy.config.values.config_error import ConfigError, explain_refusal
from argoproxy.config.values.flags import make_parser, take_settings
from argoproxy.console.console_server import run_console
from argoproxy.protocol.access.printable import printable

ABOUT = """\
Serve a page that shows what the proxy at the port does: requests, models, upstreams, keys, what was used, settings,
the log, and one request with all its parts. It prints the address to open, which holds a token. The page changes
nothing."""
FAILED_EXIT = 1


def main(arguments: Sequence[str], program: str) -> int:
    """Run `console` until it is interrupted, and return the exit status."""
    parser = make_parser(program, ABOUT)
    flags = take_settings(vars(parser.parse_args(arguments)))
    sys.stderr.writelines(f"warning: {printable(warning)}\n" for warning in flags.warnings)
    folder = Path.cwd()
    try:
        environ = flags.environment(os.environ, folder)
        run_console(load(environ, folder), environ, folder)
    except ConfigError as error:
        sys.stderr.write(explain_refusal(error, "The console can't be started"))
        return error.exit_status
    except OSError as error:
        sys.stderr.write(f"The console can't be started: {error.strerror}\n")
        return FAILED_EXIT
    except KeyboardInterrupt:
        return 130
    return 0
