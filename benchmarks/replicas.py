"""What one Redis server takes for the limits of many replicas: `python benchmarks/replicas.py [REPLICAS] [SECONDS]`.

It starts redis-server, and so many replicas (50) as threads of this process, each with a connection of its own. They
admit and settle requests with rpm, tpm, a place and a budget, of twenty keys, for so many seconds (5) with a pause
between them, then without one. The last rows hold ten thousand requests open, and renew their leases once.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import quantiles

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from argoproxy.errors import StateUnavailable
from argoproxy.protocol.limits.claims import ClaimMaker
from argoproxy.protocol.limits.limits import Budget, Claim, LimitedSubject, Limits, Period
from argoproxy.protocol.limits.windows import BudgetCalendar
from argoproxy.stores.redis.redis_limits import RedisLimits
from argoproxy.stores.redis.server import RedisServer

KEYS = 20
OPEN = 10_000
#: Between two requests of a replica, where it pauses.
PAUSE_S = 0.1
LIMITS = Limits(rpm=10**8, tpm=10**9, concurrent=10**6, budget=Budget(10**17, Period.MONTH))
CLAIMS = ClaimMaker(BudgetCalendar(lambda _: (2026, 11, 23)))


@contextmanager
def redis_server() -> Iterator[int]:
    """Run a server that keeps nothing in files, and yield its port."""
    program = shutil.which("redis-server") or sys.exit("redis-server is not installed")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
    options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", tempfile.mkdtemp()]
    process = subprocess.Popen([program, *options], stdout=subprocess.DEVNULL)
    try:
        yield port
    finally:
        process.kill()
        process.wait()


def connect(port: int) -> RedisServer:
    """Return a connection of a replica."""
    return RedisServer(f"redis://127.0.0.1:{port}/0", 60.0)


def used_cpu_s(server: RedisServer) -> float:
    """Return the CPU time that the server has taken."""
    info = read_info(server, "cpu")
    return float(info["used_cpu_user"]) + float(info["used_cpu_sys"])


def read_info(server: RedisServer, section: str) -> dict[str, str]:
    """Return a section of what the server tells of itself."""
    answer = server.execute("INFO", section)
    if isinstance(answer, dict):
        return {str(name): str(value) for name, value in answer.items()}
    lines = (answer.decode() if isinstance(answer, bytes) else str(answer)).splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)


def claims_of(number: int, now: float) -> Sequence[Claim]:
    """Return what a request asks for."""
    return CLAIMS.make([LimitedSubject(f"key:{number % KEYS}", LIMITS)], 1300, 10**6, now)


def serve(port: int, replica: int, until: float, pause_s: float, times_s: list[float]) -> None:
    """Admit and settle requests of a replica, and note how long each of both took."""
    server = connect(port)
    limits = RedisLimits(server, "bench")
    number = 0
    while (begun := time.monotonic()) < until:
        number += 1
        now, request_id = time.time(), f"{replica:04x}{number:028x}"
        claims = claims_of(number, now)
        limits.admit(request_id, claims, 100, now)
        admitted = time.monotonic()
        limits.settle(request_id, {claim.row: claim.amount // 2 for claim in claims}, now)
        times_s += (admitted - begun, time.monotonic() - admitted)
        time.sleep(max(0.0, begun + pause_s - time.monotonic()))
    server.close()


def measure(port: int, replicas: int, seconds: float, pause_s: float) -> None:
    """Print a row of the table for so many replicas."""
    control, times_s = connect(port), list[float]()
    control.execute("PING")
    cpu_s, begun = used_cpu_s(control), time.monotonic()
    tasks = [(port, replica, begun + seconds, pause_s, times_s) for replica in range(replicas)]
    threads = [threading.Thread(target=serve, args=task) for task in tasks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took_s, requests = time.monotonic() - begun, len(times_s) // 2
    cpu_us = 1e6 * (used_cpu_s(control) - cpu_s) / requests
    half, last = (1000 * quantiles(times_s, n=100)[index] for index in (49, 98))
    print(f"| {replicas} | {requests / took_s:.0f} | {cpu_us:.0f} | {1e6 / cpu_us:.0f} | {half:.2f} | {last:.2f} |")
    control.close()


def measure_open(port: int) -> None:
    """Print what requests take that stay open."""
    server = connect(port)
    limits = RedisLimits(server, "open")
    before, now = int(read_info(server, "memory")["used_memory"]), time.time()
    ids = [f"{number:032x}" for number in range(OPEN)]
    for number, request_id in enumerate(ids):
        limits.admit(request_id, claims_of(number, now), 100, now)
    bytes_each = (int(read_info(server, "memory")["used_memory"]) - before) / OPEN
    cpu_s = used_cpu_s(server)
    limits.renew(ids, now)
    cpu_us = 1e6 * (used_cpu_s(server) - cpu_s) / OPEN
    print(f"\nOpen requests: {bytes_each:.0f} bytes each; a renewed lease: {cpu_us:.1f} us of CPU")
    server.close()


def main() -> None:
    """Print the table."""
    replicas = int(sys.argv[1]) if sys.argv[1:] else 50
    seconds = float(sys.argv[2]) if sys.argv[2:] else 5.0
    print("| replicas | requests/s | Redis: us of CPU a request | at most a second | ms a script, p50 | p99 |")
    print("| ---: | ---: | ---: | ---: | ---: | ---: |")
    try:
        with redis_server() as port:
            time.sleep(0.5)
            measure(port, replicas, seconds, PAUSE_S)
            measure(port, replicas, seconds, 0.0)
            measure_open(port)
    except StateUnavailable as error:
        sys.exit(f"the server could not be used: {error}")


if __name__ == "__main__":
    main()
