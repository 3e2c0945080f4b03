"""The way in: `gunicorn -c gunicorn.conf.py cot_proxy:app`, or `python cot_proxy.py [config.yaml] [flags]`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

if __name__ == "__main__":
    from argoproxy.cli import main

    main(sys.argv[1:])
else:
    from argoproxy.assembly import application

    app = application(os.environ, Path.cwd())
