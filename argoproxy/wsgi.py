"""The WSGI application `argoproxy.wsgi:app`, built from the environment and the current folder of this process."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from argoproxy.config.values.config_error import ConfigError
from argoproxy.protocol.access.printable import printable_lines
from argoproxy.web.factory import build_application

try:
    app = build_application(os.environ, Path.cwd())
except ConfigError as error:
    # Some mistakes in plug-ins show only in a worker. Gunicorn would print a traceback in place of the message.
    sys.stderr.write("".join(f"argoproxy can't serve: {printable_lines(mistake)}\n" for mistake in error.mistakes))
    sys.exit(2)
