"""Gunicorn's settings, from the same Config as everything else, read anew whenever Gunicorn reads them.

Nothing imported here may load ssl: gevent patches it in the workers, and must come first.
"""

from __future__ import annotations

import logging
import os
import resource
import secrets
import signal
import socket
import sys
import threading
from pathlib import Path
from typing import Any

import gunicorn

from argoproxy import __version__
from argoproxy.config.config import RANDOM_KEY, Config, build, load, settings_for_restart
from argoproxy.config.values.config_error import USAGE_EXIT, ConfigError, explain_refusal
from argoproxy.config.values.layers import SNAPSHOT_VARIABLE, publish_snapshot, read_layers
from argoproxy.plugins.loader import check_plugins
from argoproxy.server import runtime
from argoproxy.server.banner import banner, open_door
from argoproxy.server.ports import port_problem
from argoproxy.server.terminal import Terminal
from argoproxy.telemetry.journal.writer import check_journal
from argoproxy.telemetry.log_lines import PrintableLogger
from argoproxy.telemetry.slots import FOLDER_VARIABLE, candidate_parents, make_folder
from argoproxy.workers.client_timeouts import ClientTimeouts, linger

# A master that is replaced (USR2) runs Gunicorn as a script, whose folder comes first and would hide `http`.
GUNICORN_FOLDER = Path(gunicorn.__file__).resolve().parent
sys.path[:] = [entry for entry in sys.path if Path(entry).resolve() != GUNICORN_FOLDER]


def hard_limit() -> int:
    """Return how many files a process may have open once `on_starting` has raised the limit."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return sys.maxsize if hard == resource.RLIM_INFINITY else hard


folder = Path.cwd()
terminal = Terminal()
os.environ.setdefault(RANDOM_KEY, f"sk-{secrets.token_urlsafe(24)}")
try:
    loaded = load(os.environ, folder)
    check_plugins(loaded)
    check_journal(loaded)
except ConfigError as error:
    sys.stderr.write(explain_refusal(error))
    sys.exit(USAGE_EXIT)

# By name: a class that is imported here would load ssl before gevent patches it.
WORKER_CLASSES = {
    "gthread": "argoproxy.workers.thread_worker.PollingThreadWorker",
    "gevent": "argoproxy.workers.gevent_worker.TimedGeventWorker",
    "sync": "argoproxy.workers.sync_worker.TimedSyncWorker",
}

host, port = loaded.server.host, loaded.server.port
address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
bind = host if host.startswith("unix:") else address
workers = loaded.server.num_workers
polls_clients = loaded.server.worker_class == "gthread"
worker_class = WORKER_CLASSES[loaded.server.worker_class]
threads = loaded.server.threads if polls_clients else 1
# Idle ones included; at the limit, a gthread worker closes the one that has idled longest. Each may become a stream,
# which takes three descriptors: clients that only connect must not take those that the others' requests need.
worker_connections = min(10_000, max(1, hard_limit() // 3))
backlog = 4096
keepalive = 75
# Finds workers that hang. A sync worker beats only between requests, so there it caps a stream.
timeout = 3000
graceful_timeout = max(1, round(loaded.server.graceful_timeout))
limit_request_line = 8190
# A head may have 64 KiB (HEAD_LIMIT): Gunicorn's parser takes time that grows with the square of its length.
limit_request_field_size = 16_384
worker_tmp_dir = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
control_socket_disable = True
LAST_MOMENT_S = 3.0
LONGEST_MS = 2**31 - 1
SNAPSHOT = "settings.json"
STOPPING = (signal.SIGTERM, signal.SIGQUIT, signal.SIGINT)
errorlog = "-"
logger_class = PrintableLogger
# Gunicorn's debug level would log the target of each request, with its query.
loglevel = "warning" if loaded.log.level == "warning" else "info"


def on_starting(server: Any) -> None:
    """Refuse a start at a port that is taken, tell what is about to be served, publish the settings to the workers, and
    raise the limit on open files: a stream takes three."""
    refuse_taken_port(server)
    os.register_at_fork(
        before=lambda: signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING),
        after_in_parent=lambda: signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING),
        after_in_child=stop_at_once,
    )
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    server.log.info("argoproxy %s in front of %s", __version__, loaded.description)
    server.log.debug("Up to %s files may be open", hard)
    tell(loaded, server)
    make_room(server)


def refuse_taken_port(server: Any) -> None:
    """Exit at once, with a line for each address that can't be listened at: Gunicorn would try for seconds. Sockets
    that were handed over (by systemd, or by a master that is replaced) are taken as they are."""
    if server.master_pid or "LISTEN_FDS" in os.environ:
        return
    addresses = [address for address in server.cfg.address if isinstance(address, tuple)]
    problems = [problem for host, port, *_ in addresses if (problem := port_problem(host, port))]
    if problems:
        sys.stderr.write(explain_refusal(ConfigError(problems)))
        sys.exit(USAGE_EXIT)


def tell(config: Config, server: Any) -> None:
    """Tell what is odd about the settings, and the key where it is one that was made here."""
    for warning in filter(None, (*config.warnings, open_door(config))):
        server.log.warning("%s", warning)
    made = os.environ[RANDOM_KEY]
    if any(key.secret.text == made for key in config.keys):
        sys.stderr.write(f"API_KEY_SECRET is not set; the key until the next start is {made}\n")


def make_room(server: Any) -> None:
    """Make the folder that all processes share: workers count in it, and find the settings there."""
    shared = make_folder(candidate_parents())
    os.environ[FOLDER_VARIABLE] = str(shared or "")
    if shared is None:
        server.log.warning("/metrics and reloading are off: neither /dev/shm nor the temp folder has room")
        return
    os.chown(shared, server.cfg.uid, server.cfg.gid)
    publish_snapshot(read_layers(os.environ, folder), shared / SNAPSHOT)
    os.environ[SNAPSHOT_VARIABLE] = str(shared / SNAPSHOT)


def when_ready(server: Any) -> None:
    """Bound how long a client may take nothing, and take over the signals that change or end what is served."""
    give_up_stuck_clients(server, loaded.client.write_timeout)
    take_signals(server)
    for line in banner(loaded):
        server.log.info("%s", line)


def give_up_stuck_clients(server: Any, seconds: float) -> None:
    """Have the kernel end a connection whose client took nothing of what was sent for that long; 0: never.

    Connections inherit this of the socket that they were accepted from (tcp(7), TCP_USER_TIMEOUT), so it costs a
    request nothing, and needs no thread that watches a write.
    """
    milliseconds = min(round(seconds * 1000), LONGEST_MS)
    for listener in server.LISTENERS:
        if listener.sock.family != socket.AF_UNIX:
            listener.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)
    server.log.error_log.addFilter(is_news)


def is_news(record: logging.LogRecord) -> bool:
    """Whether Gunicorn should log this: not a client that was given up, which the request's own line tells."""
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, TimeoutError)


