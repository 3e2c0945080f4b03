"""`python -m argoproxy`: the same as the installed command."""

import sys

from argoproxy.cli.main import main

if __name__ == "__main__":
    main(sys.argv[1:], "argoproxy")
