"""`python -m argoproxy.data NAME`: print a file of the package."""

from __future__ import annotations

import sys

from argoproxy.data import DASHBOARD, PRICES, SAMPLE_CONFIG, read_data

NAMES = (DASHBOARD, SAMPLE_CONFIG, PRICES)

if __name__ == "__main__":
    names = sys.argv[1:]
    if len(names) != 1 or names[0] not in NAMES:
        sys.stderr.write(f"usage: python -m argoproxy.data {'|'.join(NAMES)}\n")
        sys.exit(2)
    sys.stdout.write(read_data(names[0]))
