#!/usr/bin/env bash
# Starts the proxy. The first start asks an Argo user for the settings and installs packages into a virtual environment.
#
#   ./run_app.sh [config.yaml] [flags]        ./run_app.sh --demo        ./run_app.sh --help
set -euo pipefail

die() { printf 'run_app.sh: %s\n' "$*" >&2; exit 1; }

[ "$(uname -s)" = Linux ] || die "this runs on Linux only; on other systems use Docker (see README.md)"
root=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
venv=${ARGOPROXY_VENV:-$root/.venv}

# Print the first of these that exists and is new enough.
find_python() {
    local name
    for name in "${PYTHON:-python3}" python3.14 python3.13 python3.12 python3.11 python; do
        if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$name"
            return
        fi
    done
    die "Python 3.11 or newer was not found; install it, or set PYTHON to its path"
}

# The questions come before the installation, which takes a while.
python=$venv/bin/python
[ -x "$python" ] || python=$(find_python)
exec 4>&1
more=$(PYTHONPATH=$root "$python" -m argoproxy.cli.setup_wizard "$@" 3>&1 >&4) || { status=$?; exit $((status == 100 ? 0 : status)); }
exec 4>&-
[ -z "$more" ] || set -- "$@" "$more"

# What must be installed, and a copy of it as it was at the last installation.
wanted=("$root/requirements.txt")
case "${WORKER_CLASS:-} $*" in *gevent*) wanted+=("$root/requirements-gevent.txt") ;; esac
mark=$venv/installed.txt
# What pip prints if the package index can't be reached.
unreachable='NewConnectionError|Failed to establish a new connection|[Nn]ame ?[Rr]esolution|ConnectTimeout|SSLError|ProxyError'

# Show how far pip has come, read from its output: one line on a terminal, all lines elsewhere.
show_progress() {
    local line count=0 total
    [ -t 2 ] || { cat >&2; return; }
    total=$(cat "${wanted[@]/%.txt/.lock}" | grep -c '^[A-Za-z0-9]')
    while read -r line; do
        case $line in
            "Collecting "* | "Processing "*)
                line=${line%% (from *}
                printf '\r\033[K  %s of %s: %s' $((count += 1)) "$total" "${line##*[ /]}" >&2
                ;;
            "Installing collected packages"*) printf '\r\033[K  installing %s packages' "$count" >&2 ;;
        esac
    done
    printf '\r\033[K' >&2
}

if [ ! -x "$venv/bin/python" ] || ! cat "${wanted[@]}" | cmp --silent - "$mark"; then
    python=$(find_python)
    printf 'Installing into %s (once)\n' "$venv" >&2
    trap 'printf "\nInterrupted; the next start installs again.\n" >&2; exit 130' INT
    said=$("$python" -m venv "$venv" 2>&1) || {
        printf '%s\n' "$said" >&2
        die "the virtual environment could not be created; on Debian and Ubuntu: apt install python3-venv"
    }
    requirements=()
    for file in "${wanted[@]}"; do requirements+=(--requirement "${file%.txt}.lock"); done
    log=$venv/install.log
    "$venv/bin/python" -m pip install --disable-pip-version-check --require-hashes "${requirements[@]}" 2>&1 | tee "$log" | show_progress || {
        [ ! -t 2 ] || tail -n 15 "$log" >&2
        ! grep -qE "$unreachable" "$log" || die "the package index can't be reached, so nothing was installed: \
check the network (HTTPS_PROXY, PIP_INDEX_URL and PIP_CERT are used); the last line of pip may be misleading"
        die "the installation failed; see the reason above (\"No matching distribution\" may also mean that no package index was reached)"
    }
    cat "${wanted[@]}" >"$mark"
    trap - INT
fi

export ARGOPROXY_PROGRAM=run_app.sh
exec "$venv/bin/python" "$root/cot_proxy.py" "$@"
