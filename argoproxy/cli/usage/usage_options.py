"""The options of `usage`."""

from __future__ import annotations

import argparse

from argoproxy.stores.local.sqlite_ledger import Grouping

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
        self.add_argument("--since", metavar="WHEN", help="from 2026-11-01, 2026-11-01T12:00, 7d ago, or today")
        self.add_argument("--until", metavar="WHEN", help="until the end of that day, or until that moment")
        formats = self.add_mutually_exclusive_group()
        formats.add_argument("--json", action="store_true", help="print JSON")
        formats.add_argument("--csv", action="store_true", help="print CSV")
        self.add_argument(
            "--config", default="", metavar="FILE", help="settings; else $CONFIG_PATH, else ./config.yaml"
        )
        self.add_argument("--state_path", default="", metavar="DIR", help="the folder of the ledger; days are in UTC")
