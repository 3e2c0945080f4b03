"""The command `logs`, for a person who reads a journal: the last exchanges, one in full, numbers per model."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

from argoproxy.cli.logs.entries import exchange_of
from argoproxy.cli.logs.reader import MOST_IDS, Lines, Tail, alike, all_lines, lines_of, opened
from argoproxy.cli.logs.show import NoReplay, curl, exchange_text
from argoproxy.cli.logs.stats import Statistics
from argoproxy.cli.logs.tables import EXCHANGES, exchange_cells, heading, row, statistics_table
from argoproxy.protocol.access.masking import is_masked
from argoproxy.protocol.access.printable import printable
from argoproxy.protocol.json_text import dumps
from argoproxy.telemetry.journal.writer import CLIENT_FILE, SERVER_FILE

NOT_THERE_EXIT = 2
BETWEEN_LOOKS_S = 0.5
LAST_LINES = 20


class NotThere(Exception):
    """What was asked for is not in the journal, or there is none; the message is for the person who asked."""


def main(arguments: Sequence[str], folder: Path | None, port: int = 5000) -> int:
    """Do what is asked for, with the journal in a folder (None: no folder is configured): the exit status. `port` is
    where a request would be sent again."""
    asked = _parser().parse_args(arguments)
    try:
        asked.run(asked, _existing(folder), port)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return 0
    except BrokenPipeError:
        # Who read this has left; at the exit it must not be tried again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (NotThere, NoReplay, OSError) as error:
        sys.stderr.write(f"{printable(str(error))}\n")
        return NOT_THERE_EXIT
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"{Path(sys.argv[0]).name} logs", description="Read the journal.")
    tasks = parser.add_subparsers(required=True, metavar="tail | show ID | stats")
    tail = tasks.add_parser("tail", help="the last exchanges in a table, then new ones as they come")
    tail.add_argument("--lines", type=_lines, default=LAST_LINES, metavar="N", help=f"how many ({LAST_LINES})")
    tail.add_argument("--no-follow", action="store_true", help="end after the last one")
    tail.set_defaults(run=_tail)
    show = tasks.add_parser("show", help="one exchange in full")
    show.add_argument("id", type=_id, metavar="ID", help="its id, or as much of it as names no other one")
    show.add_argument("--curl", action="store_true", help="a command that sends the client's request again")
    show.set_defaults(run=_show)
    stats = tasks.add_parser("stats", help="requests, errors, tokens and latencies per model")
    stats.add_argument("--json", action="store_true", help="as JSON")
    stats.set_defaults(run=_stats)
    return parser


def _tail(asked: argparse.Namespace, folder: Path, port: int) -> None:
    lines = Lines()
    _say(heading(EXCHANGES))
    try:
        with closing(Tail(folder / CLIENT_FILE)) as tail:
            _say_rows(lines, tail.last(asked.lines))
            while not asked.no_follow:
                time.sleep(BETWEEN_LOOKS_S)
                _say_rows(lines, tail.new())
    finally:
        _warn_of(lines)


def _show(asked: argparse.Namespace, folder: Path, port: int) -> None:
    found = alike(folder / CLIENT_FILE, asked.id) or dict.fromkeys(alike(folder / SERVER_FILE, asked.id))
    if not found:
        raise NotThere(f"The journal in {folder} has no exchange whose id begins with {asked.id}.")
    if len(found) > 1:
        more = " …" if len(found) == MOST_IDS else ""
        raise NotThere(f"Several ids begin with {asked.id}: {' '.join(sorted(found))}{more}")
    ((logging_id, client),) = found.items()
    if not asked.curl:
        for text in exchange_text(client, lines_of(folder / SERVER_FILE, logging_id)):
            _say(text)
    elif client is None:
        raise NotThere(f"The journal in {folder} has no client's line of {logging_id}.")
    else:
        _say(curl(client, port))
        if is_masked(dumps(client.get("input")).decode()):
            sys.stderr.write("Base64 is not in the journal: this is not quite what the client sent.\n")


def _stats(asked: argparse.Namespace, folder: Path, port: int) -> None:
    lines = Lines()
    with opened(folder / CLIENT_FILE) as files:
        statistics = Statistics(map(exchange_of, lines.parsed(all_lines(files))))
    if asked.json:
        _say(json.dumps({**statistics.document(), "broken_lines": lines.broken}, indent=2))
        return
    for text in statistics_table(statistics):
        _say(text)
    _warn_of(lines)


def _say_rows(lines: Lines, raw: Iterator[bytes]) -> None:
    for line in lines.parsed(raw):
        _say(row(EXCHANGES, exchange_cells(exchange_of(line))))
    sys.stdout.flush()


def _say(text: str) -> None:
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.write(f"{text}\n".encode(encoding, "backslashreplace").decode(encoding))


def _warn_of(lines: Lines) -> None:
    if lines.broken:
        sys.stderr.write(f"Lines that can't be read: {lines.broken}\n")


def _existing(folder: Path | None) -> Path:
    if folder is None:
        raise NotThere("No log folder is configured: --output_path DIR, or output_path: in the config file.")
    if not folder.is_dir():
        raise NotThere(f"The log folder {folder} does not exist.")
    return folder


def _lines(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text} is no number of lines")
    return int(text)


def _id(text: str) -> str:
    if not text:
        raise argparse.ArgumentTypeError("an empty id names nothing")
    return text
