"""A chat model that has Claude Code read two files at once, edit one, and say that it is done. No network but loopback.

`python claude_code_model.py PORT FOLDER`; the requests that it got are written to its output, one JSON object a line.
"""

from __future__ import annotations

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

Delta = dict[str, Any]


def next_deltas(body: dict[str, Any], folder: Path) -> list[Delta]:
    """Give what the model says next: it depends on how many results of tools came back. The fragments of its two first
    calls are mixed."""
    done = sum(message["role"] == "tool" for message in body["messages"])
    if not body.get("tools"):
        return [{"content": "A greeting"}]
    if done == 0:
        first, second = (json.dumps({"file_path": str(folder / name)}) for name in ("greeting.txt", "other.txt"))
        return [
            begin_call(0, "Read"),
            begin_call(1, "Read"),
            continue_call(0, first[:9]),
            continue_call(1, second[:9]),
            continue_call(0, first[9:]),
            continue_call(1, second[9:]),
        ]
    if done == 2:
        edit = {"file_path": str(folder / "greeting.txt"), "old_string": "hello", "new_string": "goodbye"}
        return [{"content": "I change it."}, begin_call(0, "Edit"), continue_call(0, json.dumps(edit))]
    return [{"content": "The greeting is changed."}]


def begin_call(index: int, name: str) -> Delta:
    call = {"index": index, "id": f"call_{name}_{index}", "type": "function"}
    return {"tool_calls": [{**call, "function": {"name": name, "arguments": ""}}]}


def continue_call(index: int, arguments: str) -> Delta:
    return {"tool_calls": [{"index": index, "function": {"arguments": arguments}}]}


class ScriptedModel(BaseHTTPRequestHandler):
    """Answers `POST /v1/chat/completions` with a stream; it serves no other path."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path != "/v1/chat/completions":
            self._send(404, "application/json", b'{"detail":"Not Found"}')
            return
        print(json.dumps(body), flush=True)
        deltas = [{"content": "<think>Let me"}, {"content": " think.</think>"}, *next_deltas(body, Path(sys.argv[2]))]
        reason = "tool_calls" if "tool_calls" in deltas[-1] else "stop"
        choices: list[Delta] = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
        choices.append({"index": 0, "delta": {}, "finish_reason": reason})
        head = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": body["model"]}
        usage = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}
        chunks = [*({**head, "choices": [choice]} for choice in choices), {**head, "choices": [], "usage": usage}]
        events = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n"
        self._send(200, "text/event-stream", events.encode())

    def do_GET(self) -> None:
        self._send(404, "application/json", b'{"detail":"Not Found"}')

    def log_message(self, *args: Any) -> None:
        """Log nothing: the output is the requests."""

    def _send(self, status: int, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), ScriptedModel).serve_forever()