def take_signals(server: Any) -> None:
    """Take new settings at a HUP, in place of Gunicorn's way, which stops the master when they are broken; at a TERM
    let who balances load look elsewhere before nobody is let in any more, which Gunicorn begins with."""
    if SNAPSHOT_VARIABLE in os.environ:
        runtime.tell(Path(os.environ[SNAPSHOT_VARIABLE]).parent, loaded.server.port)
        signal.signal(signal.SIGTERM, lambda number, frame: drain(server, number))
    signal.signal(signal.SIGHUP, lambda *_: hang_up(server))


def hang_up(server: Any) -> None:
    """Stop when the terminal is gone that the proxy was started from; otherwise read the settings anew."""
    if terminal.is_gone():
        terminal.silence()
        server.signal(signal.SIGTERM, None)
    else:
        take_up(server)


def drain(server: Any, number: int) -> None:
    """Tell that the proxy will stop, and have it stop when the delay is over; a second time at once."""
    folder = Path(os.environ[SNAPSHOT_VARIABLE]).parent
    delay_s = 0.0 if runtime.is_draining(folder) else loaded.server.drain_delay
    runtime.drain(folder)
    if not delay_s:
        server.signal(number, None)
        return
    server.log.info("Stopping in %s seconds; /health says so", delay_s)
    timer = threading.Timer(delay_s, server.signal, (number, None))
    timer.daemon = True
    timer.start()


def take_up(server: Any) -> None:
    """Read the settings anew and publish them; broken ones change nothing."""
    if SNAPSHOT_VARIABLE not in os.environ:
        server.log.warning("The settings can't be read anew: no folder can be written to publish them")
        return
    try:
        fresh = read_layers(os.environ, folder)
        config = build(fresh, os.environ, folder)
        check_plugins(config)
        check_journal(config)
    except ConfigError as error:
        server.log.warning("The settings stay as they were: %s", "; ".join(error.mistakes))
        return
    publish_snapshot(fresh, Path(os.environ[SNAPSHOT_VARIABLE]))
    server.log.info("The settings were read anew; in front of %s", config.description)
    tell(config, server)
    changed = settings_for_restart(loaded, config)
    if changed:
        server.log.warning("Only a restart changes %s", ", ".join(changed))


def post_worker_init(worker: Any) -> None:
    """Prepare a worker that is about to serve; the first one there is looks whether the endpoints answer."""
    worker.timeouts = ClientTimeouts(loaded.client.header_timeout, loaded.client.body_timeout, keepalive)
    # The master decides what a hang-up means; it also comes here when the terminal goes away.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    extensions = getattr(worker.wsgi, "extensions", {})
    if poller := extensions.get("argoproxy.poller"):
        end_in_time(poller)
    if worker.age == 1 and (look := extensions.get("argoproxy.server.start_check")):
        look()


def end_in_time(poller: Any) -> None:
    """Have requests that are still served when the time to stop is over end with an error and a log line, before this
    process is killed: a moment before that after a TERM, at once after a QUIT."""
    patience_s = graceful_timeout - min(LAST_MOMENT_S, 0.3 * graceful_timeout)
    ends: Any = signal.getsignal(signal.SIGTERM)

    def stop_in_time(number: int, frame: Any) -> None:
        signal.setitimer(signal.ITIMER_REAL, patience_s)
        ends(number, frame)

    def stop_now(number: int, frame: Any) -> None:
        poller.stop()
        ends(number, frame)

    signal.signal(signal.SIGALRM, lambda *_: poller.stop())
    signal.signal(signal.SIGTERM, stop_in_time)
    signal.signal(signal.SIGQUIT, stop_now)


def worker_exit(server: Any, worker: Any) -> None:
    """Let no alarm ring in a process that ends by itself."""
    signal.setitimer(signal.ITIMER_REAL, 0)


def stop_at_once() -> None:
    """Let a worker that still boots be stopped. It begins with the master's handlers, which would swallow the signal
    and have the master wait for it in vain, half a minute."""
    for number in STOPPING:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)


def pre_request(worker: Any, req: Any) -> None:
    """Let the socket know that the head is complete, in workers that read from clients without polling them."""
    if not polls_clients:
        req.unreader.sock.expect_body()


def post_request(worker: Any, req: Any, environ: dict[str, Any], resp: Any) -> None:
    """Close the connection, or let its socket wait for the next head, in workers that don't poll their clients."""
    if not polls_clients:
        linger(req, environ, resp)
        req.unreader.sock.expect_head()
