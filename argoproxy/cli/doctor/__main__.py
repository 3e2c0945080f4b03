"""`python -m argoproxy.cli.doctor`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from argoproxy.cli.doctor.examination import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ, Path.cwd()))
