"""What traces and a log of JSON cost: CPU per request beside a proxy without them; prints a Markdown table.

    python benchmarks/tracing.py [--rounds 15] [--seconds 1] [--clients 32] [--against DIR]

Streams of one word, so that the request counts and not its events; CPU as in `run.py`. In each round each proxy is
measured once, and begins by turns: to be the first is worth 10 to 20 us. After some rounds all are started anew: where
things lie in the memory of a process is worth as much, for as long as it lives. The collector, on the core of the load,
takes what it gets and reads none of it. `plain, again` shows what two equal proxies differ by. `--against` measures
another tree, which needs no tracing, without any of this: what it costs while it is not set.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing import Process
from pathlib import Path
from socket import create_server

import load
import servers
from load import CHAT, Lane
from servers import Server

PLAIN = "plain"
ROUNDS_OF_A_START = 3
#: The last spans are sent a second after they were made: that is part of what requests cost.
LAST_SPANS_S = 1.2


class Taker(BaseHTTPRequestHandler):
    """A collector that reads bodies and throws them away."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def collect(port: int) -> None:
    """Serve a collector on the core of the load."""
    os.sched_setaffinity(0, {servers.LOAD_CORE})
    ThreadingHTTPServer(("127.0.0.1", port), Taker).serve_forever()


def free_port() -> int:
    with create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def configurations(up: int, collector: int) -> Mapping[str, Mapping[str, object]]:
    """Return the settings of each proxy."""
    base = {"target_base_url": f"http://127.0.0.1:{up}"}
    endpoint = {"otlp_endpoint": f"http://127.0.0.1:{collector}"}
    return {
        PLAIN: base,
        "plain, again": base,
        "traces": {**base, **endpoint},
        "traces, a tenth sampled": {**base, **endpoint, "otlp_sample": 0.1},
        "log of JSON": {**base, "log_format": "json"},
    }


def build_servers(folder: Path, options: argparse.Namespace, up: int, collector: int) -> list[Server]:
    tested = []
    for number, (name, document) in enumerate(configurations(up, collector).items()):
        file = folder / f"{number}.yaml"
        file.write_text(json.dumps(document))
        settings = {"CONFIG_PATH": str(file), "WORKER_CLASS": options.worker_class}
        tested.append(servers.configured_proxy(name, servers.ROOT, **settings))
        if name == PLAIN and options.against:
            tested.append(servers.configured_proxy("plain, against", options.against.resolve(), **settings))
    return tested


def restart(tested: Sequence[Server], lane: Lane) -> None:
    for server in tested:
        server.stop()
        server.start()
        load.run(server.port, lane, 0.7)


def run_round(tested: Sequence[Server], lane: Lane, seconds: float) -> Mapping[str, float]:
    """Run the load on each; return CPU microseconds for each request, by the server's name."""
    before, right = [server.cpu_s() for server in tested], list[int]()
    for server in tested:
        result = load.run(server.port, lane, seconds)
        if result.wrong or not result.right:
            raise SystemExit(f"{server.name}: {result.wrong} answers were wrong, {result.right} right")
        right.append(result.right)
    time.sleep(LAST_SPANS_S)
    spent = [server.cpu_s() - begun for server, begun in zip(tested, before, strict=True)]
    return {server.name: 1e6 * cpu / count for server, cpu, count in zip(tested, spent, right, strict=True)}


def compare(tested: Sequence[Server], options: argparse.Namespace) -> str:
    """Return the table: the median of the rounds, and that of the differences within a round."""
    spent: dict[str, list[float]] = {server.name: [] for server in tested}
    lane = Lane("request", "word", options.clients, path=CHAT)
    for number in range(options.rounds):
        if number % ROUNDS_OF_A_START == 0:
            restart(tested, lane)
        first = number % len(tested)
        for name, cpu in run_round((*tested[first:], *tested[:first]), lane, options.seconds).items():
            spent[name].append(cpu)
    lines = ["| | CPU us a request | more than plain |", "| --- | ---: | ---: |"]
    for name, values in spent.items():
        more = [mine - plain for mine, plain in zip(values, spent[PLAIN], strict=True)]
        lines.append(f"| {name} | {statistics.median(values):.0f} | {statistics.median(more):.0f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each proxy in each round")
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--worker-class", default="gthread")
    parser.add_argument("--against", type=Path, help="another tree of this project, in the same run")
    options = parser.parse_args()
    os.sched_setaffinity(0, {servers.LOAD_CORE})
    up, port = servers.upstream(), free_port()
    collector = Process(target=collect, args=(port,), daemon=True)
    collector.start()
    with tempfile.TemporaryDirectory() as folder:
        tested = build_servers(Path(folder), options, up.port, port)
        up.start(servers.LOAD_CORE)
        try:
            print(compare(tested, options))
        finally:
            for server in (*tested, up):
                server.stop()


if __name__ == "__main__":
    main()
