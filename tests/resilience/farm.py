"""A proxy with four workers in front of upstreams that a test switches."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.support.client import Answer, ask
from tests.support.fixtures import Serve
from tests.support.processes import Proxy, eventually
from tests.support.switched_upstream import SwitchedUpstream

Json = dict[str, Any]

WORKERS = 4
#: Whether scenarios take as long as they do in service, and are held to figures on the clock: on a quiet machine.
IS_FULL = os.environ.get("RESILIENCE") == "full"

#: Gives the upstream of a name, as it was when it started.
Find = Callable[[str], SwitchedUpstream]


class Farm:
    """Upstreams by name, and proxies in front of them."""

    def __init__(self, find: Find, start: Serve, folder: Path) -> None:
        self.upstream = find
        self.workers = WORKERS
        self.folder = folder
        self._start = start

    def write(self, *names: str, options: Mapping[str, Json] | None = None, **settings: Any) -> Path:
        """Write a config file with these upstreams; `options` are more settings of some of them, an `api_key` of None
        takes it away. Without `models` the
        model m1 has all of them as its routes."""
        options = options or {}
        listed = {
            name: {"base_url": self.upstream(name).url, "api_key": f"sk-of-{name}", **options.get(name, {})}
            for name in names
        }
        for options_of_one in listed.values():
            if options_of_one["api_key"] is None:
                del options_of_one["api_key"]
        settings.setdefault("models", {"m1": {"upstream": list(names)}})
        file = self.folder / "config.yaml"
        file.write_text(json.dumps({"upstreams": listed, **settings}, indent=1))
        return file

    def serve(self, environ: Mapping[str, str] | None = None) -> Proxy:
        """Start the proxy with the file that was written."""
        file = str(self.folder / "config.yaml")
        settings = {"CONFIG_PATH": file, "WORKERS": str(self.workers), "THREADS": "32", **(environ or {})}
        proxy = self._start(**settings)
        eventually(lambda: len(proxy.workers()) == int(settings["WORKERS"]))
        return proxy


def text_of(answer: Answer) -> str:
    """Return the text of a chat, streamed or not."""
    assert answer.status == 200, answer.body
    if answer.header("Content-Type").startswith("text/event-stream"):
        return answer.text
    text: str = answer.json["choices"][0]["message"]["content"]
    return text


def speaker(answer: Answer) -> str:
    """Return the name of the upstream that gave a whole answer."""
    name, _, rest = text_of(answer).partition(" ")
    assert (rest, answer.whole) == ("says hello", True), answer.body
    return name


def attempts(answer: Answer) -> int:
    """Return how many requests were sent upstream for an answer."""
    return int(answer.header("X-Attempts") or 1)


def reload(proxy: Proxy, file: Path) -> None:
    """Have the settings of a file read again; afterwards there is one more model."""
    document = json.loads(file.read_text())
    name = f"read-again-{len(document['models'])}"
    document["models"][name] = {"upstream_model_name": "m1"}
    file.write_text(json.dumps(document))
    proxy.process.send_signal(signal.SIGHUP)
    eventually(lambda: name.encode() in ask(proxy.port, "GET", "/v1/models").body)


def error_codes(answer: Answer) -> list[str]:
    """Return the codes of the error events of a stream."""
    return [chunk["error"]["code"] for chunk in answer.chunks if "error" in chunk]


def states(proxy: Proxy) -> dict[str, Json]:
    """Return what the proxy says of its upstreams, by their names."""
    found: dict[str, Json] = ask(proxy.port, "GET", "/metrics", Accept="application/json").json["upstreams"]
    return found


def state(proxy: Proxy, name: str) -> Json:
    """Return what the proxy says of one upstream."""
    return states(proxy)[name]


def threads(proxy: Proxy) -> int:
    """Return how many threads the workers have."""
    count = 0
    for pid in proxy.workers():
        with suppress(OSError):
            status = Path(f"/proc/{pid}/status").read_text()
            count += int(re.findall(r"Threads:\s+(\d+)", status)[0])
    return count


def retry_after(answer: Answer) -> float:
    """Return the seconds after which a refused client may come again."""
    return float(answer.header("Retry-After"))


def wait_until_served_by(name: str, ask_once: Callable[[], Answer]) -> Answer:
    """Ask until the upstream of this name answers; return its answer. Every answer on the way must be whole."""
    found: list[Answer] = []

    def is_served() -> bool:
        found.append(ask_once())
        return speaker(found[-1]) == name

    eventually(is_served)
    return found[-1]
