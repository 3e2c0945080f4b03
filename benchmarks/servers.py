"""The servers that are measured: their processes, what CPU and memory they take, and how long they take to start."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
#: With a process's number, a clock of Linux: the CPU time of all its threads (clock_getcpuclockid(3)).
CPU_TIME = 2
START_S = 30.0
SERVER_CORE, LOAD_CORE = 0, (os.cpu_count() or 1) - 1
LIVE = b"GET /health/live HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n"


@dataclass
class Server:
    """A server that is measured. One without a command runs already: then its process is known or 0."""

    name: str
    port: int
    command: Sequence[str] = ()
    folder: Path = ROOT
    environ: Mapping[str, str] = field(default_factory=dict)
    pid: int = 0

    #: Whether requests can be converted, and thoughts are removed.
    is_ours: bool = True
    process: subprocess.Popen[bytes] | None = None

    def start(self, core: int = SERVER_CORE) -> float:
        """Start it, bound to a core; return the seconds until it answered."""
        begun = time.monotonic()
        if self.command:
            pin = ["taskset", "-c", str(core)] if core >= 0 else []
            environ = {"PATH": os.environ["PATH"], **self.environ}
            self.process = subprocess.Popen(
                [*pin, *self.command], cwd=self.folder, env=environ, stderr=subprocess.DEVNULL
            )
            self.pid = self.process.pid
        while not answers(self.port):
            if time.monotonic() - begun > START_S:
                raise SystemExit(f"{self.name} does not answer")
            time.sleep(0.002)
        return time.monotonic() - begun

    def stop(self) -> None:
        """Stop what was started."""
        if self.process:
            self.process.terminate()
            self.process.wait()

    def cpu_s(self) -> float:
        """User and system time of its processes. /proc counts it in ticks of 10 ms: 1% of a run of a second."""
        return sum(time.clock_gettime((~pid << 3) | CPU_TIME) for pid in tree(self.pid))

    def pss_mib(self) -> float:
        """Memory of its processes, what they share counted once."""
        texts = (Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in tree(self.pid))
        return sum(int(line.split()[1]) for text in texts for line in text.splitlines() if line[:4] == "Pss:") / 1024


def answers(port: int) -> bool:
    """Return whether a server answers, whatever it answers."""
    try:
        with socket.create_connection(("127.0.0.1", port), START_S) as sock:
            sock.sendall(LIVE)
            return sock.recv(9).startswith(b"HTTP/1.1 ")
    except OSError:
        return False


def tree(pid: int) -> Iterator[int]:
    """Yield a process and all below it."""
    yield pid
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        yield from tree(int(child))


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def upstream(port: int = 0) -> Server:
    """The upstream, on the core of the load."""
    port = port or free_port()
    return Server("direct", port, [sys.executable, str(ROOT / "benchmarks" / "upstream.py"), str(port)])


def proxy(name: str, folder: Path, up: int, **environ: str) -> Server:
    """A proxy of some tree of this project, in front of one upstream."""
    return configured_proxy(name, folder, TARGET_BASE_URL=f"http://127.0.0.1:{up}", **environ)


def configured_proxy(name: str, folder: Path, **environ: str) -> Server:
    """A proxy of some tree of this project, with settings that name its upstreams."""
    port = free_port()
    settings = {"HOST": "127.0.0.1", "PORT": str(port), "WORKERS": "1"}
    return Server(name, port, [sys.executable, "cot_proxy.py"], folder, {**settings, **environ})


def floor(up: int, worker_class: str, **environ: str) -> Server:
    """A bare Gunicorn and Flask around an adapter of requests."""
    port = free_port()
    options = ["-b", f"127.0.0.1:{port}", "-k", worker_class, "--keep-alive", "75", "--backlog", "4096"]
    options += ["--threads", "256"] if worker_class == "gthread" else []
    options += ["--worker-connections", "4000", "--workers", environ.get("WORKERS", "1")]
    command = [sys.executable, "-m", "gunicorn", *options, "--chdir", str(ROOT / "benchmarks"), "floor:app"]
    target = {"UPSTREAM": f"http://127.0.0.1:{up}"}
    return Server(f"floor {worker_class}", port, command, ROOT, target, is_ours=False)
