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
if [ $# -gt 0 ]; then
    coverage run -m pytest "$@"
else
    # What needs no server, and the laboratory, run beside what mostly waits for one.
    coverage run -m pytest --ignore tests/wire >.venv-test.log 2>&1 &
    coverage run -m pytest tests/wire || failed=1
    wait $! || failed=1
    cat .venv-test.log
    [ -z "${failed:-}" ]
fi
coverage combine --quiet
coverage report
coverage report --include 'argoproxy/protocol/*' --fail-under 100 >/dev/null ||
    { echo 'The core is not covered whole:' >&2; coverage report --include 'argoproxy/protocol/*' --skip-covered >&2; exit 1; }
