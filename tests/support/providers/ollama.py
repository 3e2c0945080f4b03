"""Ollama as far as it is known, as a process: `python -m tests.support.providers.ollama PORT`.

It answers `/api/chat`, streamed unless `stream` is false, `/api/tags` and `/api/version`. Words of the last message say
what happens: `fail:404`, `break` (an error in the stream), `cut` (a stream without its last line), `think`. With tools
it calls the first one, and repeats the result of a tool.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from http.server import ThreadingHTTPServer

from tests.support.json_handler import Json, JsonHandler

MODEL = "llama3.2:latest"
FIELDS = {"model", "messages", "stream", "tools", "format", "think", "options", "keep_alive"}
PIECE = 7


def says(body: Json) -> Iterator[Json]:
    """Yield what the model says, as messages in the order in which they are streamed."""
    last = body["messages"][-1]
    if "think" in last["content"]:
        yield {"thinking": "Let me see."}
    if last["role"] == "tool":
        text = f"{last['tool_name']} says {last['content']}"
    elif body.get("tools"):
        function = body["tools"][0]["function"]
        yield {"tool_calls": [{"function": {"name": function["name"], "arguments": {"city": "Paris"}}}]}
        return
    else:
        text = f"You said: {last['content']}; {json.dumps(body.get('options', {}), sort_keys=True)}"
    yield from ({"content": text[at : at + PIECE]} for at in range(0, len(text), PIECE))


class Handler(JsonHandler):
    def do_GET(self) -> None:
        if self.path == "/api/tags":
            self.send_json(200, {"models": [{"name": MODEL, "model": MODEL, "modified_at": "1970-01-01T00:00:07Z"}]})
        elif self.path == "/api/version":
            self.send_json(200, {"version": "0.1"})
        else:
            self.send_json(404, {"error": "not found"})

    def do_POST(self) -> None:
        body = json.loads(self.read_body())
        words = body["messages"][-1]["content"].partition(":")
        if self.path != "/api/chat" or not body.keys() <= FIELDS:
            self.send_json(400, {"error": "invalid request"})
        elif words[0] == "fail":
            self.send_json(int(words[2]), {"error": "it failed, as you said"})
        elif body.get("stream", True):
            self._stream(body, words[0])
        else:
            message: Json = {"role": "assistant", "content": ""}
            for part in says(body):
                message |= {key: message.get(key, type(value)()) + value for key, value in part.items()}
            self.send_json(200, {**head(body), "message": message, **END})

    def _stream(self, body: Json, word: str) -> None:
        self.begin_chunks("application/x-ndjson")
        for part in says(body):
            self._line({**head(body), "message": {"role": "assistant", "content": "", **part}, "done": False})
        if word == "break":
            self._line({"error": "the model failed"})
        elif word != "cut":
            self._line({**head(body), "message": {"role": "assistant", "content": ""}, **END})
        self.send_chunk(b"")

    def _line(self, document: Json) -> None:
        self.send_chunk(json.dumps(document).encode() + b"\n")


END = {"done": True, "done_reason": "stop", "prompt_eval_count": 42, "eval_count": 7}


def head(body: Json) -> Json:
    return {"model": body["model"], "created_at": "2026-01-01T00:00:00Z"}


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
