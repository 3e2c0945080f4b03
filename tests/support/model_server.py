"""A model server with faults to find, as a process: `python -m tests.support.model_server PORT TRAITS [CERT KEY]`.

TRAITS is a JSON object: the fields of Traits that differ from those of a server without faults.
"""

from __future__ import annotations

import json
import ssl
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.support.processes import ROOT, eventually, free_port, is_listening, spawn, uncovered_environment

Json = dict[str, Any]
PAGE = b"<!doctype html><html><body>Welcome</body></html>"
WORDS = [f"{number}, " for number in range(1, 13)]
THOUGHT = "The user wants numbers."


@dataclass(frozen=True)
class Traits:
    """`base` is where the API lives; `key` what it asks for; `stream` is `events`, `whole` or `refused`; `thoughts` are
    `none`, `tags`, `field` or `unopened`; `tools` are `called`, `auto`, `words` or `refused`; `paths` are served beside
    chats; `ahead_s` is by how much its clock is ahead; `chat_status` refuses chats."""

    base: str = "/v1"
    key: str = ""
    owner: str = "vllm"
    models: tuple[str, ...] = ("m1",)
    is_page: bool = False
    stream: str = "events"
    pause_s: float = 0.0
    thoughts: str = "none"
    tags: tuple[str, str] = ("<think>", "</think>")
    tools: str = "called"
    paths: tuple[str, ...] = ("/completions", "/embeddings", "/responses", "/messages")
    ahead_s: float = 0.0
    chat_status: int = 0
    chat_error: str = "no"
    wants_completion_tokens: bool = False


class ModelServer:
    """The process."""

    def __init__(self, certificate: tuple[Path, Path] | None = None, **traits: Any) -> None:
        self.port = free_port()
        files = [str(file) for file in certificate or ()]
        command = [sys.executable, "-m", "tests.support.model_server", str(self.port), json.dumps(traits), *files]
        self._process = spawn(command, cwd=ROOT, env=uncovered_environment())
        self.url = f"{'https' if certificate else 'http'}://localhost:{self.port}"
        eventually(lambda: is_listening(self.port))

    def __enter__(self) -> ModelServer:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()


class Handler(BaseHTTPRequestHandler):
    """Answers as the traits say."""

    protocol_version = "HTTP/1.1"
    traits: Traits

    def date_time_string(self, timestamp: float | None = None) -> str:
        return formatdate((timestamp or time.time()) + self.traits.ahead_s, usegmt=True)

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._send(200, b"", "text/plain")

    def do_GET(self) -> None:
        traits = self.traits
        if traits.is_page:
            self._send(200, PAGE, "text/html")
        elif not self.path.startswith(f"{traits.base}/"):
            self._json(404, {"detail": "Not Found"})
        elif self._is_refused():
            self._json(401, {"error": {"message": "Incorrect API key provided", "code": "invalid_api_key"}})
        elif self.path == f"{traits.base}/models":
            entries = [{"id": name, "object": "model", "owned_by": traits.owner} for name in traits.models]
            self._json(200, {"object": "list", "data": entries})
        else:
            self._json(404, {"detail": "Not Found"})

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")
        path = self.path.removeprefix(self.traits.base)
        if self.traits.is_page:
            self._send(404, PAGE, "text/html")
        elif not self.path.startswith(f"{self.traits.base}/"):
            self._json(404, {"detail": "Not Found"})
        elif self._is_refused():
            self._json(401, {"error": {"message": "Incorrect API key provided", "code": "invalid_api_key"}})
        elif path in self.traits.paths or (path == "/chat/completions" and not asked.get("messages")):
            self._json(400, {"error": {"message": "a field is missing"}})
        elif path == "/chat/completions":
            self._chat(asked)
        else:
            self._json(404, {"detail": "Not Found"})

    def _is_refused(self) -> bool:
        return bool(self.traits.key) and self.headers.get("Authorization") != f"Bearer {self.traits.key}"

    def _chat(self, asked: Json) -> None:
        traits = self.traits
        if traits.chat_status:
            self._json(traits.chat_status, {"error": {"message": traits.chat_error}})
        elif traits.wants_completion_tokens and "max_tokens" in asked:
            self._json(400, {"error": {"message": "Use 'max_completion_tokens' instead of 'max_tokens'."}})
        elif asked.get("tools") and traits.tools == "refused":
            self._json(400, {"error": {"message": '"auto" tool choice requires --enable-auto-tool-choice'}})
        elif "tool_choice" in asked and traits.tools == "auto":
            self._json(400, {"error": {"message": "tool_choice 'required' is not supported"}})
        elif asked.get("stream") and traits.stream == "refused":
            self._json(400, {"error": {"message": "'stream' does not support true with this model"}})
        elif asked.get("stream") and traits.stream == "events":
            self._stream()
        else:
            self._json(200, self._document(asked))

    def _document(self, asked: Json) -> Json:
        message: Json = {"role": "assistant"}
        for delta in self._deltas():
            for name, text in delta.items():
                message[name] = message.get(name, "") + text
        if asked.get("tools") and self.traits.tools in ("called", "auto"):
            call = {"id": "c1", "type": "function", "function": {"name": "get_time", "arguments": '{"city":"Paris"}'}}
            message |= {"content": None, "tool_calls": [call]}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        usage = {"prompt_tokens": 3, "completion_tokens": 7, "total_tokens": 10}
        return {
            "id": "x",
            "object": "chat.completion",
            "created": 1,
            "model": "m1",
            "choices": [choice],
            "usage": usage,
        }

    def _deltas(self) -> Iterator[Json]:
        opening, closing = self.traits.tags
        if self.traits.thoughts == "field":
            yield {"reasoning_content": THOUGHT}
        if self.traits.thoughts == "tags":
            yield {"content": opening}
        if self.traits.thoughts in ("tags", "unopened"):
            yield from ({"content": text} for text in (THOUGHT, closing, "\n\n"))
        yield from ({"content": word} for word in WORDS)

    def _stream(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        is_chunked = self.request_version == "HTTP/1.1"
        self.send_header(*(("Transfer-Encoding", "chunked") if is_chunked else ("Connection", "close")))
        self.end_headers()
        top = {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m1"}
        chunks: list[Json] = [{"index": 0, "delta": delta, "finish_reason": None} for delta in self._deltas()]
        chunks.append({"index": 0, "delta": {}, "finish_reason": "stop"})
        events = [json.dumps({**top, "choices": [chunk]}) for chunk in chunks]
        for event in [*events, "[DONE]"]:
            time.sleep(self.traits.pause_s)
            data = f"data: {event}\n\n".encode()
            self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data) if is_chunked else data)
        self.wfile.write(b"0\r\n\r\n" if is_chunked else b"")

    def _json(self, status: int, document: Any) -> None:
        self._send(status, json.dumps(document).encode(), "application/json")

    def _send(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


class Server(ThreadingHTTPServer):
    """Says nothing of clients that leave, or that refuse its certificate."""

    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        pass


def serve(port: int, traits: Traits, certificate: list[str]) -> None:
    Handler.traits = traits
    server = Server(("127.0.0.1", port), Handler)
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    server.serve_forever()


if __name__ == "__main__":
    number, said, *files = sys.argv[1:]
    fields: Json = {
        name: tuple(value) if isinstance(value, list) else value for name, value in json.loads(said).items()
    }
    serve(int(number), Traits(**fields), files)
