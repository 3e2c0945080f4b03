"""What an event costs in the other APIs, converted or handed over, beside that of a chat; prints a Markdown table.

    python benchmarks/apis.py [--rounds 7] [--seconds 1] [--clients 32] [--against DIR]

One proxy with one worker has three upstreams: one of each API, which all send the same 200 words, one event each, in
the form of that API. In each round each way is measured once, the chat first, and divided by that chat. CPU as in
`run.py`. It is divided by 202 events in every way, the number of a chat's: what other APIs send around the words (6 to
8 events) counts as part of these. The same for streams of one word shows what is the request's. docs/performance.md
explains the columns.
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
MODELS = {"anthropic-*": "anthropic", "responses-*": "responses"}
WAYS = {
    "chat: chat": (CHAT, ""),
    "Messages: chat, converted": (MESSAGES, ""),
    "Responses: chat, converted": (RESPONSES, ""),
    "chat: Messages, converted": (CHAT, "anthropic-"),
    "Messages: Messages, handed over": (MESSAGES, "anthropic-"),
    "Responses: Responses, handed over": (RESPONSES, "responses-"),
}
REFERENCE = "chat: chat"
EVENTS = 202
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
    """Run a lane: CPU microseconds for each request. Raises SystemExit for a wrong answer."""
    before = server.cpu_s()
    result = load.run(server.port, lane, seconds)
    if result.wrong or not result.right:
        raise SystemExit(f"{lane.name}: {result.wrong} answers were wrong, {result.right} right")
    time.sleep(0.03)
    return (server.cpu_s() - before) * 1e6 / result.right


def run_round(server: Server, content: str, options: argparse.Namespace, cells: Cells) -> None:
    """Measure each way once."""
    for name, (path, model) in WAYS.items():
        lane = Lane(name, model + content, options.clients, path=path)
        cells.setdefault(name, []).append(measure(server, lane, options.seconds))


def show(name: str, cells: Cells, events: int) -> list[str]:
    """Return the CPU for each event, and how many times that of a chat it is: medians of the rounds."""
    ratios = [mine / chat for mine, chat in zip(cells[name], cells[REFERENCE], strict=True)]
    spent = statistics.median(cells[name]) / events
    return [
        f"{spent:.{0 if spent > 99 else 2}f}",
        f"{statistics.median(ratios):.2f} [{min(ratios):.2f}..{max(ratios):.2f}]",
    ]


def compare(tested: Sequence[Server], options: argparse.Namespace) -> str:
    columns: dict[str, tuple[Cells, int]] = {}
    for server in tested:
        columns[f"{server.name}: request of one word"] = {}, 1
        columns[f"{server.name}: flooded event"] = {}, EVENTS
        server.start()
        load.run(server.port, Lane("", "flood", options.clients), 0.5)
    for _ in range(options.rounds):
        for server in tested:
            run_round(server, "word", options, columns[f"{server.name}: request of one word"][0])
            run_round(server, "flood", options, columns[f"{server.name}: flooded event"][0])
    head = "".join(f" CPU us: {name} | times a chat |" for name in columns)
    lines = [f"| client: upstream |{head}", f"| --- |{' ---: | ---: |' * len(columns)}"]
    for name in WAYS:
        shown = [text for cells, events in columns.values() for text in show(name, cells, events)]
        lines.append(f"| {name} | {' | '.join(shown)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each way in each round")
    parser.add_argument("--clients", type=int, default=32)
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
