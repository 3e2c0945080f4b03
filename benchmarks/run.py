"""CPU of the proxy per request and per event, and latency beside a direct call, in one run on this machine.

    python benchmarks/run.py [--rounds 3] [--worker-class gthread]

The proxy runs with one worker on core 0, upstream and load on the last core. CPU is user and system time of the
worker, from /proc; it is far steadier than anything on the clock. Trust ratios within a run, nothing across machines.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
START_S = 20.0


@dataclass(frozen=True)
class Lane:
    """Requests of one model from so many clients side by side; `events` is what the upstream sends for each."""

    model: str
    clients: int
    requests: int
    events: int


LANES = (Lane("plain", 8, 4000, 0), Lane("flood", 8, 400, 202), Lane("think", 8, 400, 202), Lane("paced", 32, 64, 102))


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def start(command: list[str], port: int, core: int, **environ: str) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        ["taskset", "-c", str(core), *command],
        env={"PATH": os.environ["PATH"], **environ},
        cwd=ROOT,
        stderr=subprocess.DEVNULL,
    )
    until = time.monotonic() + START_S
    while time.monotonic() < until:
        with socket.socket() as sock:
            if sock.connect_ex(("127.0.0.1", port)) == 0:
                time.sleep(0.5)
                return process
        time.sleep(0.02)
    raise SystemExit(f"{command} did not start")


def cpu_s(pid: int) -> float:
    """User and system time of a process and its children."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    spent = 0.0
    for one in [pid, *map(int, children)]:
        fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        spent += (int(fields[11]) + int(fields[12])) / TICKS_PER_S
    return spent


def ask(sock: socket.socket, model: str) -> None:
    """Send one request and read the whole answer."""
    asked = {"model": model, "messages": [{"role": "user", "content": "Hello"}], "stream": model != "plain"}
    body = json.dumps(asked).encode()
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: bench\r\nContent-Length: %d\r\n\r\n" % len(body)
    sock.sendall(head + body)
    data = b""
    while b"\r\n\r\n" not in data:
        data += received(sock)
    head, _, rest = data.partition(b"\r\n\r\n")
    if model != "plain":
        while not rest.endswith(b"0\r\n\r\n"):
            rest = rest[-16:] + received(sock)
        return
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    while len(rest) < length:
        rest += received(sock)


def received(sock: socket.socket) -> bytes:
    data = sock.recv(1 << 18)
    if not data:
        raise SystemExit("an answer was cut short")
    return data


def load(port: int, lane: Lane) -> list[float]:
    """Run a lane: the seconds each request took."""
    took: list[float] = []

    def client() -> None:
        with socket.create_connection(("127.0.0.1", port)) as sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for _ in range(lane.requests // lane.clients):
                begun = time.perf_counter()
                ask(sock, lane.model)
                took.append(time.perf_counter() - begun)

    threads = [threading.Thread(target=client) for _ in range(lane.clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return took


def measured(port: int, pid: int, lane: Lane) -> tuple[float, float]:
    """Run a lane: (CPU microseconds a request, median milliseconds a request)."""
    before = cpu_s(pid)
    took = load(port, lane)
    return (cpu_s(pid) - before) * 1e6 / len(took), statistics.median(took) * 1e3


def startup_s(serve: Callable[[], subprocess.Popen[bytes]], port: int) -> float:
    """Start the proxy until its first answer."""
    begun = time.monotonic()
    process = serve()
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port)) as sock:
                ask(sock, "plain")
            break
        except OSError:
            time.sleep(0.005)
    took = time.monotonic() - begun
    process.terminate()
    process.wait()
    return took


def pss_mib(pid: int) -> float:
    """Memory of a process and its children, shared pages counted once."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    lines = (line for one in [pid, *children] for line in Path(f"/proc/{one}/smaps_rollup").read_text().splitlines())
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--worker-class", default="gthread")
    options = parser.parse_args()
    load_core = (os.cpu_count() or 1) - 1
    os.sched_setaffinity(0, {load_core})
    up, ports = free_port(), {name: free_port() for name in ("proxy", "as it comes", "four workers")}
    environ = {"TARGET_BASE_URL": f"http://127.0.0.1:{up}", "HOST": "127.0.0.1", "WORKER_CLASS": options.worker_class}
    command = [sys.executable, "cot_proxy.py"]
    upstream = start([sys.executable, "benchmarks/upstream.py", str(up)], up, load_core)
    running = {
        "proxy": start(command, ports["proxy"], 0, **environ, WORKERS="1", PORT=str(ports["proxy"])),
        "as it comes": start(
            command,
            ports["as it comes"],
            0,
            **environ,
            WORKERS="1",
            PORT=str(ports["as it comes"]),
            THINK_FILTER="false",
        ),
    }
    print(f"{'lane':8}{'':14}{'CPU us/request':>16}{'CPU us/event':>14}{'median ms':>11}{'direct ms':>11}")
    for lane in LANES:
        direct = statistics.median(load(up, lane)) * 1e3
        for name, process in running.items():
            measured(ports[name], process.pid, lane)
            runs = [measured(ports[name], process.pid, lane) for _ in range(options.rounds)]
            cpu_us, median_ms = (statistics.median(values) for values in zip(*runs, strict=True))
            event_us = f"{cpu_us / lane.events:.2f}" if lane.events else ""
            print(f"{lane.model:8}{name:14}{cpu_us:16.0f}{event_us:>14}{median_ms:11.2f}{direct:11.2f}")
    for process in running.values():
        process.terminate()
        process.wait()
    four = ports["four workers"]
    alone = {**environ, "PATH": os.environ["PATH"], "PORT": str(four)}
    starts = [
        startup_s(lambda: subprocess.Popen(command, cwd=ROOT, env=alone, stderr=subprocess.DEVNULL), four)
        for _ in range(options.rounds)
    ]
    resting = start(command, four, load_core, **environ, PORT=str(four))
    time.sleep(1)
    memory = pss_mib(resting.pid)
    print(f"\nstart to first answer {statistics.median(starts):.2f} s, idle with 4 workers {memory:.0f} MiB (PSS)")
    for process in (resting, upstream):
        process.terminate()
        process.wait()


if __name__ == "__main__":
    main()
