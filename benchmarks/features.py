"""What features cost a request: CPU beside a proxy without them; prints a Markdown table.

    python benchmarks/features.py [--only traces,limits] [--rounds 18] [--seconds 1] [--clients 32] [--documents]

Streams of one word, or documents, so that the request counts and not its events; CPU as in `run.py`. In each round each
row is measured once, and begins by turns: to be the first is worth 10 to 20 us. After some rounds all are started anew:
where things lie in the memory of a process is worth as much, for as long as it lives. So rows that need the same
settings share a proxy, and differ by what the client sends: whether its trace is recorded, or the limits of its key.
The last column is the standard error of the mean of the differences within a round; `plain, again` shows what two
equal proxies differ by. The collector, on the core of the load, takes what it gets and reads none of it.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing import Process
from pathlib import Path
from typing import Any

import load
import servers
from load import Lane
from servers import Server

sys.path.insert(0, str(servers.ROOT))

from argoproxy.protocol.keys.key_token import derive_public, make_token
from argoproxy.stores.keys.key_transfer import AbsentKeys, import_keys
from argoproxy.stores.keys.sqlite_keys import SqliteKeys

ROUNDS_OF_A_START = 6
#: What was kept for later (spans, rows of the ledger) is sent or written a second after that: it is part of the cost.
LAST_WORK_S = 1.3
PLAIN, STATIC, UNRECORDED = "plain", "a key of the settings", "traces, this one not recorded"
#: The header `traceparent` of a request whose trace is recorded, and of one whose is not.
RECORDED, NOT_RECORDED = ({"traceparent": f"00-{'ab' * 16}-{'cd' * 8}-{flags}"} for flags in ("01", "00"))
SECRETS = {name: make_token(derive_public(name), name.encode()) for name in ("static", "free", "limited")}
MANAGED = [
    {"name": "free", "key": SECRETS["free"]},
    {"name": "limited", "key": SECRETS["limited"], "rpm": 10**8, "tpm": 10**9, "budget": "100000000/month"},
]


@dataclass(frozen=True)
class Row:
    """A row of the table: a proxy with these settings, what the client sends, and what it is compared with."""

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    beside: str = PLAIN
    #: `traces` or `limits`, "" for those that are always measured.
    feature: str = ""


def bearer(name: str) -> Mapping[str, str]:
    """Return the header of a client with one of the keys."""
    return {"Authorization": f"Bearer {SECRETS[name]}"}


def rows(endpoint: str, state: Path) -> Sequence[Row]:
    """Return the rows of the table."""
    traces = {"otlp_endpoint": endpoint}
    static = {"enable_auth": True, "api_key_secret": SECRETS["static"]}
    managed = {"enable_auth": True, "state_path": str(state), "prices": {"*": {"input": 1, "output": 4}}}
    return (
        Row(PLAIN),
        Row("plain, again"),
        Row(UNRECORDED, traces, NOT_RECORDED, feature="traces"),
        Row("traces, this one recorded", traces, RECORDED, UNRECORDED, feature="traces"),
        Row("log of JSON", {"log_format": "json"}, feature="traces"),
        Row(STATIC, static, bearer("static"), feature="limits"),
        Row("a managed key, prices, the ledger", managed, bearer("free"), STATIC, feature="limits"),
        Row("and rpm, tpm, a budget", managed, bearer("limited"), STATIC, feature="limits"),
    )


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


def create_keys(state: Path) -> None:
    """Create the managed keys."""
    store = SqliteKeys(state)
    store.create()
    import_keys(store, "benchmark", {"keys": MANAGED}, AbsentKeys.KEPT)


def build_servers(folder: Path, up: int, measured: Sequence[Row], worker_class: str) -> dict[str, Server]:
    """Return the proxy of each row: rows with the same settings share one, but for the first two."""
    built = dict[str, Server]()
    found = dict[str, Server]()
    for row in measured:
        document = json.dumps({"target_base_url": f"http://127.0.0.1:{up}", **row.settings})
        if document not in found or not row.settings:
            file = folder / f"{len(built)}.yaml"
            file.write_text(document)
            environ = {"CONFIG_PATH": str(file), "WORKER_CLASS": worker_class}
            found[document] = servers.configured_proxy(row.name, servers.ROOT, **environ)
        built[row.name] = found[document]
    return built


def spend(row: Row, server: Server, options: argparse.Namespace) -> float:
    """Run the load of a row; return CPU microseconds for each request."""
    model, begun = "plain" if options.documents else "word", server.cpu_s()
    lane = Lane(row.name, model, options.clients, row.headers, is_stream=not options.documents)
    result = load.run(server.port, lane, options.seconds)
    if result.wrong or not result.right:
        raise SystemExit(f"{row.name}: {result.wrong} answers were wrong, {result.right} right")
    time.sleep(LAST_WORK_S)
    return 1e6 * (server.cpu_s() - begun) / result.right


def measure(
    measured: Sequence[Row], tested: Mapping[str, Server], options: argparse.Namespace
) -> dict[str, list[float]]:
    """Return what each row took, in each round."""
    spent: dict[str, list[float]] = {row.name: [] for row in measured}
    for number in range(options.rounds):
        if number % ROUNDS_OF_A_START == 0:
            for server in {id(server): server for server in tested.values()}.values():
                server.stop()
                server.start()
            for row in measured:
                spend(row, tested[row.name], options)
        first = number % len(measured)
        for row in (*measured[first:], *measured[:first]):
            spent[row.name].append(spend(row, tested[row.name], options))
    return spent


def table(measured: Sequence[Row], spent: Mapping[str, Sequence[float]]) -> str:
    """Return the table: the mean of the rounds, and that of the differences within a round."""
    lines = ["| | CPU us a request | more | than | +/- |", "| --- | ---: | ---: | --- | ---: |"]
    for row in measured:
        more = [mine - theirs for mine, theirs in zip(spent[row.name], spent[row.beside], strict=True)]
        error = statistics.stdev(more) / len(more) ** 0.5
        figures = f"{statistics.mean(spent[row.name]):.0f} | {statistics.mean(more):.0f} | {row.beside} | {error:.0f}"
        lines.append(f"| {row.name} | {figures} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="traces,limits", help="the features that are measured")
    parser.add_argument("--rounds", type=int, default=18)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each row in each round")
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--documents", action="store_true", help="in place of streams")
    parser.add_argument("--worker-class", default="gthread")
    options = parser.parse_args()
    os.sched_setaffinity(0, {servers.LOAD_CORE})
    up, port = servers.upstream(), servers.free_port()
    collector = Process(target=collect, args=(port,), daemon=True)
    collector.start()
    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder, "state")
        create_keys(state)
        known = rows(f"http://127.0.0.1:{port}", state)
        measured = [row for row in known if not row.feature or row.feature in options.only.split(",")]
        tested = build_servers(Path(folder), up.port, measured, options.worker_class)
        up.start(servers.LOAD_CORE)
        try:
            print(table(measured, measure(measured, tested, options)))
        finally:
            for server in (*tested.values(), up):
                server.stop()


if __name__ == "__main__":
    main()
