"""Gunicorn's settings and hooks, from the same Config as everything else.

The master imports this. Nothing imported here may load ssl: gevent patches it in the workers, and must come first
(gevent issue 1016). With other workers, the master imports their modules too, before it forks them.
"""

from __future__ import annotations

import gc
import importlib
import logging
import os
import resource
import secrets
import signal
import sys
from pathlib import Path
from typing import Any

import gunicorn

from argoproxy import __version__
from argoproxy.config.config import RANDOM_KEY, load
from argoproxy.config.values.config_error import ConfigError, explain_refusal
from argoproxy.config.values.layers import SNAPSHOT_VARIABLE, publish_snapshot, read_layers
from argoproxy.plugins.loader import check_plugins
from argoproxy.server import runtime
from argoproxy.server.banner import describe_start, log_warnings, made_key
from argoproxy.server.cores import allowed_cores, choose_workers, plan_cores
from argoproxy.server.master_signals import MasterSignals
from argoproxy.server.ports import check_addresses
from argoproxy.server.process import (
    STOP_SIGNALS,
    Terminal,
    install_stop_handlers,
    keep_console,
    reset_signal_handlers,
    return_unused_memory,
)
from argoproxy.server.start_screen import is_no_routine, show_start, wants_screen
from argoproxy.stores.keys.key_files import hand_over
from argoproxy.stores.postgres.start_keys import with_keys
from argoproxy.telemetry.journal.writer import check_journal
from argoproxy.telemetry.json_lines import JsonLogger
from argoproxy.telemetry.log_lines import PrintableLogger
from argoproxy.telemetry.slots import FOLDER_VARIABLE, candidate_parents, make_folder
from argoproxy.workers.client_timeouts import ClientTimeouts, linger

# A master that is replaced (USR2) runs Gunicorn as a script, whose folder comes first in sys.path: its `http` would
# hide the standard library's.
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
    loaded = with_keys(loaded)
except ConfigError as error:
    sys.stderr.write(explain_refusal(error))
    sys.exit(error.exit_status)

# By name: a class that is imported here would load ssl before gevent patches it.
WORKER_CLASSES = {
    "gthread": "argoproxy.workers.thread_worker.PollingThreadWorker",
    "gevent": "argoproxy.workers.gevent_worker.TimedGeventWorker",
    "sync": "argoproxy.workers.sync_worker.TimedSyncWorker",
}

#: What workers import that patch nothing: the master does it for all of them. gevent must come before it.
SHARED_MODULES = ("argoproxy.web.factory", "argoproxy.transport.waits.thread_waits")

host, port = loaded.server.host, loaded.server.port
address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
bind = host if host.startswith("unix:") else address
workers = choose_workers(loaded.server.num_workers)
polls_clients = loaded.server.worker_class == "gthread"
worker_class = WORKER_CLASSES[loaded.server.worker_class]
threads = loaded.server.threads if polls_clients else 1
# Idle ones included; at the limit, a gthread worker closes the one that has idled longest. A stream takes three
# descriptors (client, upstream, epoll): clients that only connect must leave enough for the requests of others.
worker_connections = min(10_000, max(1, hard_limit() // 3))
backlog = 4096
keepalive = 75
# After so many seconds without a sign of life a worker is killed. A sync worker gives one only between requests, so
# there it is the longest time that a stream may take.
timeout = 3000
graceful_timeout = max(1, round(loaded.server.graceful_timeout))
limit_request_line = 8190
# A head may have 64 KiB (HEAD_LIMIT). Not more, because the time of Gunicorn's parser grows with the square of its
# length.
limit_request_field_size = 16_384
worker_tmp_dir = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
control_socket_disable = True
errorlog = "-"
logger_class = JsonLogger if loaded.log.is_json else PrintableLogger
# Gunicorn's debug level would log the target of each request, with its query.
loglevel = "warning" if loaded.log.level == "warning" else "info"
#: Whether the start shows a screen in place of lines of the log.
has_screen = wants_screen(loaded)
if has_screen:
    logging.getLogger("gunicorn.error").addFilter(is_no_routine)


def on_starting(server: Any) -> None:
    """Refuse to start at a port that is taken, log what is served, publish the settings to the workers, and raise the
    limit on open files."""
    refuse_taken_port(server)
    # Stopping signals are blocked while a worker is forked: one that came before its handlers are reset would be lost.
    os.register_at_fork(
        before=lambda: signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS),
        after_in_parent=lambda: signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS),
        after_in_child=reset_signal_handlers,
    )
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    server.log.debug("Up to %s files may be open", hard)
    if not has_screen:
        server.log.info("argoproxy %s in front of %s", __version__, loaded.description)
        log_warnings(loaded, server.log)
    create_shared_dir(server)
    share_modules(server)


