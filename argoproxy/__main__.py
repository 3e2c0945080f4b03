"""`python -m argoproxy`: the same as the installed command."""

import sys

from argoproxy.cli.main import main

main(sys.argv[1:], "argoproxy")
