"""What the proxy costs: CPU per request and per event, slow streams held, start, memory; prints Markdown tables.

    python benchmarks/run.py [--against DIR] [--peer NAME=URL,PID ...] [--worker-class gthread,gevent] [--rounds 3]

Each server runs with one worker on core 0, upstream and load on the last core; rounds are interleaved. CPU is user and
system time of all processes of a server, from /proc, divided by what was served: far steadier than anything on the
clock. Trust ratios within a run, nothing across machines. `floor` is a bare Gunicorn with Flask and an adapter of
requests that sends, and does nothing else. `--against` measures another tree of this project in the same run; `--peer`
any proxy on loopback that forwards to the port of `--upstream-port`. docs/performance.md explains the rows.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import load
import servers
from load import Lane
from servers import Server

TO_STREAM, TO_DOCUMENT = {"X-Upstream-Mode": "stream"}, {"X-Upstream-Mode": "non_stream"}
REQUESTS = [Lane(f"request, c={clients}", "plain", clients, is_stream=False) for clients in (1, 8, 32, 64)]
FLOODS = [Lane(f"flooded event, c={clients}", "flood", clients) for clients in (1, 32)]
PACED = Lane("paced event, 32 x 10 ms", "paced", 32, requests=1, ramp_s=0.2)
THINK = Lane("flooded event, thoughts, c=32", "think", 32)
CONVERTED = [
    Lane("assembled event, c=32", "flood", 32, TO_STREAM, is_stream=False, is_converted=True),
    Lane("split request, c=32", "plain", 32, TO_DOCUMENT, is_converted=True),
]
COMMON, OURS = [*REQUESTS, *FLOODS, PACED], [THINK, *CONVERTED]
EXTRAS = [REQUESTS[2], FLOODS[1], THINK]
#: How many slow streams are tried, one after the other until some are late or lost.
HELD = (64, 128, 256, 512, 768, 1024, 1536, 2048)
LATE_S = 2.0
#: Seconds that a slow stream takes, as it is sent.
SLOW_S = 3.0

Row = dict[str, list[float]]
Table = dict[str, Row]


def measure(server: Server, lane: Lane, seconds: float) -> float | None:
    """Run a lane: CPU microseconds for each event, or for each request where there are none; None if it failed."""
    before = server.cpu_s() if server.pid else 0.0
    result = load.run(server.port, lane, seconds)
    if result.wrong or not result.right:
        return None
    if not server.pid:
        return statistics.median(result.total_s) * 1e6
    time.sleep(0.03)
    return (server.cpu_s() - before) * 1e6 / result.right / (lane.events or 1)


def run_lanes(table: Table, lanes: Sequence[Lane], tested: Sequence[Server], options: argparse.Namespace) -> None:
    """Run lanes for so many rounds; a lane that fails once is not run again for that server."""
    for lane in lanes:
        for _ in range(options.rounds):
            for server in tested:
                values = table.setdefault(f"CPU us: {lane.name}", {}).setdefault(server.name, [])
                if None not in values and (server.is_ours or lane not in OURS):
                    values.append(measure(server, lane, options.seconds))  # type: ignore[arg-type]


def held_streams(server: Server, levels: Sequence[int]) -> int:
    """Return the largest of these numbers of slow streams that a server holds: all complete, none late."""
    most = 0
    for level in levels:
        lane = Lane("slow", "slow", level, requests=1, ramp_s=max(1.0, level / 500))
        result = load.run(server.port, lane, 2 * SLOW_S)
        late = max(result.first_s, default=0.0) > LATE_S or max(result.total_s, default=0.0) > SLOW_S + LATE_S
        if result.wrong or result.right < level or late:
            break
        most = level
    return most


def start_and_memory(table: Table, make: Callable[[], Iterator[Server]], rounds: int) -> None:
    """Start servers with two workers on all cores: seconds until they answer, and memory a second later."""
    os.sched_setaffinity(0, range(os.cpu_count() or 1))
    for _ in range(rounds):
        for server in make():
            table.setdefault("start, 2 workers, s", {}).setdefault(server.name, []).append(server.start(core=-1))
            time.sleep(1.0)
            table.setdefault("idle, 2 workers, PSS MiB", {}).setdefault(server.name, []).append(server.pss_mib())
            server.stop()
    os.sched_setaffinity(0, {servers.LOAD_CORE})


def candidates(up: int, options: argparse.Namespace, **environ: str) -> Iterator[Server]:
    """Yield the floor, the other tree and this one, for each class of workers."""
    for worker_class in options.worker_class.split(","):
        settings = {"WORKER_CLASS": worker_class, **environ}
        yield servers.floor(up, worker_class, **environ)
        if options.against:
            yield servers.proxy(f"against {worker_class}", options.against.resolve(), up, **settings)
        yield servers.proxy(f"this {worker_class}", servers.ROOT, up, **settings)


def peers(options: argparse.Namespace) -> Iterator[Server]:
    for text in options.peer:
        name, _, place = text.partition("=")
        url, _, pid = place.partition(",")
        yield Server(name, urlsplit(url).port or 80, pid=int(pid or 0), is_ours=False)


def variants(up: int, worker_class: str, journal: str) -> Iterator[Server]:
    """Yield this tree with one thing more or less: what each costs."""
    base = {"WORKER_CLASS": worker_class}
    yield servers.proxy("as it is", servers.ROOT, up, **base)
    yield servers.proxy("journal on", servers.ROOT, up, **base, OUTPUT_PATH=journal)
    yield servers.proxy("journal, sizes only", servers.ROOT, up, **base, OUTPUT_PATH=journal, JOURNAL_BODIES="meta")
    yield servers.proxy("thoughts kept", servers.ROOT, up, **base, THINK_FILTER="false")
    yield servers.proxy("no log line", servers.ROOT, up, **base, LOG_LEVEL="warning")


def cell(values: Sequence[float | None]) -> str:
    """Return the median, and the least and the greatest value."""
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return "error"
    if not known:
        return "-"
    digits = 0 if max(known) >= 100 else 2 if max(known) < 10 else 1
    least, middle, most = (f"{value:.{digits}f}" for value in (min(known), statistics.median(known), max(known)))
    return middle if len(known) == 1 else f"{middle} [{least}..{most}]"


def markdown(table: Table, names: Sequence[str]) -> str:
    lines = [f"| | {' | '.join(names)} |", f"| --- |{' ---: |' * len(names)}"]
    return "\n".join(
        [*lines, *(f"| {row} | {' | '.join(cell(of.get(name, ())) for name in names)} |" for row, of in table.items())]
    )


def compare(up: Server, options: argparse.Namespace) -> str:
    """Measure all candidates and peers side by side."""
    table: Table = {}
    tested = [*candidates(up.port, options), *peers(options)]
    for server in tested:
        server.start()
        load.run(server.port, REQUESTS[1], 0.5)
        load.run(server.port, FLOODS[1], 0.5)
    run_lanes(table, [*COMMON, *OURS], tested, options)
    for server in tested:
        table.setdefault("slow streams held", {})[server.name] = [held_streams(server, options.held)]
    for server in tested:
        server.stop()
    start_and_memory(table, lambda: candidates(up.port, options, WORKERS="2"), options.rounds)
    return markdown(table, [server.name for server in tested])


def compare_settings(up: Server, options: argparse.Namespace) -> str:
    """Measure what the journal, the filter of thoughts and the log line cost."""
    table: Table = {}
    journal = tempfile.mkdtemp()
    tested = list(variants(up.port, options.worker_class.partition(",")[0], journal))
    try:
        for server in tested:
            server.start()
            load.run(server.port, REQUESTS[1], 0.5)
        run_lanes(table, EXTRAS, tested, options)
    finally:
        for server in tested:
            server.stop()
        shutil.rmtree(journal)
    return markdown(table, [server.name for server in tested])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=1.5, help="of a run without a number of requests")
    parser.add_argument("--worker-class", default="gthread,gevent", help="one or more, separated by commas")
    parser.add_argument("--against", type=Path, help="another tree of this project")
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=URL,PID", help="a proxy that runs")
    parser.add_argument("--upstream-port", type=int, default=0, help="for peers; any free one if not given")
    parser.add_argument("--held", type=lambda text: tuple(map(int, text.split(","))), default=HELD)
    options = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    os.sched_setaffinity(0, {servers.LOAD_CORE})
    up = servers.upstream(options.upstream_port)
    up.start(servers.LOAD_CORE)
    try:
        print(compare(up, options), "\n\n", compare_settings(up, options), sep="")
    finally:
        up.stop()


if __name__ == "__main__":
    main()
