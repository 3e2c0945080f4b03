"""What an event costs in the other APIs, converted or handed over, beside that of a chat; prints a Markdown table.

    python benchmarks/apis.py [--rounds 7] [--seconds 1] [--clients 1,32] [--against DIR]

One proxy with one worker has three upstreams: one of each API, which all send the same 200 words, one event each, in
the form of that API. In each round each way is measured once, the chat first, and divided by that chat. CPU as in
`run.py`. It is divided by 202 events in every way, the number of a chat's: what other APIs send around the words (6 to
8 events) counts as part of these. docs/performance.md explains the rows.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import load
import servers
from load import CHAT, MESSAGES, RESPONSES, Lane
from servers import Server

#: The upstream that the first part of a model's name leads to.
MODELS = {"anthropic-flood": "anthropic", "responses-flood": "responses"}
WAYS = {
    "chat: chat": (CHAT, "flood"),
    "Messages: chat, converted": (MESSAGES, "flood"),
    "Responses: chat, converted": (RESPONSES, "flood"),
    "chat: Messages, converted": (CHAT, "anthropic-flood"),
    "Messages: Messages, handed over": (MESSAGES, "anthropic-flood"),
    "Responses: Responses, handed over": (RESPONSES, "responses-flood"),
}
REFERENCE = "chat: chat"
#: The CPU of each round, by the way.
Cells = dict[str, list[float]]


def configuration(up: int) -> Mapping[str, object]:
    base = f"http://127.0.0.1:{up}"
    return {
        "upstreams": {
            "chats": {"base_url": base, "responses": "convert"},
            "anthropic": {"kind": "anthropic", "base_url": base},
            "responses": {"base_url": base, "responses": "forward"},
        },
        "models": {name: {"upstream": upstream} for name, upstream in MODELS.items()},
    }


def measure(server: Server, lane: Lane, seconds: float) -> float:
    """Run a lane: CPU microseconds for each event. Raises SystemExit for a wrong answer."""
    before = server.cpu_s()
    result = load.run(server.port, lane, seconds)
    if result.wrong or not result.right:
        raise SystemExit(f"{lane.name}: {result.wrong} answers were wrong, {result.right} right")
    time.sleep(0.03)
    return (server.cpu_s() - before) * 1e6 / result.right / lane.events


def run_round(server: Server, clients: int, seconds: float, cells: Cells) -> None:
    for name, (path, model) in WAYS.items():
        cells.setdefault(name, []).append(measure(server, Lane(name, model, clients, path=path), seconds))


def row(name: str, cells: Sequence[Cells]) -> str:
    """Return the CPU and, in brackets, how many times that of a chat it is: medians of the rounds."""
    shown = []
    for values in cells:
        ratios = [mine / chat for mine, chat in zip(values[name], values[REFERENCE], strict=True)]
        spread = f"{min(ratios):.2f}..{max(ratios):.2f}"
        shown.append(f"{statistics.median(values[name]):.2f} | {statistics.median(ratios):.2f} [{spread}]")
    return f"| {name} | {' | '.join(shown)} |"


def markdown(results: Mapping[str, Cells]) -> str:
    columns = "".join(f" CPU us: {name} | times a chat |" for name in results)
    lines = [f"| client: upstream |{columns}", f"| --- |{' ---: | ---: |' * len(results)}"]
    return "\n".join([*lines, *(row(name, list(results.values())) for name in WAYS)])


def compare(tested: Sequence[Server], options: argparse.Namespace) -> str:
    results: dict[str, Cells] = {}
    for server in tested:
        server.start()
        for clients in options.clients:
            run_round(server, clients, 0.3, {})
    for _ in range(options.rounds):
        for server in tested:
            for clients in options.clients:
                cells = results.setdefault(f"{server.name}, c={clients}", {})
                run_round(server, clients, options.seconds, cells)
    return markdown(results)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each way in each round")
    parser.add_argument("--clients", type=lambda text: tuple(map(int, text.split(","))), default=(1, 32))
    parser.add_argument("--worker-class", default="gthread")
    parser.add_argument("--against", type=Path, help="another tree of this project, in the same run")
    options = parser.parse_args()
    os.sched_setaffinity(0, {servers.LOAD_CORE})
    up = servers.upstream()
    trees = {"this": servers.ROOT, **({"against": options.against.resolve()} if options.against else {})}
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as config:
        config.write(json.dumps(configuration(up.port)))
        config.flush()
        settings = {"CONFIG_PATH": config.name, "WORKER_CLASS": options.worker_class}
        tested = [servers.configured_proxy(name, folder, **settings) for name, folder in trees.items()]
        up.start(servers.LOAD_CORE)
        try:
            print(compare(tested, options))
        finally:
            for server in (*tested, up):
                server.stop()


if __name__ == "__main__":
    main()
