#!/usr/bin/env bash
# Writes the lock files: every package of the requirements files with the hashes of all its files, for any machine and
# Python that we support. Run it after a change of requirements*.txt and commit what it writes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

uv_version=0.13.9
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check "uv==$uv_version"

lock() {
    local requirements=$1 locked=${1%.txt}.lock
    mkdir -p "$work/$(dirname "$locked")"
    shift
    "$work/venv/bin/uv" pip compile --quiet --no-cache --universal --python-version 3.11 --generate-hashes --no-header \
        --no-annotate --output-file "$work/$locked" "$@" "$requirements"
    { printf '# Made of %s by ./lock_requirements.sh.\n' "$requirements"; cat "$work/$locked"; } >"$locked"
}

# The first four name whatever they bring along, the others do not.
lock requirements.txt --no-deps
lock requirements-gevent.txt --no-deps
lock requirements-redis.txt --no-deps
lock requirements-postgres.txt --no-deps
lock requirements-dev.txt
lock requirements-site.txt
lock release/requirements.txt
lock tests/scale/tools/helm.txt --no-deps
lock tests/scale/tools/requirements.txt
for requirements in tests/clients/packages/*/requirements.txt; do lock "$requirements"; done