def share_modules(server: Any) -> None:
    """Import what the workers need before they are forked, so that they start at once and share its memory.

    Modules only: files, threads and connections belong to the process that uses them. What was frozen is not looked at
    by the garbage collector of a worker, which would copy its pages (gc.freeze).
    """
    for module in SHARED_MODULES if worker_kind(server) in ("gthread", "sync") else ():
        importlib.import_module(module)
    gc.collect()
    gc.freeze()


def worker_kind(server: Any) -> str:
    """Return gthread, gevent or sync, "" for another class: Gunicorn's own flags win over our settings."""
    name = f"{server.worker_class.__module__}.{server.worker_class.__qualname__}"
    return next((kind for kind, path in WORKER_CLASSES.items() if path == name), "")


def refuse_taken_port(server: Any) -> None:
    """Exit at once if an address can't be opened: Gunicorn would try for seconds.

    Sockets may be inherited: from systemd (socket activation sets LISTEN_FDS, sd_listen_fds(3)) or from a master that
    is replaced. Their port is taken, by themselves.
    """
    if server.master_pid or "LISTEN_FDS" in os.environ:
        return
    try:
        check_addresses(server.cfg.address)
    except ConfigError as error:
        sys.stderr.write(explain_refusal(error))
        sys.exit(error.exit_status)


def create_shared_dir(server: Any) -> None:
    """Create the folder that all processes share: workers count in it, and find the settings there. Give them that of
    keys."""
    if loaded.managed:
        for kept in {loaded.managed.folder, loaded.managed.published}:
            hand_over(kept, server.cfg.uid, server.cfg.gid)
    shared = make_folder(candidate_parents())
    os.environ[FOLDER_VARIABLE] = str(shared or "")
    if shared is None:
        server.log.warning("/metrics and reloading are off: there is no space in /dev/shm nor in the temporary folder")
        return
    os.chown(shared, server.cfg.uid, server.cfg.gid)
    publish_snapshot(read_layers(os.environ, folder), shared / runtime.SNAPSHOT)
    os.environ[SNAPSHOT_VARIABLE] = str(shared / runtime.SNAPSHOT)


def when_ready(server: Any) -> None:
    """Handle the master's signals, plan the cores, log how to use it."""
    server.log.error_log.addFilter(is_worth_logging)
    MasterSignals(server, loaded, folder, terminal).install()
    if loaded.console.console:
        keep_console(server.log)
    server.core_plan = plan_cores(server.num_workers, worker_kind(server), loaded.server)
    if has_screen:
        show_start(loaded, made_key(loaded))
        return
    for line in describe_start(loaded):
        server.log.info("%s", line)
    server.log.info("Workers: %s; cores: %s; %s", server.num_workers, len(allowed_cores()), server.core_plan.reason)


def pre_fork(server: Any, worker: Any) -> None:
    """Choose the core of a worker that is about to be forked: one that no other worker has."""
    worker.core = server.core_plan.free_core(other.core for other in server.WORKERS.values())


def post_fork(server: Any, worker: Any) -> None:
    """Bind a worker, and all threads that it will start, to its core."""
    if worker.core is not None:
        os.sched_setaffinity(0, {worker.core})


def is_worth_logging(record: logging.LogRecord) -> bool:
    """Return whether Gunicorn should log a record: not the end of a connection by the kernel (ETIMEDOUT), which stands
    in the request's own line."""
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, TimeoutError)


def post_worker_init(worker: Any) -> None:
    """Prepare a worker that is about to serve; the first one checks whether the endpoints answer."""
    client = loaded.client
    worker.timeouts = ClientTimeouts(client.header_timeout, client.body_timeout, keepalive, client.write_timeout)
    worker.return_memory = return_unused_memory
    # A terminal that goes away sends HUP to all processes of its session; the master decides what it means.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    extensions = getattr(worker.wsgi, "extensions", {})
    if poller := extensions.get("argoproxy.poller"):
        install_stop_handlers(poller.stop, graceful_timeout)
    if worker.age == 1 and not has_screen and (check := extensions.get("argoproxy.server.start_check")):
        check()


def worker_exit(server: Any, worker: Any) -> None:
    """Cancel the alarm of a worker that ends in time: its handler may be gone while the interpreter shuts down."""
    signal.setitimer(signal.ITIMER_REAL, 0)


def pre_request(worker: Any, req: Any) -> None:
    """Apply the time limit of a body from now on, in workers that read from blocking sockets."""
    if not polls_clients:
        req.unreader.sock.expect_body()


def post_request(worker: Any, req: Any, environ: dict[str, Any], resp: Any) -> None:
    """Close the connection, or apply the time limit of a head, in workers that read from blocking sockets."""
    if not polls_clients:
        linger(req, environ, resp)
        req.unreader.sock.expect_head()
