"""The WSGI application: `argoproxy.wsgi:app`, made of the environment and the folder of the process that imports it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from argoproxy.config.values.config_error import ConfigError
from argoproxy.protocol.access.printable import printable_lines
from argoproxy.web.factory import application

try:
    app = application(os.environ, Path.cwd())
except ConfigError as error:
    # What only a worker can find out, of a class of the operator's own: Gunicorn would show where, not what.
    sys.stderr.write("".join(f"argoproxy can't serve: {printable_lines(mistake)}\n" for mistake in error.mistakes))
    sys.exit(2)
