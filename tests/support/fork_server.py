"""Starts Gunicorn, and commands, by forking a process that has imported their modules: that takes a tenth of the CPU.

`python -m tests.support.fork_server DESCRIPTOR LISTENER threads|gevent` imports what Gunicorn's master has imported by
itself when it forks its workers; for workers that patch nothing, also what these import. It answers the requests of
`ForkServer`, a JSON line each, over a socket, and those of `forking_python.py` at a path, one for each connection: a
child runs Gunicorn as `python -m gunicorn` does, or a script or another module, in an environment, a folder and a log
of its own. Nothing is configured before the fork, so the child reads its settings as ever.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any, NoReturn, TextIO

import gunicorn.config

from tests.support.prctl import child_of_this_process, die_with_parent

ROOT = Path(__file__).resolve().parent.parent.parent


def modules_in(folder: str) -> list[str]:
    """Return the modules of a folder of the package, by their names."""
    path = ROOT.joinpath(*folder.split("."))
    files = (file.relative_to(ROOT).with_suffix("") for file in path.rglob("*.py"))
    return [".".join(file.parts).removesuffix(".__init__") for file in files]


#: gevent patches the standard library in its workers: nothing may be imported before that keeps what is patched, in a
#: module or as the base of a class. Its master imports the module of the worker itself; the pure folders hold no such
#: module, nor do these and what they import (tests/server/test_fork_server.py).
HARMLESS = """
    argoproxy.images.picture argoproxy.pipeline.place_keeper argoproxy.pipeline.route_order
    argoproxy.pipeline.shared.caches argoproxy.plugins.upstream argoproxy.shared_state.upstream_state
    argoproxy.stores.answers.sqlite_answers argoproxy.stores.keys.sqlite_keys argoproxy.stores.local.local_limits
    argoproxy.stores.worker_database argoproxy.telemetry.journal.writer argoproxy.telemetry.json_lines
    argoproxy.telemetry.labels argoproxy.telemetry.tracing.otlp argoproxy.transport.http_exchange
    argoproxy.web.admin_views argoproxy.web.surfaces
    blinker certifi charset_normalizer concurrent.futures decimal encodings.idna gevent.events gevent.selectors
    gevent.signal gevent.ssl gevent.subprocess gunicorn.glogging http.cookiejar http.cookies idna itsdangerous jinja2
    logging.config markupsafe mmap sqlite3 urllib.request uuid werkzeug werkzeug.test
""".split()
IN_MASTERS = ("gunicorn.app.wsgiapp", "gunicorn.arbiter", "argoproxy.cli.serve", "argoproxy.telemetry.slots")
IN_WORKERS = {
    "threads": ("argoproxy.workers.thread_worker", "argoproxy.workers.sync_worker", "argoproxy.web.factory"),
    "gevent": (
        "argoproxy.workers.gevent_worker",
        *HARMLESS,
        *modules_in("argoproxy.protocol"),
        *modules_in("argoproxy.upstreams"),
    ),
}
LONGEST_POLL_S = 0.02


class ForkedProcess:
    """A child of a fork server, with those methods of `subprocess.Popen` that tests use."""

    def __init__(self, server: ForkServer, pid: int) -> None:
        self._server = server
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None:
            self.returncode = self._server.ask(poll=self.pid)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait until it ends. Raises subprocess.TimeoutExpired."""
        until = None if timeout is None else time.monotonic() + timeout
        pause_s = 0.001
        while (status := self.poll()) is None:
            if until and time.monotonic() > until:
                raise subprocess.TimeoutExpired("gunicorn", timeout or 0)
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_POLL_S)
        return status

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class ForkServer:
    """The process that forks, as seen by the tests; it ends with the thread that makes it."""

    def __init__(self, kind: str, environ: dict[str, str]) -> None:
        self._lock = threading.Lock()
        self._folder = tempfile.TemporaryDirectory()
        #: Where `forking_python.py` asks.
        self.path = str(Path(self._folder.name, "forks"))
        ours, theirs = socket.socketpair()
        with theirs, socket.socket(socket.AF_UNIX) as listener:
            listener.bind(self.path)
            listener.listen()
            descriptors = [theirs.fileno(), listener.fileno()]
            command = [sys.executable, "-m", "tests.support.fork_server", *map(str, descriptors), kind]
            options: dict[str, Any] = {"pass_fds": descriptors, "preexec_fn": child_of_this_process()}
            self._process = subprocess.Popen(command, cwd=ROOT, env=environ, **options)
        self._socket, self._file = ours, ours.makefile("rw")

    def start(self, arguments: Sequence[str], folder: Path, environ: dict[str, str], log: Path) -> ForkedProcess:
        """Start `python -m gunicorn` with these arguments."""
        pid = self.ask(start=list(arguments), folder=str(folder), environ=environ, outputs=[str(log)] * 2)
        return ForkedProcess(self, pid)

    def run(
        self, command: Sequence[str], folder: Path, environ: dict[str, str], timeout_s: float
    ) -> subprocess.CompletedProcess[bytes]:
        """Run `python SCRIPT ARGUMENT …`, and return what it printed. Raises subprocess.TimeoutExpired."""
        with tempfile.TemporaryDirectory() as outputs:
            files = [Path(outputs, name) for name in ("out", "errors")]
            for file in files:
                file.touch()
            named = [str(file) for file in files]
            pid = self.ask(
                start=list(command[1:]), script=command[0], folder=str(folder), environ=environ, outputs=named
            )
            process = ForkedProcess(self, pid)
            try:
                status = process.wait(timeout_s)
            finally:
                process.kill()
            out, errors = (file.read_bytes() for file in files)
        return subprocess.CompletedProcess(list(command), status, out, errors)

    def stop(self) -> None:
        """End it, and what it started."""
        self._file.close()
        self._socket.close()
        self._process.wait()
        self._folder.cleanup()

    def ask(self, **request: Any) -> Any:
        """Send a request, return its answer."""
        with self._lock:
            self._file.write(json.dumps(request) + "\n")
            self._file.flush()
            return json.loads(self._file.readline())


