"""Run Gunicorn in the process of the command line."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

PACKAGE = Path(__file__).resolve().parent.parent


def run_gunicorn(environ: Mapping[str, str]) -> NoReturn:
    """Do in this process what `python -m gunicorn` would do in this environment.

    A new interpreter would take as long again to import what this one has. The arguments must be those of such a
    command all the same: at USR2 the master starts its successor with them.
    """
    path = os.pathsep.join(filter(None, (str(PACKAGE.parent), environ.get("PYTHONPATH"))))
    os.environ.clear()
    os.environ.update({**environ, "PYTHONPATH": path})
    sys.path.insert(0, str(PACKAGE.parent))
    # Imported now: the defaults of Gunicorn's settings are the environment and the folder at its import.
    from gunicorn import __main__ as command  # noqa: PLC0415

    settings = PACKAGE / "server" / "gunicorn_config.py"
    sys.argv[:] = [str(command.__file__), "-c", str(settings), "argoproxy.wsgi:app"]
    command.run(prog="gunicorn")
    sys.exit(0)
