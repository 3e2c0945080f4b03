"""Anthropic's Messages API as far as it is known, as a process: `python -m tests.support.providers.anthropic PORT`.

It refuses what the real one refuses, in its words. A question of the user decides what happens: `fail:529` fails with
that status, `error:overloaded_error` in the middle of the answer, `break` cuts the connection there, `cut` ends the
answer there without a word, `think` thinks first, `refuse` and `long` stop for that reason, `wait:0.5` is silent for so
many seconds. Any other one is repeated; tools are called once before that. What came is told at `/_seen`.
Sources: Anthropic API reference; the types of its SDKs; recorded streams.
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.support.providers.anthropic_rules import MODELS, STATUSES, Json, Refused, check_body, check_headers

RETRY_AFTER = "7"
LIMITS = {"anthropic-ratelimit-requests-limit": "50", "anthropic-organization-id": "org_1", "request-id": "req_1"}
USAGE = {"input_tokens": 10, "cache_creation_input_tokens": 2, "cache_read_input_tokens": 30}
PIECE = 11


class Anthropic(ThreadingHTTPServer):
    """The server, and what came to it."""

    daemon_threads = True
    request_queue_size = 1000

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.seen: list[Json] = []

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Let a client leave."""


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Anthropic

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        if path == "/_seen":
            self.whole(200, self.server.seen)
            return
        self.take()
        try:
            check_headers(self.named())
            self.whole(200, models(path, query))
        except Refused as refused:
            self.fail(refused)

    def do_POST(self) -> None:
        body = self.take()
        try:
            check_headers(self.named())
            check_path(self.path)
            if self.path.partition("?")[0].endswith("/count_tokens"):
                self.whole(200, {"input_tokens": len(body) // 4})
                return
            asked = check_body(body)
            check_wish(question(asked))
            blocks, stop_reason = answer(asked)
            (self.stream if asked.get("stream") else self.message)(asked, blocks, stop_reason)
        except Refused as refused:
            self.fail(refused)

    def named(self) -> dict[str, str]:
        return {name.lower(): value for name, value in self.headers.items()}

    def take(self) -> bytes:
        """Read a request's body, and remember the request."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        seen = {"method": self.command, "target": self.path, "headers": self.named(), "body": body.decode()}
        self.server.seen.append(seen)
        return body

    def whole(self, status: int, document: Any, **headers: str) -> None:
        """Answer with JSON."""
        body = json.dumps(document).encode()
        self.head(status, {"Content-Type": "application/json", "Content-Length": str(len(body)), **headers})
        self.wfile.write(body)

    def head(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**LIMITS, **headers}.items():
            self.send_header(name, value)
        self.end_headers()

    def fail(self, refused: Refused) -> None:
        document = {"type": "error", "error": refused.error, "request_id": "req_1"}
        retry = {"retry-after": RETRY_AFTER} if refused.status in (429, 529) else {}
        self.whole(refused.status, document, **retry)

    def message(self, asked: Json, blocks: list[Json], stop_reason: str) -> None:
        words = question(asked)
        if found := re.search(r"error:(\w+)", words):
            raise Refused(found[1])
        wait(words)
        usage = {**USAGE, **said(blocks)}
        document = {**begun(asked), "content": blocks, "stop_reason": stop_reason, "usage": usage}
        if "break" not in words:
            self.whole(200, document)
            return
        self.head(200, {"Content-Type": "application/json", "Content-Length": "9999"})
        self.wfile.write(json.dumps(document).encode()[:-9])
        self.close_connection = True

    def stream(self, asked: Json, blocks: list[Json], stop_reason: str) -> None:
        """Answer in events, each in pieces that take no care of what they cut."""
        words = question(asked)
        self.head(
            200,
            {
                "Content-Type": "text/event-stream; charset=utf-8",
                "Cache-Control": "no-cache",
                "Transfer-Encoding": "chunked",
            },
        )
        frames = events(asked, blocks, stop_reason)
        for place, frame in enumerate(frames):
            if place == len(frames) // 2:
                if found := re.search(r"error:(\w+)", words):
                    self.send(event("error", error=Refused(found[1]).error))
                if "break" in words:
                    self.send(frame[: PIECE - 1])
                    self.close_connection = True
                    return
                if found or "cut" in words:
                    break
                wait(words)
            self.send(frame)
        self.wfile.write(b"0\r\n\r\n")

    def send(self, frame: bytes) -> None:
        for at in range(0, len(frame), PIECE):
            piece = frame[at : at + PIECE]
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 its name there
        """Say nothing."""


#: The longest page of models: shorter than Anthropic's, so that its few models fill several.
LONGEST_PAGE = 2


def models(path: str, query: str) -> Json:
    """Give the list of models, a page of it, or one of them."""
    name = path.removeprefix("/v1/models").removeprefix("/")
    if not path.startswith("/v1/models") or (name and name not in MODELS):
        raise Refused("not_found_error", f"model: {name}" if name else "Not Found")
    entries: list[Json] = [
        {"type": "model", "id": model, "display_name": model.title(), "created_at": "2026-02-19T00:00:00Z"}
        for model in MODELS
    ]
    if name:
        return entries[MODELS.index(name)]
    limit, after = re.search(r"limit=(\d+)", query), re.search(r"after_id=([^&]+)", query)
    start = MODELS.index(after[1]) + 1 if after else 0
    page = entries[start : start + min(int(limit[1]) if limit else 20, LONGEST_PAGE)]
    more = {
        "has_more": start + len(page) < len(entries),
        "first_id": page[0]["id"] if page else None,
        "last_id": page[-1]["id"] if page else None,
    }
    return {"data": page, **more}


def check_path(path: str) -> None:
    if path.partition("?")[0] not in ("/v1/messages", "/v1/messages/count_tokens"):
        raise Refused("not_found_error", "Not Found")


def check_wish(words: str) -> None:
    """Fail where the user wishes it."""
    if found := re.search(r"fail:(\d+)", words):
        raise Refused(next((kind for kind, status in STATUSES.items() if status == int(found[1])), "api_error"))


def question(asked: Json) -> str:
    """Give the text of the last user turn."""
    return " ".join(block["text"] for block in last_blocks(asked) if block["type"] == "text")


def last_blocks(asked: Json) -> list[Json]:
    content = asked["messages"][-1]["content"]
    return content if isinstance(content, list) else [{"type": "text", "text": content}]


def answer(asked: Json) -> tuple[list[Json], str]:
    """Give the blocks of the answer, and why it stops."""
    words, blocks = question(asked), list[Json]()
    if "think" in words or asked.get("thinking", {}).get("type", "disabled") != "disabled":
        blocks.append({"type": "thinking", "thinking": "Let me think: 世界.", "signature": "EqMDCkY="})
        blocks.append({"type": "redacted_thinking", "data": "EmwKAhgB"})
    results = [block for block in last_blocks(asked) if block["type"] == "tool_result"]
    choice = asked.get("tool_choice", {})
    if asked.get("tools") and not results and choice.get("type") != "none":
        text = [] if choice.get("type") in ("any", "tool") else [{"type": "text", "text": "Let me see."}]
        return [*blocks, *text, *uses(asked["tools"], choice)], "tool_use"
    if "format" in asked.get("output_config", {}):
        return [*blocks, {"type": "text", "text": json.dumps({"said": words})}], "end_turn"
    told = ", ".join(json.dumps(result.get("content", "")) for result in results)
    images = sum(block["type"] == "image" for block in last_blocks(asked))
    spoken = f"The tools said {told}." if results else f"Hello 世界 🌍, you said: {words}" + " (an image)" * images
    stop_reason = {"refuse": "refusal", "long": "max_tokens"}.get(words.partition(" ")[0], "end_turn")
    return [*blocks, {"type": "text", "text": spoken}], stop_reason


def uses(tools: list[Json], choice: Json) -> Iterator[Json]:
    """Call each tool once, or the one that is named, or only one; tools without parameters get none."""
    named = [tool for tool in tools if choice.get("name") in (None, tool["name"])]
    for place, tool in enumerate(named[:1] if choice.get("disable_parallel_tool_use") else named):
        given = {name: f"{name} {place} é" for name in tool["input_schema"].get("properties", {})}
        yield {"type": "tool_use", "id": f"toolu_0{place}", "name": tool["name"], "input": given}


def begun(asked: Json) -> Json:
    top = {"id": "msg_01", "type": "message", "role": "assistant", "model": asked["model"], "content": []}
    return {**top, "stop_reason": None, "stop_sequence": None, "usage": {**USAGE, "output_tokens": 1}}


def said(blocks: list[Json]) -> Json:
    """Count what was said."""
    thought = sum(len(block.get("thinking", "")) for block in blocks)
    return {"output_tokens": len(json.dumps(blocks)), "output_tokens_details": {"thinking_tokens": thought}}


def events(asked: Json, blocks: list[Json], stop_reason: str) -> list[bytes]:
    """Tell an answer in events."""
    frames = [event("message_start", message=begun(asked)), event("ping")]
    for index, block in enumerate(blocks):
        start, deltas = parts(block)
        frames.append(event("content_block_start", index=index, content_block=start))
        frames += [event("content_block_delta", index=index, delta=delta) for delta in deltas]
        frames.append(event("content_block_stop", index=index))
    ended = {"stop_reason": stop_reason, "stop_sequence": None}
    return [*frames, event("message_delta", delta=ended, usage=said(blocks)), event("message_stop")]


def parts(block: Json) -> tuple[Json, list[Json]]:
    """Give what a block begins with, and the deltas after that."""
    if block["type"] == "text":
        return {**block, "text": ""}, [{"type": "text_delta", "text": text} for text in thirds(block["text"])]
    if block["type"] == "thinking":
        thoughts = [{"type": "thinking_delta", "thinking": text} for text in thirds(block["thinking"])]
        signed = {"type": "signature_delta", "signature": block["signature"]}
        return {**block, "thinking": "", "signature": ""}, [*thoughts, signed]
    if block["type"] == "tool_use":
        spelled = ["", *(thirds(json.dumps(block["input"])) if block["input"] else [])]
        return {**block, "input": {}}, [{"type": "input_json_delta", "partial_json": text} for text in spelled]
    return block, []


def thirds(text: str) -> list[str]:
    size = len(text) // 3 + 1
    return [text[at : at + size] for at in range(0, len(text), size)]


def event(kind: str, **fields: Any) -> bytes:
    """Write an event, padded as some are."""
    data = json.dumps({"type": kind, **fields}, ensure_ascii=False)
    return f"event: {kind}\ndata: {data}{' ' * (len(data) % 4)}\n\n".encode()


def wait(words: str) -> None:
    if found := re.search(r"wait:([\d.]+)", words):
        time.sleep(float(found[1]))


if __name__ == "__main__":
    Anthropic(int(sys.argv[1])).serve_forever()
