"""The command `logs`: the last requests of a journal, one request in full, numbers per model."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

from argoproxy.cli.logs.render import (
    REQUESTS,
    full_request,
    request_cells,
    statistics_table,
    table_head,
    table_row,
)
from argoproxy.protocol.access.masking import is_masked
from argoproxy.protocol.access.printable import printable
from argoproxy.protocol.json_text import dumps
from argoproxy.telemetry.journal.curl import NotRepeatable, curl_command
from argoproxy.telemetry.journal.lines import Statistics, read_line
from argoproxy.telemetry.journal.reader import MAX_IDS, LineParser, Tail, find_ids, find_lines, open_files, read_lines
from argoproxy.telemetry.journal.writer import CLIENT_FILE, SERVER_FILE

NOT_FOUND_EXIT = 2
POLL_S = 0.5
DEFAULT_LINES = 20


class NotInJournal(Exception):
    """There is no journal, or it does not hold what was asked for; the message is for the user."""


def main(arguments: Sequence[str], folder: Path | None, port: int = 5000) -> int:
    """Run the command on the journal in a folder (None: no folder is configured) and return the exit status. `port` is
    where `--curl` sends a request."""
    options = _make_parser().parse_args(arguments)
    try:
        options.run(options, _check_folder(folder), port)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return 0
    except BrokenPipeError:
        # The reader of the pipe has left (`| head`). Python flushes at exit, which must not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (NotInJournal, NotRepeatable, OSError) as error:
        sys.stderr.write(f"{printable(str(error))}\n")
        return NOT_FOUND_EXIT
    return 0


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"{Path(sys.argv[0]).name} logs", description="Read the journal.")
    tasks = parser.add_subparsers(required=True, metavar="tail | show ID | stats")
    tail = tasks.add_parser("tail", help="the last requests as a table, then each new one")
    tail.add_argument(
        "--lines", type=_line_count, default=DEFAULT_LINES, metavar="N", help=f"how many ({DEFAULT_LINES})"
    )
    tail.add_argument("--no-follow", action="store_true", help="do not wait for new ones")
    tail.add_argument("--json", action="store_true", help="the lines of the journal, as they are: one JSON object each")
    tail.set_defaults(run=_tail)
    show = tasks.add_parser("show", help="one request in full")
    show.add_argument("id", type=_id, metavar="ID", help="its id, or the beginning of it")
    show.add_argument("--curl", action="store_true", help="print a command that sends the client's request again")
    show.add_argument("--json", action="store_true", help="its lines of both files, as one JSON object")
    show.set_defaults(run=_show)
    stats = tasks.add_parser("stats", help="requests, errors, tokens and latencies per model")
    stats.add_argument("--json", action="store_true", help="as JSON")
    stats.set_defaults(run=_stats)
    return parser


def _tail(options: argparse.Namespace, folder: Path, port: int) -> None:
    parser = LineParser()
    print_lines = _print_documents if options.json else _print_rows
    if not options.json:
        _print(table_head(REQUESTS))
    try:
        with closing(Tail(folder / CLIENT_FILE)) as tail:
            print_lines(parser, tail.last_lines(options.lines))
            while not options.no_follow:
                time.sleep(POLL_S)
                print_lines(parser, tail.new_lines())
    finally:
        _warn_of_broken_lines(parser)


def _show(options: argparse.Namespace, folder: Path, port: int) -> None:
    matches = find_ids(folder / CLIENT_FILE, options.id) or dict.fromkeys(find_ids(folder / SERVER_FILE, options.id))
    if not matches:
        raise NotInJournal(f"The journal in {folder} has no request whose id begins with {options.id}.")
    if len(matches) > 1:
        more = " …" if len(matches) == MAX_IDS else ""
        raise NotInJournal(f"Several ids begin with {options.id}: {' '.join(sorted(matches))}{more}")
    ((logging_id, client),) = matches.items()
    if options.json:
        _print(json.dumps({"client": client, "server": list(find_lines(folder / SERVER_FILE, logging_id))}, indent=2))
    elif not options.curl:
        for text in full_request(client, find_lines(folder / SERVER_FILE, logging_id)):
            _print(text)
    elif client is None:
        raise NotInJournal(f"The journal in {folder} has no client's line of {logging_id}.")
    else:
        _print(curl_command(client, port))
        if is_masked(dumps(client.get("input")).decode()):
            sys.stderr.write("The journal shortens base64: this is not exactly what the client sent.\n")


def _stats(options: argparse.Namespace, folder: Path, port: int) -> None:
    parser = LineParser()
    with open_files(folder / CLIENT_FILE) as files:
        statistics = Statistics(map(read_line, parser.parse(read_lines(files))))
    if options.json:
        _print(json.dumps({**statistics.document(), "broken_lines": parser.broken}, indent=2))
        return
    for text in statistics_table(statistics):
        _print(text)
    _warn_of_broken_lines(parser)


def _print_rows(parser: LineParser, lines: Iterator[bytes]) -> None:
    for document in parser.parse(lines):
        _print(table_row(REQUESTS, request_cells(read_line(document))))
    sys.stdout.flush()


def _print_documents(parser: LineParser, lines: Iterator[bytes]) -> None:
    for document in parser.parse(lines):
        _print(json.dumps(document))
    sys.stdout.flush()


def _print(text: str) -> None:
    """Print a line, with escapes for what the terminal's encoding does not have."""
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.write(f"{text}\n".encode(encoding, "backslashreplace").decode(encoding))


def _warn_of_broken_lines(parser: LineParser) -> None:
    if parser.broken:
        sys.stderr.write(f"Lines that could not be read: {parser.broken}\n")


def _check_folder(folder: Path | None) -> Path:
    if folder is None:
        raise NotInJournal("No log folder is configured: use --output_path DIR, or output_path: in the config file.")
    if not folder.is_dir():
        raise NotInJournal(f"The log folder {folder} does not exist.")
    return folder


def _line_count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text} is not a number of lines")
    return int(text)


def _id(text: str) -> str:
    if not text:
        raise argparse.ArgumentTypeError("the id must not be empty")
    return text
