#!/usr/bin/env bash
# Every check and every test, from a clean clone on: ./run_tests.sh [pytest arguments]
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")"
venv=${ARGOPROXY_TEST_VENV:-.venv-test}
mark=$venv/installed.txt

if ! cat requirements*.txt | cmp --silent - "$mark"; then
    "${PYTHON:-python3}" -m venv "$venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --requirement requirements-dev.txt
    cat requirements*.txt >"$mark"
fi

PATH=$PWD/$venv/bin:$PATH
ruff format --check --quiet .
ruff check --quiet .
mypy
coverage erase
coverage run -m pytest "$@"
coverage combine --quiet
coverage report
coverage report --include 'argoproxy/protocol/*' --fail-under 100 >/dev/null ||
    { echo 'The core is not covered whole:' >&2; coverage report --include 'argoproxy/protocol/*' --skip-covered >&2; exit 1; }
