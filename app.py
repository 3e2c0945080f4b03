"""The same as cot_proxy.py, by its other name."""

from __future__ import annotations

import sys

if __name__ == "__main__":
    from argoproxy.cli.main import main

    main(sys.argv[1:])
else:
    from cot_proxy import app

    __all__ = ["app"]
