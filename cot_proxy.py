"""The way in: `gunicorn -c gunicorn.conf.py cot_proxy:app`, or `python cot_proxy.py [config.yaml] [flags]`."""

from __future__ import annotations

import sys

if __name__ == "__main__":
    from argoproxy.cli.main import main

    main(sys.argv[1:])
else:
    from argoproxy.wsgi import app

    __all__ = ["app"]
