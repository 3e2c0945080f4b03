"""A chat model that has Codex CLI read a file, change it by a patch, and say that it is done. No network but loopback.

`python codex_model.py PORT`; the requests that it got are written to its output, one JSON object a line.
"""

from __future__ import annotations

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PATCH = "*** Begin Patch\n*** Update File: greeting.txt\n@@\n-hello\n+goodbye\n*** End Patch"


def next_delta(messages: list[Any], tools: set[str]) -> dict[str, Any]:
    """Give what the model says next: it depends on how many outputs of tools came back."""
    done = sum(message["role"] == "tool" for message in messages)
    if done == 0:
        return make_call("exec_command", {"cmd": "cat greeting.txt"})
    if done == 1 and "apply_patch" in tools:
        return make_call("apply_patch", {"input": PATCH})
    if done == 1:
        return make_call("exec_command", {"cmd": f"apply_patch <<'EOF'\n{PATCH}\nEOF"})
    return {"content": "The greeting is changed."}


def make_call(name: str, arguments: dict[str, str]) -> dict[str, Any]:
    function = {"name": name, "arguments": json.dumps(arguments)}
    return {"tool_calls": [{"index": 0, "id": f"call_{name}_1", "type": "function", "function": function}]}


class Model(BaseHTTPRequestHandler):
    """Answers `POST /v1/chat/completions` with a stream; it serves no other path."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path != "/v1/chat/completions":
            self._send(404, "application/json", b'{"detail":"Not Found"}')
            return
        print(json.dumps(body), flush=True)
        tools = {tool["function"]["name"] for tool in body.get("tools", ())}
        delta = next_delta(body["messages"], tools)
        deltas: list[tuple[dict[str, Any], str | None]] = [
            ({"role": "assistant", "content": "<think>Let me"}, None),
            ({"content": " think.</think>"}, None),
            (delta, None),
            ({}, "tool_calls" if "tool_calls" in delta else "stop"),
        ]
        chunks = [
            {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": body["model"], "choices": [choice]}
            for choice in ({"index": 0, "delta": one, "finish_reason": reason} for one, reason in deltas)
        ]
        usage = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}
        chunks.append({**chunks[0], "choices": [], "usage": usage})
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
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Model).serve_forever()
