"""The options of `usage`."""

from __future__ import annotations

import argparse
from datetime import date, datetime, time, timedelta, tzinfo

from argoproxy.protocol.keys.expiry import parse_duration
from argoproxy.stores.sqlite_ledger import Grouping

_ABOUT = """\
What requests used and cost, added up by key, team, model, upstream or day. It is read from the ledger, in the folder
that the setting state_path names; the proxy may run."""
_EPILOG = """
examples:
  %(prog)s
  %(prog)s --by day --since 7d
  %(prog)s --by model --key bob --since 2026-11-01 --until 2026-11-30 --csv
"""


class UsageOptionsParser(argparse.ArgumentParser):
    """Parses the arguments behind `usage`."""

    def __init__(self, program: str) -> None:
        super().__init__(
            prog=program,
            description=_ABOUT,
            epilog=_EPILOG,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        groups = [str(one) for one in Grouping]
        self.add_argument("--by", choices=groups, default=groups[0], help="how requests are grouped (key)")
        self.add_argument("--key", metavar="NAME", help="only requests of this key")
        self.add_argument("--since", metavar="WHEN", help="from 2026-11-01, 2026-11-01T12:00, or 7d ago")
        self.add_argument("--until", metavar="WHEN", help="until the end of that day, or until that moment")
        formats = self.add_mutually_exclusive_group()
        formats.add_argument("--json", action="store_true", help="print JSON")
        formats.add_argument("--csv", action="store_true", help="print CSV")
        self.add_argument(
            "--config", default="", metavar="FILE", help="settings; else $CONFIG_PATH, else ./config.yaml"
        )
        self.add_argument("--state_path", default="", metavar="DIR", help="the folder of the ledger; days are in UTC")


def parse_since(text: str, now: float, zone: tzinfo) -> float:
    """Parse the first moment that counts: the beginning of a day, a moment, or a duration ago; seconds since 1970.
    Raises ValueError."""
    return _parse_moment(text, now, zone, timedelta())


def parse_until(text: str, now: float, zone: tzinfo) -> float:
    """Parse the first moment that does not count any more: the end of a day, a moment, or a duration ago. Raises
    ValueError."""
    return _parse_moment(text, now, zone, timedelta(days=1))


def _parse_moment(text: str, now: float, zone: tzinfo, from_midnight: timedelta) -> float:
    try:
        if len(text) == len("2026-11-01"):
            day = date.fromisoformat(text) + from_midnight
            return datetime.combine(day, time(), zone).timestamp()
        if "T" in text:
            moment = datetime.fromisoformat(text)
            return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).timestamp()
        return now - parse_duration(text)
    except (ValueError, OverflowError):
        raise ValueError("must be a date such as 2026-11-01, a moment such as 2026-11-01T12:00, or 7d") from None
