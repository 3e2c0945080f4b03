"""A server of chats whose model says what a function makes of each request: the upstream behind real clients.

A module with such a function ends in `serve_model(next_deltas)`, and `run_model` starts it: `python -m MODULE PORT`.
The requests that it got are written to its output, one JSON object a line. No network but loopback.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import ThreadingHTTPServer
from pathlib import Path

from tests.support.json_handler import Json, JsonHandler
from tests.support.processes import ROOT, eventually, free_port, is_listening, spawn, uncovered_environment

#: What a model says next, as deltas of a chat, to a request.
NextDeltas = Callable[[Json], list[Json]]

#: Said before all else: a client must not see it.
THOUGHT: list[Json] = [{"role": "assistant", "content": "<think>Let me"}, {"content": " think.</think>"}]


@dataclass(frozen=True)
class RunningModel:
    """A model that serves."""

    url: str
    log: Path

    def requests(self) -> list[Json]:
        """Give the chats that it was asked for so far."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]


@contextmanager
def run_model(module: str, folder: Path, *arguments: str) -> Iterator[RunningModel]:
    """Serve the model in a module of this folder, with arguments of its own; the log is written to `folder`."""
    port, log = free_port(), folder / "model.log"
    command = [sys.executable, "-m", f"{__package__}.{module}", str(port), *arguments]
    with log.open("wb") as output:
        server = spawn(command, stdout=output, env=uncovered_environment(), cwd=ROOT)
        try:
            eventually(lambda: is_listening(port))
            yield RunningModel(f"http://127.0.0.1:{port}/v1", log)
        finally:
            server.terminate()
            server.wait()


def serve_model(next_deltas: NextDeltas) -> None:
    """Serve a model on the port that the first argument of the command names, until the process is ended."""

    class Handler(ModelHandler):
        pass

    Handler.next_deltas = staticmethod(next_deltas)
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()


def count_results(body: Json) -> int:
    """Count the results of tools that came back."""
    return sum(message["role"] == "tool" for message in body["messages"])


def make_call(name: str, arguments: Json) -> list[Json]:
    """Make the deltas of one whole call."""
    return [begin_call(0, name), continue_call(0, json.dumps(arguments))]


def begin_call(index: int, name: str) -> Json:
    call = {"index": index, "id": f"call_{name}_{index}", "type": "function"}
    return {"tool_calls": [{**call, "function": {"name": name, "arguments": ""}}]}


def continue_call(index: int, arguments: str) -> Json:
    return {"tool_calls": [{"index": index, "function": {"arguments": arguments}}]}


class ModelHandler(JsonHandler):
    """Answers `POST /v1/chat/completions` with a stream; it serves no other path."""

    next_deltas: NextDeltas

    def do_POST(self) -> None:
        body = json.loads(self.read_body())
        if self.path != "/v1/chat/completions":
            self._refuse()
            return
        print(json.dumps(body), flush=True)
        events = [json.dumps(chunk) for chunk in build_chunks(body["model"], [*THOUGHT, *self.next_deltas(body)])]
        stream = "".join(f"data: {event}\n\n" for event in [*events, "[DONE]"])
        self.send_body(200, "text/event-stream", stream.encode())

    def do_GET(self) -> None:
        self._refuse()

    def _refuse(self) -> None:
        self.send_json(404, {"detail": "Not Found"})


def build_chunks(model: str, deltas: list[Json]) -> Iterator[Json]:
    """Yield the chunks of a stream of one choice, with its usage."""
    head = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": model}
    for delta in deltas:
        yield {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
    reason = "tool_calls" if "tool_calls" in deltas[-1] else "stop"
    yield {**head, "choices": [{"index": 0, "delta": {}, "finish_reason": reason}]}
    yield {**head, "choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}}
