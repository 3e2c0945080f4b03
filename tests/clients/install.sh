#!/usr/bin/env bash
# Installs the client programs and libraries that tests/clients/ runs through the proxy, with Node.js: 2.7 GB, three
# minutes. They go into .clients/, or into the folder that ARGOPROXY_CLIENTS names. None of them is needed for anything
# else: the tests of what is missing are skipped.
#
#   tests/clients/install.sh              what packages/ lists, as far as it is not there yet
#   tests/clients/install.sh GROUP...     some of its folders
#
# Exits 1 if a group could not be installed; the others are.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/packages" || exit

target=${ARGOPROXY_CLIENTS:-../../../.clients}
mkdir -p "$target" && target=$(cd "$target" && pwd) || exit

# Asked before another npm comes first in PATH: it would look for the machine's settings in a folder of its own.
if settings=$(npm config get globalconfig 2>/dev/null); then export NPM_CONFIG_GLOBALCONFIG=$settings; fi
export PATH=$target/node/bin:$PATH PIP_DISABLE_PIP_VERSION_CHECK=1

install_python() {
    rm -rf "${target:?}/$1"
    "${PYTHON:-python3}" -m venv "$target/$1" &&
        "$target/$1/bin/python" -m pip install --quiet --retries 1 --require-hashes --requirement "$1/requirements.lock"
}

# Not `npm ci`: it wants the packages of other systems in the lock file that npm itself leaves out of it.
install_node() {
    [ -f "$target/node.installed" ] || { echo "clients: $1 needs node, which is not installed"; return 1; }
    rm -rf "${target:?}/$1" && mkdir -p "$target/$1" && cp "$1"/package*.json "$target/$1/" &&
        npm --prefix "$target/$1" install --no-save --no-audit --no-fund --loglevel error --fetch-retries 1
}

install_group() {
    local lock=$1/requirements.lock kind=python mark=$target/$1.installed
    if [ -f "$1/package.json" ]; then lock=$1/package-lock.json kind=node; fi
    if cmp --silent "$lock" "$mark"; then return; fi
    echo "clients: installing $1"
    rm -f "$mark"
    "install_$kind" "$1" </dev/null && cp "$lock" "$mark"
}

missing=()
[ $# != 0 ] || set -- node node-sdks node-agents python-openai2 python-openai3
for group in "$@"; do
    install_group "$group" || missing+=("$group")
done
[ ${#missing[@]} = 0 ] || { echo "clients: could not be installed: ${missing[*]}; the reasons stand above"; exit 1; }
