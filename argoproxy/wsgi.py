"""The WSGI application: `argoproxy.wsgi:app`, made of the environment and the folder of the process that imports it."""

from __future__ import annotations

import os
from pathlib import Path

from argoproxy.assembly import application

app = application(os.environ, Path.cwd())
