"""Mixed traffic of an hour in a few minutes: real requests through a real proxy, for someone who looks at its console.

    python -m tests.browser.traffic [SECONDS]

It prints the address of the console, and serves until it is interrupted. What is to be found there: the slowest model,
a request that failed and why, who used the most tokens, what a thought said.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from tests.browser.consoles import ConsoleProxy, address, console_settings
from tests.support.client import chat
from tests.support.processes import Proxy, Upstream, eventually, free_port, is_listening
from tests.support.scripts import CHUNKED, DONE, END, Step, chunked, completion, event, reply

#: Requests of an hour, how many are under way at once, and how many streams are left open at the end.
REQUESTS, CLIENTS, HELD = 600, 10, 3
TEXT = "The proxy relays what the model says, event by event, and keeps the bytes in which it came. "
THOUGHT = "The user asks for a capital. Paris is the capital of France, so the answer is one word."
QUESTIONS = [
    "What is the capital of France?",
    "Sum up this page.",
    "Write a test for this function.",
    "Translate: Hallo.",
]
REASON = "CUDA out of memory on device 3"


class Model(NamedTuple):
    """A model: what its upstream sends, how often it is asked for, and whether as a stream."""

    name: str
    weight: int
    steps: Sequence[Step]
    is_stream: bool = True


def _stream(text: str, first_s: float, pause_s: float, tokens: tuple[int, int]) -> list[Step]:
    """Return the steps of a stream, a word an event."""
    words = [f"{word} " for word in text.split()]
    usage = {"prompt_tokens": tokens[0], "completion_tokens": tokens[1], "total_tokens": sum(tokens)}
    last = f"data: {json.dumps({'id': 'up-1', 'object': 'chat.completion.chunk', 'choices': [], 'usage': usage})}\n\n"
    steps: list[Step] = [["sleep", first_s], ["send", CHUNKED]]
    for word in words:
        steps += [["send", chunked(event(word))], ["sleep", pause_s]]
    ends = "".join(map(chunked, (event("", "stop"), last, DONE)))
    return [*steps, ["send", ends + END]]


def _whole(text: str, tokens: tuple[int, int]) -> list[Step]:
    usage = {"prompt_tokens": tokens[0], "completion_tokens": tokens[1], "total_tokens": sum(tokens)}
    body = json.dumps({**json.loads(completion(text)), "usage": usage}).encode()
    return [["sleep", 0.05], reply(body=body, Content_Type="application/json")]


def _error(status: str, message: str) -> list[Step]:
    body = json.dumps({"error": {"message": message, "type": "server_error", "param": None, "code": None}}).encode()
    return [["sleep", 0.1], reply(status, body, Content_Type="application/json")]


MODELS = [
    Model("small-8b", 50, _stream(TEXT, 0.05, 0.01, (420, 180))),
    Model("coder-32b", 20, _stream(TEXT * 3, 0.3, 0.02, (2600, 640))),
    Model("large-405b", 6, _stream(TEXT * 2, 2.5, 0.05, (900, 350))),
    Model("thinker-r1", 10, _stream(f"<think> {THOUGHT} </think> Paris.", 0.2, 0.03, (35, 220))),
    Model("batch-70b", 10, _whole(TEXT, (5200, 90)), is_stream=False),
    Model("vision-11b", 3, _error("500 Internal Server Error", REASON)),
    Model("edge-3b", 2, [["send", CHUNKED + chunked(event("It breaks ")) + chunked(event("off"))], ["close"]]),
]
#: Callers, how often they ask, and their keys.
CALLERS = {
    "ann": (2, "sk-traffic-ann-0123456789"),
    "batch-jobs": (6, "sk-traffic-jobs-0123456789"),
    "ci": (1, "sk-traffic-ci-0123456789"),
}


def write_settings(folder: Path, upstream: Upstream, port: int) -> str:
    """Write a config file with an upstream for each model, and a console at a port; return its path."""
    names = {model.name: model.name.partition("-")[0] for model in MODELS}
    return console_settings(
        folder,
        port,
        upstreams={names[one.name]: {"base_url": f"{upstream.url}/s/{upstream.script(*one.steps)}"} for one in MODELS},
        models={
            **{name: {"upstream": where} for name, where in names.items()},
            "coder-32b": {"upstream": names["coder-32b"], "params": {"temperature": 0.2, "max_tokens": 2000}},
        },
        keys={name: {"key": key, "rpm": 6000, "budget": "50/month"} for name, (_, key) in CALLERS.items()},
        prices={"*": {"input": 0.5, "output": 1.5}, "large-*": {"input": 3, "output": 12}},
        enable_auth=True,
    )


@contextmanager
def run_proxy(folder: Path, workers: int = 2) -> Iterator[ConsoleProxy]:
    """Run a proxy with a console before the upstreams of the models."""
    port = free_port()
    with Upstream() as upstream:
        settings = write_settings(folder, upstream, port)
        proxy = Proxy(folder, {"CONFIG_PATH": settings, "WORKERS": str(workers)})
        try:
            eventually(lambda: is_listening(port))
            yield ConsoleProxy(proxy, port, "")
        finally:
            proxy.stop()


def send_traffic(proxy: Proxy, count: int = REQUESTS, seconds: float = 0.0) -> None:
    """Send so many requests, evenly over so many seconds, or as fast as they are answered; the same ones each time."""
    rolls = random.Random(1)
    asked = [_choose(rolls) for _ in range(count)]
    begun, turns = time.monotonic(), iter(enumerate(asked))
    lock = threading.Lock()

    def work() -> None:
        while True:
            with lock:
                turn = next(turns, None)
            if turn is None:
                return
            number, (model, key, question) = turn
            time.sleep(max(0.0, begun + seconds * number / count - time.monotonic()))
            with suppress(AssertionError, OSError):
                _send(proxy.port, model, key, question)

    threads = [threading.Thread(target=work) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@contextmanager
def hold_streams(proxy: Proxy) -> Iterator[None]:
    """Have streams of the slow model under way."""
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            chat(proxy.port, **_body("large-405b", QUESTIONS[2]), stream=True, headers=_headers("ann"))

    threads = [threading.Thread(target=work) for _ in range(HELD)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def _choose(rolls: random.Random) -> tuple[Model, str, str]:
    (model,) = rolls.choices(MODELS, [one.weight for one in MODELS])
    (caller,) = rolls.choices(list(CALLERS), [weight for weight, _ in CALLERS.values()])
    return model, caller, QUESTIONS[0] if model.name == "thinker-r1" else rolls.choice(QUESTIONS)


def _send(port: int, model: Model, caller: str, question: str) -> None:
    chat(port, **_body(model.name, question), stream=model.is_stream, headers=_headers(caller))


def _body(model: str, question: str) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": question}]}


def _headers(caller: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {CALLERS[caller][1]}"}


def main(seconds: float) -> None:
    """Send the traffic, and serve until interrupted."""
    with tempfile.TemporaryDirectory() as folder, run_proxy(Path(folder)) as console:
        print(address(console.port, "live"), flush=True)
        send_traffic(console.proxy, seconds=seconds)
        print("the traffic is over; Ctrl-C ends the proxy", flush=True)
        with suppress(KeyboardInterrupt):
            threading.Event().wait()


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 120.0)
