"""The rest of the screen of a start: which models the endpoints list, and what is wrong with them, in doctor's words.

`python -m argoproxy.cli.start_state PID` is started by the master, whose id is PID, once it listens. It shows nothing
if that is gone by then, and refuses nothing: the proxy serves in any case.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from argoproxy.cli.model_catalog import Catalog
    from argoproxy.server.terminal import Painter

#: Seconds after which nothing more is shown.
LONGEST_S = 30
#: How many models are named.
MOST_NAMES = 8
#: How much the processes that serve go first.
NICE = 10


def main(master: int) -> None:
    """Ask the upstreams and write what they list, while the master lives."""
    # Imported in the process that was left alone, see below: that takes a while.
    from argoproxy.cli.model_catalog import ask_upstreams  # noqa: PLC0415
    from argoproxy.config.config import build  # noqa: PLC0415
    from argoproxy.config.values.config_error import ConfigError  # noqa: PLC0415
    from argoproxy.config.values.layers import read_layers  # noqa: PLC0415
    from argoproxy.server.terminal import Painter  # noqa: PLC0415

    folder = Path.cwd()
    try:
        layers = read_layers(os.environ, folder)
        catalog = ask_upstreams(build(layers, os.environ, folder), layers)
    except ConfigError:
        return
    lines = "".join(f"{line}\n" for line in show_state(catalog, Painter(sys.stderr, os.environ)))
    if Path("/proc", str(master)).exists():
        sys.stderr.write(lines)


def show_state(catalog: Catalog, painter: Painter) -> Iterator[str]:
    """Yield the rows of the models, and of the endpoint with the most urgent problem."""
    from argoproxy.cli.doctor.judge.findings import Status  # noqa: PLC0415
    from argoproxy.protocol.access.printable import printable  # noqa: PLC0415
    from argoproxy.server.terminal import Color  # noqa: PLC0415

    names = [printable(entry["id"]) for entry in catalog.entries]
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    if names:
        yield painter.row("Models", f"{', '.join(names[:MOST_NAMES])}{more}")
    if not catalog.problems:
        yield painter.row("Endpoint", painter.paint("ok", Color.GOOD))
        return
    problem = catalog.problems[0]
    color = Color.BAD if problem.status is Status.FAIL else Color.DOUBTFUL
    yield painter.row("Endpoint", printable(problem.text), color)
    if problem.fix:
        yield painter.row("", f"fix: {printable(problem.fix)}")


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    # What goes on is no child of Gunicorn's master, which takes the status of any child for that of a worker.
    if os.fork():
        os._exit(0)
    signal.alarm(LONGEST_S)
    os.nice(NICE)
    main(int(sys.argv[1]))
