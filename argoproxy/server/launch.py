"""Run Gunicorn in the process of the command line."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent
FAILED_EXIT = 1


def run_gunicorn(environ: Mapping[str, str]) -> int:
    """Do in this process what `python -m gunicorn` would do in this environment. Returns the exit status.

    A new interpreter would take as long again to import what this one has. The arguments must be those of such a
    command all the same: at USR2 the master starts its successor with them.
    """
    path = os.pathsep.join(filter(None, (str(PACKAGE.parent), environ.get("PYTHONPATH"))))
    os.environ.clear()
    os.environ.update({**environ, "PYTHONPATH": path})
    sys.path.insert(0, str(PACKAGE.parent))
    # Imported now: the defaults of Gunicorn's settings are the environment and the folder at its import.
    from gunicorn import __main__ as command  # noqa: PLC0415
    from gunicorn.errors import HaltServer  # noqa: PLC0415

    settings = PACKAGE / "server" / "gunicorn_config.py"
    sys.argv[:] = [str(command.__file__), "-c", str(settings), "argoproxy.wsgi:app"]
    try:
        command.run(prog="gunicorn")
    except SystemExit as exit_:
        # The master halts with 3 or 4 if its workers can't start (gunicorn/arbiter.py); here 3 is for a taken port.
        if isinstance(exit_.__context__, HaltServer):
            return FAILED_EXIT
        raise
    return 0