def serve(connection: socket.socket, listener: socket.socket) -> dict[str, Any] | None:
    """Answer requests until the client has gone. Returns, in a child that was forked, the request it is to run."""
    with connection, listener, connection.makefile("rw") as file:
        while True:
            ready, _, _ = select.select([connection, listener], [], [])
            if listener in ready:
                with listener.accept()[0] as guest, guest.makefile("rw") as asked:
                    request = answer(asked)
            elif not (request := answer(file)):
                return None
            if request and request.get("is_child"):
                return request


def answer(file: TextIO) -> dict[str, Any] | None:
    """Answer a request. Returns it, None if there is none any more."""
    line = file.readline()
    if not line:
        return None
    request: dict[str, Any] = json.loads(line)
    told = poll(request["poll"]) if "poll" in request else os.fork()
    if "start" in request and told == 0:
        return {**request, "is_child": True}
    file.write(json.dumps(told) + "\n")
    file.flush()
    return request


def poll(pid: int) -> int | None:
    """Return the exit status of a child; None while it runs."""
    ended, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if ended else None


def run_request(request: dict[str, Any]) -> None:
    """Become what `python -m gunicorn`, or a script, is in this environment and folder, with these outputs."""
    die_with_parent()
    os.environ.clear()
    os.environ.update(request["environ"])
    os.chdir(request["folder"])
    if standard_input := request.get("input"):
        os.dup2(os.open(standard_input, os.O_RDONLY), 0)
    for descriptor, name in enumerate(request["outputs"], 1):
        output = os.open(name, os.O_WRONLY | os.O_APPEND)
        os.dup2(output, descriptor)
        os.close(output)
    script = request.get("script")
    named = os.environ.get("PYTHONPATH", "")
    sys.path[:1] = [str(Path(script).parent) if script else request["folder"], *filter(None, named.split(os.pathsep))]
    sys.argv[1:] = request["start"]
    # Its defaults are the folder and the environment at the time of the import.
    importlib.reload(gunicorn.config)
    try:
        if script:
            runpy.run_path(script, run_name="__main__")
        else:
            runpy.run_module(request.get("module", "gunicorn"), run_name="__main__", alter_sys=True)
    except SystemExit as ended:
        end_process(ended.code)


def end_process(code: Any) -> NoReturn:
    """End a master or a worker as the interpreter does, but leave the memory to the kernel: to free each object would
    copy the pages that it shares with the fork server, which takes more CPU than the start."""
    if code is not None and not isinstance(code, int):
        sys.stderr.write(f"{code}\n")
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit((code or 0) & 0xFF)


def import_for(kind: str) -> None:
    """Import what is imported before a fork."""
    for module in (*IN_MASTERS, *IN_WORKERS[kind]):
        importlib.import_module(module)


def main(descriptor: str, listener: str, kind: str) -> None:
    import_for(kind)
    # gevent asks for them 25 times while it patches, and each time all packages would be looked through.
    metadata.entry_points = metadata.entry_points().select
    gc.collect()
    gc.freeze()
    if request := serve(socket.socket(fileno=int(descriptor)), socket.socket(fileno=int(listener))):
        run_request(request)


if __name__ == "__main__":
    main(*sys.argv[1:])
