"""Real processes: the scripted upstream and the proxy under Gunicorn, with what a test asks of them."""

from __future__ import annotations

import atexit
import http.client
import json
import os
import random
import re
import shlex
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

from tests.support.fork_server import ForkedProcess, ForkServer
from tests.support.prctl import child_of_this_process

ROOT = Path(__file__).resolve().parent.parent.parent
#: How long anything may take that is sure to happen; only a test that fails waits so long.
PATIENCE_S = 60.0

#: Between two looks at what is waited for: short at first, long for what takes its time.
SHORTEST_PAUSE_S, LONGEST_PAUSE_S = 0.002, 0.05

#: Below the ports that Linux gives to outgoing connections (ip_local_port_range).
PORTS = (10_000, 32_000)


def free_port() -> int:
    """Return a port that is free, and stays free for this process: no other process of the tests takes it, and the
    kernel gives it to no outgoing connection."""
    while True:
        port = random.randrange(*PORTS)
        mark = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            mark.bind(f"\0argoproxy-test-port-{port}")
            with socket.socket() as sock:
                sock.bind(("127.0.0.1", port))
        except OSError:
            mark.close()
            continue
        _marks.callback(mark.close)
        return port


#: Abstract names of sockets, one for each port that this process has taken; the kernel frees them when it ends.
_marks = ExitStack()
atexit.register(_marks.close)


def eventually(
    what: Callable[[], Any], patience_s: float = PATIENCE_S, longest_pause_s: float = LONGEST_PAUSE_S
) -> Any:
    """Ask until the answer is true, and return it. Fails if it stays false for very long. What takes long to answer is
    asked with longer pauses."""
    until, pause_s = time.monotonic() + patience_s, SHORTEST_PAUSE_S
    while True:
        if found := what():
            return found
        assert time.monotonic() < until, f"still not so after {patience_s} s"
        time.sleep(pause_s)
        pause_s = min(1.5 * pause_s, longest_pause_s)


def spawn(command: Sequence[str], **options: Any) -> subprocess.Popen[Any]:
    """Start a process that ends with this one, even if this one is killed. Call it from a thread that lives on."""
    return subprocess.Popen(command, preexec_fn=child_of_this_process(), **options)  # noqa: PLW1509 does nothing unsafe


def is_listening(at: int | Path) -> bool:
    """Return whether something listens at a port, or at the path of a unix socket."""
    family, address = (socket.AF_INET, ("127.0.0.1", at)) if isinstance(at, int) else (socket.AF_UNIX, str(at))
    with socket.socket(family) as sock:
        return sock.connect_ex(address) == 0


#: In a process's environment, what keeps coverage away from it: under coverage its memory and its CPU say nothing.
UNCOVERED: dict[str, str] = {name: "" for name in os.environ if name.startswith("COVERAGE")}


#: Coverage is measured with one worker of one kind: it doubles what a process costs, and the others run the same lines.
MEASURED = {"WORKER_CLASS": "gthread", "WORKERS": "1"}


def clean_environment() -> dict[str, str]:
    """Give what a process needs and nothing that would configure the proxy."""
    kept = {"PATH", "HOME", "LANG"}
    return {name: value for name, value in os.environ.items() if name in kept or name.startswith("COVERAGE")}


def uncovered_environment() -> dict[str, str]:
    """Give what a process needs that is not measured: servers of the tests run no line of the product."""
    return {name: value for name, value in clean_environment().items() if name not in UNCOVERED}


#: By what their workers are: threads of the system, or gevent.
_fork_servers: dict[str, ForkServer] = {}


def fork_server(environ: dict[str, str]) -> ForkServer:
    """Return the fork server for an environment: there is one for gevent, and one for the other kinds of workers."""
    kind = "gevent" if environ.get("WORKER_CLASS") == "gevent" else "threads"
    if kind not in _fork_servers:
        server = _fork_servers[kind] = ForkServer(kind, uncovered_environment())
        atexit.register(server.stop)
    return _fork_servers[kind]


def may_fork(environ: dict[str, str]) -> bool:
    """Return whether a process with this environment may start as a fork: Python and coverage read theirs early."""
    early = any(name.startswith(("PYTHON", "COVERAGE")) and name != "PYTHONPATH" for name in environ)
    return not early and os.environ.get("LAB") != "full"


