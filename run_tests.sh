#!/usr/bin/env bash
# Checks and tests, from a clean clone on.
#
#   ./run_tests.sh            every check, and every test but the slow ones (SLOW in tests/conftest.py): a sixth of the CPU
#   ./run_tests.sh --all      everything
#   ./run_tests.sh --quick    what a change breaks most often, in under a minute: pure tests and one running proxy
#   ./run_tests.sh --coverage everything, and how much of the code it runs: takes half as long again
#   ./run_tests.sh --browser  only tests/browser/, which no other run collects: the console in Chromium
#   ./run_tests.sh --scale    only tests/scale/, which no other run collects: replicas, with Redis, PostgreSQL, nginx, HAProxy
#   ./run_tests.sh ARGUMENTS  everything about the tests that pytest finds by these arguments
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

die() { printf 'run_tests.sh: %s\n' "$*" >&2; exit 1; }
step() { printf '\n== %s (after %d s)\n' "$*" "$SECONDS"; }

venv=${ARGOPROXY_TEST_VENV:-.venv-test}
mark=$venv/installed.txt
case $venv in /*) ;; *) venv=$PWD/$venv ;; esac

# The first of these that is there and new enough.
find_python() {
    local name
    for name in "${PYTHON:-python3}" python3.14 python3.13 python3.12 python3.11 python; do
        if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$name"
            return
        fi
    done
    die "Python 3.11 or newer is needed; none was found. PYTHON=/path/to/python names one"
}

[ "$(uname -s)" = Linux ] || die "the tests run on Linux"
python=$venv/bin/python
[ -x "$python" ] || python=$(find_python)

# Everything below runs under a supervisor, which kills what is left when this ends, however it ends.
if [ -z "${ARGOPROXY_SUPERVISED:-}" ]; then
    export ARGOPROXY_SUPERVISED=1
    exec "$python" -m tests.support.supervise bash "$PWD/run_tests.sh" "$@"
fi

if ! cat requirements*.txt | cmp --silent - "$mark"; then
    python=$(find_python)
    step "Installing into $venv (once)"
    "$python" -m venv "$venv" || die "no virtual environment could be made; on Debian and Ubuntu: apt install python3-venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes \
        --requirement requirements-dev.lock ||
        die "the installation failed; its reason stands above"
    cat requirements*.txt >"$mark"
fi
PATH=$venv/bin:$PATH

# What is installed, and the optional packages besides: an environment that looks into the other one for the rest.
add_extras() {
    local scale=$venv-scale packages
    if ! cat requirements-*.lock | cmp --silent - "$scale/installed.txt"; then
        step "Installing the optional packages into $scale (once)"
        rm -rf "$scale"
        "$venv/bin/python" -m venv "$scale"
        for packages in redis postgres; do
            [ ! -f "requirements-$packages.lock" ] ||
                "$scale/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes \
                    --requirement "requirements-$packages.lock" ||
                die "requirements-$packages.lock could not be installed; the reason stands above"
        done
        packages=$("$scale/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
        echo "${packages/#"$scale"/"$venv"}" >"$packages/tests.pth"
        cat requirements-*.lock >"$scale/installed.txt"
    fi
    PATH=$scale/bin:$PATH
}

# Else each run would rewrite the assertions of all test files again.
unset PYTHONDONTWRITEBYTECODE
case ${1:-} in
--quick)
    shift
    step "Pure tests, and those of one running proxy"
    RUN=quick exec pytest --processes "${TEST_PROCESSES:-2}" -m "pure or quick" "$@"
    ;;
--browser)
    shift
    step "The console in Chromium"
    exec pytest tests/browser -rs --processes "${TEST_PROCESSES:-2}" "$@"
    ;;
--scale)
    shift
    add_extras
    step "Several replicas, and the servers around them"
    exec python -m pytest tests/scale -rs --processes "${TEST_PROCESSES:-2}" "$@"
    ;;
esac

step "Format, lint and types"
ruff format --check --quiet .
ruff check --quiet .
mypy

step "Tests"
# Tests with servers mostly wait, so there are more processes than cores.
spread=(--processes "${TEST_PROCESSES:-8}")
case ${1:-} in
--coverage) shift ;;
"") RUN=plain exec pytest "${spread[@]}" -m "not slow" ;;
--all) shift && exec pytest "${spread[@]}" "$@" ;;
*) exec pytest "$@" ;;
esac

# Run what failed once more, without other tests beside it. It stays named above; more than three are no accident.
repeat_failed() {
    local count
    count=$(python -c 'import json; print(len(json.load(open(".pytest_cache/v/cache/lastfailed"))))') ||
        die "pytest did not run to its end"
    [ "$count" -le 3 ] || die "$count tests failed"
    step "What failed, once more and alone"
    coverage run -m pytest --last-failed --last-failed-no-failures none "$@"
}
rm -f .pytest_cache/v/cache/lastfailed
coverage erase
coverage run -m pytest "${spread[@]}" "$@" || repeat_failed "$@"

step "Coverage"
coverage combine --quiet
coverage report
coverage report --include 'argoproxy/protocol/*' --fail-under 100 >/dev/null ||
    { coverage report --include 'argoproxy/protocol/*' --skip-covered >&2; die "argoproxy/protocol is not covered whole"; }
step "All is well"
