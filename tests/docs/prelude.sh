# What the commands of a page find: the proxy's commands start it in the background, one proxy at a time, and wait until
# it listens; all others are what they are. $SERVER_PORT is its port, $SERVER_LOG its log.
set -eo pipefail
SERVER=

curl() { command curl --silent --show-error --fail-with-body "$@"; }
./run_app.sh() { _proxy ./run_app.sh "$@"; }
gunicorn() { _proxy gunicorn "$@"; }
argoproxy() { _proxy python cot_proxy.py "$@"; }
argo-proxy() { argoproxy "$@"; }
python() {
    case ${1:-} in
    cot_proxy.py | app.py) _proxy python "$@" ;;
    *) command python "$@" ;;
    esac
}

# Return whether a command of the proxy does its work and ends.
_ends() {
    local word
    for word in "${@:2}"; do
        case $word in
        config | keys | logs | reload | models | upstreams | doctor | completion | --show | --validate | --edit | --help | --version) return 0 ;;
        esac
    done
    return 1
}

_proxy() {
    if _ends "$@"; then
        command "$@"
        return
    fi
    _stop
    "$PYTHON" "$PRCTL" "$@" >"$SERVER_LOG" 2>&1 &
    SERVER=$!
    until (: <>"/dev/tcp/127.0.0.1/$SERVER_PORT") 2>/dev/null; do
        kill -0 "$SERVER" 2>/dev/null || { cat "$SERVER_LOG"; SERVER=; return 1; }
        sleep 0.05
    done
}

_stop() {
    [ -z "$SERVER" ] || { kill "$SERVER"; wait "$SERVER" || true; }
    SERVER=
}
