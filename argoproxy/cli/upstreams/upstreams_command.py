"""`upstreams`: what the running proxy knows of each upstream: whether it is asked, since when not, and why."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from argoproxy.cli.upstreams.state_reader import StatesUnavailable, read_states
from argoproxy.cli.upstreams.state_table import table_lines
from argoproxy.config.config import load
from argoproxy.config.values.config_error import ConfigError, explain_refusal
from argoproxy.config.values.flags import SettingFlags, make_parser, take_settings
from argoproxy.protocol.access.printable import printable

ABOUT = """\
Print the state of each upstream, as the proxy that runs at the port knows it: whether its circuit is open, since when
and why, when it is tried again, its open streams, requests that wait for it, and the models whose circuit is open. No
upstream is asked."""
FAILED_EXIT = 1


def main(arguments: Sequence[str], program: str) -> int:
    """Run `upstreams` and return the exit status: 1 if no proxy tells the states."""
    parser = make_parser(program, ABOUT)
    parser.add_argument("--json", dest="as_json", action="store_true", help="print JSON")
    options = vars(parser.parse_args(arguments))
    flags = take_settings(options)
    sys.stderr.writelines(f"warning: {printable(warning)}\n" for warning in flags.warnings)
    try:
        return _show(flags, as_json=options["as_json"])
    except ConfigError as error:
        sys.stderr.write(explain_refusal(error, "The upstreams can't be shown"))
        return error.exit_status
    except StatesUnavailable as error:
        sys.stderr.write(f"{printable(str(error))}\n")
        return FAILED_EXIT


def _show(flags: SettingFlags, *, as_json: bool) -> int:
    folder = Path.cwd()
    source, states = read_states(load(flags.environment(os.environ, folder), folder))
    if as_json:
        data = [{"name": name, **state} for name, state in states.items()]
        document = {"object": "list", "source": source, "data": data}
        sys.stdout.write(json.dumps(document, ensure_ascii=False, indent=2) + "\n")
    else:
        sys.stdout.writelines(f"{line}\n" for line in table_lines(states))
    return 0
