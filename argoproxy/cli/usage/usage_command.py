"""`usage`: what requests used and cost, by key, team, model, upstream or day."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, tzinfo
from functools import partial
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from argoproxy.cli.usage.usage_options import UsageOptionsParser
from argoproxy.cli.usage.usage_tables import print_csv, print_json, print_table
from argoproxy.config.config import load
from argoproxy.config.values.config_error import ConfigError, explain_refusal
from argoproxy.errors import ProxyError
from argoproxy.protocol.access.printable import printable
from argoproxy.stores.local.sqlite_ledger import Grouping, LedgerFilter, UsageRow
from argoproxy.stores.postgres.chosen_stores import read_usage, read_usage_of_host
from argoproxy.stores.usage_period import parse_since, parse_until

FAILED_EXIT = 1
UsageReader = Callable[[Grouping, LedgerFilter, tzinfo], Sequence[UsageRow]]
_NO_FOLDER = "nothing is written down: set state_path (STATE_PATH, --state_path DIR), the folder of the ledger"


def main(arguments: Sequence[str], program: str) -> int:
    """Run `usage` and return the exit status."""
    options = UsageOptionsParser(program).parse_args(arguments)
    try:
        read, zone = _find_ledger(options.state_path, options.config)
        grouping = Grouping(options.by)
        rows = read(grouping, _choose(options, time.time(), zone), zone)
    except ConfigError as error:
        sys.stderr.write(explain_refusal(error, "The usage can't be shown"))
        return error.exit_status
    except ProxyError as error:
        sys.stderr.write(f"{printable(error.message)}\n")
        return FAILED_EXIT
    _printer(options)(options.by, _sort(rows, grouping))
    return 0


def _find_ledger(path: str, config_file: str) -> tuple[UsageReader, tzinfo]:
    """Return what reads the ledger, and the zone in which days begin. A folder that is named needs no settings. Raises
    ConfigError."""
    here = Path.cwd()
    if path:
        folder = here / Path(path).expanduser()
        if not folder.is_dir():
            raise ConfigError([f"{folder} is no folder"])
        return partial(read_usage_of_host, folder), UTC
    environ = {**os.environ, **({"CONFIG_PATH": str(here / config_file)} if config_file else {})}
    config = load(environ, here)
    if config.state_folder is None:
        raise ConfigError([_NO_FOLDER])
    return partial(read_usage, config), ZoneInfo(config.limits.zone)


def _choose(options: Any, now: float, zone: tzinfo) -> LedgerFilter:
    moments = []
    for name, parse, otherwise in (("since", parse_since, 0.0), ("until", parse_until, float("inf"))):
        text = getattr(options, name)
        try:
            moments.append(otherwise if text is None else parse(text, now, zone))
        except ValueError as error:
            raise ConfigError([f"--{name} {text!r} {error}"]) from None
    return LedgerFilter(moments[0], moments[1], options.key)


def _sort(rows: Sequence[UsageRow], grouping: Grouping) -> Sequence[UsageRow]:
    """Return days in their order, others by what they cost, the dearest first."""
    if grouping is Grouping.DAY:
        return rows
    return sorted(rows, key=lambda row: (-(row.cost_nanos or 0), -row.total_tokens, row.name))


def _printer(options: Any) -> Callable[[str, Sequence[UsageRow]], None]:
    if options.json:
        return print_json
    return print_csv if options.csv else print_table
