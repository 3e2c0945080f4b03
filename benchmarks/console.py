"""What a console costs while 256 slow streams run on 4 workers and one page is open; prints a Markdown table.

    python benchmarks/console.py [--rounds 3] [--clients 256] [--views live,models,log]

In each round, which each of them begins by turns, the streams run once for each view, and twice without a viewer: what
these two differ is noise. The viewer asks as the page does: as often, and with the tag of the answer before. The proxy
runs on the first core, console included, load and viewer on the last one. `behind` is the time from when the page was
to ask to when it had its answer, the longest of all.
"""

from __future__ import annotations

import argparse
import http.client
import os
import statistics
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import load
import servers
from load import Lane
from servers import Server

TOKEN = "token-of-the-benchmark"
#: Seconds between two questions of the page.
PAUSES_S = {"live": 1.0, "upstreams": 2.0, "log": 2.0, "models": 5.0, "keys": 5.0, "usage": 10.0}
#: Requests before the measurement, so that there is something to show.
BEFORE = 2000
NOBODY, AGAIN = "nobody looks", "nobody looks, again"
PATIENCE_S = 60.0


@dataclass
class Viewer:
    """A page that is open."""

    port: int
    view: str
    behind_s: list[float] = field(default_factory=list)
    tag: str = ""

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()

    def close(self) -> None:
        """Close the page."""
        self._stop.set()
        self._thread.join()

    def _look(self) -> None:
        due = time.monotonic()
        while not self._stop.wait(max(0.0, due - time.monotonic())):
            self._ask()
            self.behind_s.append(time.monotonic() - due)
            due = time.monotonic() + PAUSES_S[self.view]

    def _ask(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            headers = {"Authorization": f"Bearer {TOKEN}", "If-None-Match": self.tag}
            connection.request("GET", f"/api/{self.view}", headers=headers)
            answer = connection.getresponse()
            answer.read()
            assert answer.status in (200, 304), answer.status
            self.tag = answer.headers["ETag"]
        finally:
            connection.close()


@dataclass
class Row:
    """What was measured with one view, round by round."""

    console: list[float] = field(default_factory=list)
    event: list[float] = field(default_factory=list)
    behind_s: list[float] = field(default_factory=list)


def find_console(server: Server) -> int:
    """Return the process of a proxy's console."""
    until = time.monotonic() + servers.START_S
    while time.monotonic() < until:
        # A thread of the master starts it, so it is none of the children that `servers.tree` knows.
        for file in Path(f"/proc/{server.pid}/task").glob("*/children"):
            for pid in map(int, file.read_text().split()):
                if Path(f"/proc/{pid}/cmdline").read_bytes().endswith(b"\0console\0"):
                    return pid
        time.sleep(0.1)
    raise SystemExit("there is no console")


def measure(row: Row, server: Server, console: Server, view: str, lane: Lane) -> None:
    """Run the streams while a view is open."""
    viewer = Viewer(console.port, view) if view in PAUSES_S else None
    all_before, before, begun = server.cpu_s(), console.cpu_s(), time.monotonic()
    # What ends it is the number of requests; on a busy machine that takes long.
    result = load.run(server.port, lane, PATIENCE_S)
    spent_s, console_s = server.cpu_s() - all_before, console.cpu_s() - before
    seconds = time.monotonic() - begun
    if viewer:
        viewer.close()
        row.behind_s += viewer.behind_s
    if result.wrong:
        raise SystemExit(f"{result.wrong} answers were wrong")
    row.console.append(100 * console_s / seconds)
    row.event.append(spent_s * 1e6 / result.right / lane.events)


def print_rows(rows: dict[str, Row]) -> None:
    """Print the table: medians of the rounds, and of the differences within a round."""
    print("| view | console, % of a core | proxy, CPU us an event | more | behind, s |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for view, row in rows.items():
        behind = f"{max(row.behind_s):.2f}" if row.behind_s else ""
        more = statistics.median(mine / alone - 1 for mine, alone in zip(row.event, rows[NOBODY].event, strict=True))
        console, event = statistics.median(row.console), statistics.median(row.event)
        print(f"| {view} | {console:.1f} | {event:.1f} | {more:+.1%} | {behind} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clients", type=int, default=256)
    parser.add_argument("--views", default="live,models,log")
    options = parser.parse_args()
    os.sched_setaffinity(0, {servers.LOAD_CORE})
    # Two requests of three seconds each, so that a page that asks every five seconds does so.
    lane = Lane("slow", "slow", options.clients, requests=2, ramp_s=1.0)
    up, port = servers.upstream(), servers.free_port()
    with tempfile.TemporaryDirectory() as folder:
        settings = {"CONSOLE": f"127.0.0.1:{port}", "CONSOLE_TOKEN": TOKEN, "OUTPUT_PATH": folder, "WORKERS": "4"}
        server = servers.proxy("proxy", servers.ROOT, up.port, **settings)
        rows = {view: Row() for view in (NOBODY, *options.views.split(","), AGAIN)}
        try:
            up.start(servers.LOAD_CORE)
            server.start()
            console = Server("console", port, pid=find_console(server))
            load.run(server.port, Lane("before", "word", 16, requests=BEFORE // 16), 1.0)
            for number in range(options.rounds):
                views = list(rows)
                first = number % len(views)
                for view in views[first:] + views[:first]:
                    measure(rows[view], server, console, view, lane)
        finally:
            server.stop()
            up.stop()
    print_rows(rows)


if __name__ == "__main__":
    main()
