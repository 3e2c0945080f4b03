"""`top`: what the proxy does now, in a terminal; the data of the console's live view."""

from __future__ import annotations

import io
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from argoproxy.config.config import load
from argoproxy.config.values.config_error import ConfigError, explain_refusal
from argoproxy.config.values.flags import make_parser, take_settings
from argoproxy.console.live.live_text import make_screen
from argoproxy.console.live.live_view import LiveSamples, LiveView
from argoproxy.console.live.request_reader import RequestReader
from argoproxy.console.views.sources import SettingsReader
from argoproxy.protocol.access.printable import printable
from argoproxy.server.runtime import folder_at

ABOUT = """\
Show what the proxy at the port does, anew each second: requests and tokens a second, the requests under way, those that
ended last. Ctrl-C ends it. Where the output is no terminal, one look is printed. Requests under way are listed if the
proxy was started with CONSOLE."""
FAILED_EXIT, INTERRUPTED_EXIT = 1, 130
EVERY_S = 1.0
#: A screen of its own, without a cursor; and back.
_BEGIN, _END = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"
#: To the first line; the rest of a line, and of the screen, is cleared.
_HOME, _LINE_END, _REST = "\x1b[H", "\x1b[K\n", "\x1b[J"


def main(arguments: Sequence[str], program: str) -> int:
    """Run `top` and return the exit status."""
    parser = make_parser(program, ABOUT)
    parser.add_argument("--once", action="store_true", help="print one look and end")
    parser.add_argument("--json", dest="as_json", action="store_true", help="print one look as JSON and end")
    options = vars(parser.parse_args(arguments))
    flags = take_settings(options)
    sys.stderr.writelines(f"warning: {printable(warning)}\n" for warning in flags.warnings)
    here = Path.cwd()
    try:
        environ = flags.environment(os.environ, here)
        port = load(environ, here).server.port
    except ConfigError as error:
        sys.stderr.write(explain_refusal(error, "The settings can't be used"))
        return error.exit_status
    shared = folder_at(port)
    if shared is None:
        sys.stderr.write(f"No proxy of this user runs at port {port}; --port N names another one.\n")
        return FAILED_EXIT
    settings, samples = SettingsReader(environ, here, shared), LiveSamples(RequestReader(shared))
    try:
        return _show(lambda: samples.view(settings.read()), port, options)
    except KeyboardInterrupt:
        return INTERRUPTED_EXIT


def _show(look: Callable[[], LiveView], port: int, options: dict[str, bool]) -> int:
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # bars and names that the terminal's encoding lacks
    if options["once"] or options["as_json"] or not sys.stdout.isatty():
        look()
        time.sleep(EVERY_S)  # what is counted a second lies between two looks
        view = look()
        text = json.dumps(view, indent=2) if options["as_json"] else "\n".join(make_screen(view, port, (0, 0)))
        sys.stdout.write(f"{text}\n")
        return 0
    sys.stdout.write(_BEGIN)
    try:
        while folder_at(port) is not None:
            size = shutil.get_terminal_size()
            lines = make_screen(look(), port, (size.columns, size.lines))
            sys.stdout.write(_HOME + _LINE_END.join(lines) + _LINE_END.rstrip("\n") + _REST)
            sys.stdout.flush()
            time.sleep(EVERY_S)
    finally:
        sys.stdout.write(_END)
    sys.stderr.write(f"The proxy at port {port} has ended.\n")
    return 0