class Upstream:
    """The scripted upstream."""

    def __init__(self, certificate: tuple[Path, Path] | None = None, port: int = 0) -> None:
        self.port = port or free_port()
        self.scheme = "https" if certificate else "http"
        files = [str(file) for file in certificate or ()]
        command = [sys.executable, "-m", "tests.support.scripted_upstream", str(self.port), *files]
        self._process = spawn(command, cwd=ROOT, env=uncovered_environment())
        self._context = None
        eventually(lambda: is_listening(self.port))

    @property
    def url(self) -> str:
        return f"{self.scheme}://localhost:{self.port}"

    def script(self, *steps: Sequence[Any], body: str = "read") -> str:
        """Have steps played for who names the script that is given back."""
        name = uuid4().hex
        self._ask("PUT", f"/_lab/script/{name}", {"steps": steps, "body": body})
        return name

    def seen(self, script: str, start: int = 0) -> list[dict[str, Any]]:
        """Return the requests for a script from one of them on, -1 being the last; "" for those that name none."""
        found: list[dict[str, Any]] = self._ask("GET", f"/_lab/log/{script}/{start}")
        return found

    def seen_at(self, target: str) -> list[dict[str, Any]]:
        """Return the requests to a target that name no script."""
        found: list[dict[str, Any]] = self._ask("GET", f"/_lab/target{target}")
        return found

    def count(self, script: str) -> int:
        """Count the requests for a script."""
        count: int = self._ask("GET", f"/_lab/count/{script}")
        return count

    def last(self, script: str = "") -> dict[str, Any]:
        return self.seen(script, -1)[-1]

    def left(self, script: str) -> float:
        """Wait until the other side has left the exchange of a script: when."""
        at: float = eventually(lambda: (self.seen(script, -1) or [{"left": None}])[-1]["left"])
        return at

    def open(self, script: str, times: int = 1) -> None:
        """Let so many that await it go on with a script, or that will."""
        self._ask("PUT", f"/_lab/open/{script}/{times}")

    def strike(self, script: str) -> None:
        """Let a script go on, and wait until the last exchange of it is over."""
        self.open(script)
        eventually(lambda: self.last(script)["played"] or self.last(script)["left"])

    def __enter__(self) -> Upstream:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stats(self) -> dict[str, int]:
        told: dict[str, int] = self._ask("GET", "/_lab/stats")
        return told

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()

    def _ask(self, method: str, target: str, body: Any = None) -> Any:
        if self.scheme == "https":
            context = ssl._create_unverified_context()
            connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                "127.0.0.1", self.port, context=context
            )
        else:
            connection = http.client.HTTPConnection("127.0.0.1", self.port)
        try:
            connection.request(method, target, json.dumps(body) if body is not None else None)
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()


def fields_of(line: str) -> dict[str, str]:
    """Return the `name=value` fields of a log line."""
    return dict(re.findall(r'(\w+)=("(?:[^"\\]|\\.)*"|\S*)', line))


@contextmanager
def stopped(pids: Sequence[int]) -> Iterator[None]:
    """Let processes do nothing for a while."""
    try:
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        eventually(lambda: {Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] for pid in pids} <= {"T"})
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


