"""What a kept answer costs beside one that the upstream is asked for; prints a Markdown table.

    python benchmarks/cache.py [--rounds 5] [--seconds 1] [--clients 8] [--worker-class gthread]

One proxy with one worker and a ledger. In each round each way is measured once: a model whose answers are not kept, one
whose answers are kept and that is asked nevertheless (`Cache-Control: no-cache`, so each answer is stored again, as
after a miss), and hits. CPU is that of the proxy, as in `run.py`; a ratio is that of one round, hits to misses.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import load
import servers
from load import Lane
from servers import Server

RULES = {"kept-*": {"cache": {"ttl": "1d", "sampling": True}}}
ANSWERS = {
    "whole, 330 characters": ("plain", False),
    "stream, 1 event": ("word", True),
    "stream, 202 events": ("flood", True),
}
NOT_KEPT, MISS, HIT = "not kept", "miss", "hit"

Cells = dict[str, list[float]]


def lane_of(way: str, content: str, options: argparse.Namespace, *, is_stream: bool) -> Lane:
    headers = {"Cache-Control": "no-cache"} if way == MISS else {}
    model = content if way == NOT_KEPT else f"kept-{content}"
    return Lane(way, model, options.clients, headers, is_stream=is_stream)


def measure(server: Server, lane: Lane, seconds: float) -> float:
    """Run a lane: CPU microseconds for each request. Raises SystemExit for a wrong answer."""
    before = server.cpu_s()
    result = load.run(server.port, lane, seconds)
    if result.wrong or not result.right:
        raise SystemExit(f"{lane.model}: {result.wrong} answers were wrong, {result.right} right")
    time.sleep(0.03)
    return (server.cpu_s() - before) * 1e6 / result.right


def show(name: str, cells: Cells) -> str:
    """Return the row of an answer: medians of the rounds, and of the ratios in each."""
    ratios = [hit / asked for hit, asked in zip(cells[HIT], cells[MISS], strict=True)]
    spent = [f"{statistics.median(cells[way]):.0f}" for way in (NOT_KEPT, MISS, HIT)]
    ratio = f"{statistics.median(ratios):.2f} [{min(ratios):.2f}..{max(ratios):.2f}]"
    return f"| {' | '.join((name, *spent, ratio))} |"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--worker-class", default="gthread")
    options = parser.parse_args(arguments)
    os.sched_setaffinity(0, {servers.LOAD_CORE})
    upstream = servers.upstream()
    upstream.start(servers.LOAD_CORE)
    table: dict[str, Cells] = {name: {} for name in ANSWERS}
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "config.yaml"
        config.write_text(json.dumps({"state_path": folder, "models": RULES}))
        urls = {"TARGET_BASE_URL": f"http://127.0.0.1:{upstream.port}", "CONFIG_PATH": str(config)}
        log = {"LOG_LEVEL": "warning", "WORKER_CLASS": options.worker_class}
        proxy = servers.configured_proxy("proxy", servers.ROOT, **urls, **log)
        proxy.start()
        try:
            for _ in range(options.rounds):
                for name, (content, is_stream) in ANSWERS.items():
                    for way in (NOT_KEPT, MISS, HIT):
                        lane = lane_of(way, content, options, is_stream=is_stream)
                        table[name].setdefault(way, []).append(measure(proxy, lane, options.seconds))
        finally:
            proxy.stop()
            upstream.stop()
    print(f"| CPU us of a request | {NOT_KEPT} | {MISS} | {HIT} | ratio |\n| --- | --- | --- | --- | --- |")
    for name, cells in table.items():
        print(show(name, cells))


if __name__ == "__main__":
    main()