class Proxy:
    """The proxy under real Gunicorn."""

    def __init__(
        self, folder: Path, environ: dict[str, str], command: Sequence[str] = (), start_s: float = PATIENCE_S
    ) -> None:
        self._port = int(environ.get("PORT", 0)) or free_port()
        self.used = time.monotonic()
        self._read, self._requests = 0, list[dict[str, str]]()
        ours = {"HOST": "127.0.0.1", "SKIP_URL_VALIDATION": "true"}
        settings = {**clean_environment(), **ours, **environ, "PORT": str(self.port)}
        if any(settings.get(name, value) != value for name, value in MEASURED.items()):
            settings |= UNCOVERED
        self.environ = {name: value for name, value in settings.items() if value or name not in UNCOVERED}
        self._log = folder / f"log-{self.port}.txt"
        self._folder = folder
        self._log.write_bytes(b"")
        self.process = self._start(command)
        eventually(lambda: is_listening(self.port) or self.process.poll() is not None, start_s)
        assert self.process.poll() is None, self.log()

    def _start(self, command: Sequence[str]) -> subprocess.Popen[bytes] | ForkedProcess:
        """Run a command, or else Gunicorn with its usual arguments."""
        arguments = ["-c", str(ROOT / "gunicorn.conf.py"), "--pythonpath", str(ROOT), "cot_proxy:app"]
        if not command and may_fork(self.environ):
            return fork_server(self.environ).start(arguments, self._folder, self.environ, self._log)
        command = list(command) or [sys.executable, "-m", "gunicorn", *arguments]
        with self._log.open("ab") as log:
            return spawn(command, cwd=self._folder, env=self.environ, stdout=log, stderr=log)

    @property
    def port(self) -> int:
        """The port; whoever asks for it is about to use the proxy."""
        self.used = time.monotonic()
        return self._port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def log(self) -> str:
        return self._log.read_text("utf-8")

    def lines(self) -> list[dict[str, str]]:
        """Return the log lines of requests, as their fields."""
        with self._log.open("rb") as log:
            log.seek(self._read)
            whole, newline, _ = log.read().rpartition(b"\n")
        self._read += len(whole + newline)
        found = [line for line in whole.decode().splitlines() if re.match(r"\S+Z request ", line)]
        self._requests += map(fields_of, found)
        return list(self._requests)

    def coded(self, code: str) -> list[dict[str, str]]:
        """Return the log lines that begin with a code, as their fields."""
        found = re.findall(rf"(?m)\bcode={code}\b.*$", self.log())
        return [fields_of(line) for line in found]

    def line(self, logging_id: str) -> dict[str, str]:
        """Wait for the log line of a request, which there is once."""
        found: list[dict[str, str]] = eventually(lambda: [one for one in self.lines() if one["id"] == logging_id])
        (line,) = found
        return line

    def workers(self) -> list[int]:
        """Give the pids of the workers."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(pid) for pid in children.split()]

    def replace_worker(self) -> None:
        """Kill a worker, and wait until there is another one in its place."""
        count, killed = len(self.workers()), self.workers()[0]
        os.kill(killed, signal.SIGKILL)
        eventually(lambda: killed not in self.workers() and len(self.workers()) == count)

    def open_files(self) -> Iterator[tuple[int, str]]:
        """Yield the names of what workers have open, each with the pid of its worker."""
        for pid in self.workers():
            for descriptor in os.listdir(f"/proc/{pid}/fd"):
                with suppress(FileNotFoundError):  # closed since
                    yield pid, os.readlink(f"/proc/{pid}/fd/{descriptor}")

    def descriptors(self) -> int:
        """Count the open descriptors of all workers."""
        return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in self.workers())

    def peak_kib(self) -> int:
        """Give the highest resident memory any worker has had."""
        peaks = (re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text()) for pid in self.workers())
        return max(int(found.group(1)) for found in peaks if found)

    def stop(self) -> int:
        """Ask it to stop, and wait: its exit status."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()


def shell(line: str, folder: Path, environ: dict[str, str]) -> subprocess.CompletedProcess[bytes]:
    """Run a command as a person would."""
    words, variables = shlex.split(line), {**clean_environment(), **environ}
    if words[0] in ("python", sys.executable):
        return run_python(words[1:], folder, variables)
    return subprocess.run(words, cwd=folder, env=variables, capture_output=True, timeout=PATIENCE_S, check=False)


def run_python(
    command: Sequence[str], folder: Path, environ: dict[str, str], timeout_s: float = PATIENCE_S
) -> subprocess.CompletedProcess[bytes]:
    """Run `python SCRIPT ARGUMENT …` to its end; one of ours as a fork of a process that has imported its modules."""
    if Path(command[0]).parent == ROOT and may_fork(environ):
        return fork_server(environ).run(command, folder, environ, timeout_s)
    started = [sys.executable, *command]
    return subprocess.run(started, cwd=folder, env=environ, capture_output=True, timeout=timeout_s, check=False)
