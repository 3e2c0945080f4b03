"""An enterprise's gateway, as a process: `python -m tests.support.providers.enterprise PORT [LIFE_S]`.

A token endpoint (`/token`, RFC 6749 section 4.4) hands out tokens that live LIFE_S seconds; below `/home`, `/eu` and
`/us` stands an OpenAI-compatible chat, streamed in pieces of a few characters, that takes signed requests only. Both
read the client's secret in ENTERPRISE_SECRET. `GET /seen` tells what came.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import secrets
import sys
import threading
import time
from http.server import ThreadingHTTPServer

from tests.support.json_handler import Json, JsonHandler

CLIENT_ID = "argoproxy"
SECRET = "the secret of the enterprise"
LIFE_S = 2.0
#: How much longer than it says a token is taken, so that one sent in time may take its time.
GRACE = 5
CLOCK_DRIFT_S = 60
REGIONS = ("home", "eu", "us")
PIECE = 3
#: What a client must never see.
EMAIL, CARD = "ann.lee@mail.example.com", "4111 1111 1111 1111"


class Unsigned(Exception):
    """The request is not to be served; the message says why."""


class Enterprise(ThreadingHTTPServer):
    """The gateway: the tokens it gave, with the time each of them ends, and the requests that came."""

    daemon_threads = True

    def __init__(self, port: int, life_s: float = LIFE_S, secret: str = SECRET) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.life_s = life_s
        self.secret = secret
        self.lock = threading.Lock()
        self.ends: dict[str, float] = {}
        self.seen: list[Json] = []

    def grant(self) -> Json:
        """Make a token."""
        token = secrets.token_hex(16)
        with self.lock:
            self.ends[token] = time.monotonic() + GRACE * self.life_s
        return {"access_token": token, "token_type": "Bearer", "expires_in": self.life_s}

    def check(self, method: str, target: str, headers: dict[str, str], body: bytes) -> None:
        """See that a request has a token that is good, and is signed. Raises Unsigned."""
        token = headers.get("authorization", "").removeprefix("Bearer ")
        if self.ends.get(token, 0.0) <= time.monotonic():
            raise Unsigned("The token is unknown or has expired.")
        at = headers.get("x-timestamp", "")
        if not at.isdigit() or abs(int(at) - time.time()) > CLOCK_DRIFT_S:
            raise Unsigned("The timestamp is missing or too old.")
        signed = f"{method}\n{target}\n{at}\n{hashlib.sha256(body).hexdigest()}"
        due = hmac.new(self.secret.encode(), signed.encode(), hashlib.sha256).hexdigest()
        if not hmac.compare_digest(due, headers.get("x-signature", "")):
            raise Unsigned("The signature is wrong.")


class _Handler(JsonHandler):
    server: Enterprise

    def do_GET(self) -> None:
        if self.path == "/seen":
            self.send_json(200, {"tokens": len(self.server.ends), "requests": list(self.server.seen)})
        else:
            self._serve(b"")

    def do_POST(self) -> None:
        body = self.read_body()
        if self.path == "/token":
            self._token(body)
        else:
            self._serve(body)

    def _token(self, body: bytes) -> None:
        due = base64.b64encode(f"{CLIENT_ID}:{self.server.secret}".encode()).decode()
        if self.headers.get("Authorization") != f"Basic {due}":
            self.send_json(401, {"error": "invalid_client"})
        elif body != b"grant_type=client_credentials":
            self.send_json(400, {"error": "unsupported_grant_type"})
        else:
            self.send_json(200, self.server.grant())

    def _serve(self, body: bytes) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        with self.server.lock:
            self.server.seen.append(
                {"method": self.command, "target": self.path, "headers": headers, "body": body.decode()}
            )
        try:
            self.server.check(self.command, self.path, headers, body)
        except Unsigned as error:
            self.send_json(401, {"error": {"message": str(error), "type": "authentication_error"}})
            return
        _, region, *rest = self.path.partition("?")[0].split("/")
        path = "/".join(rest)
        if region in REGIONS and (self.command, path) == ("GET", "v1/models"):
            listed = [{"id": f"house-{region}", "object": "model", "created": 1, "owned_by": "enterprise"}]
            self.send_json(200, {"object": "list", "data": listed})
        elif region in REGIONS and (self.command, path) == ("POST", "v1/chat/completions"):
            self._chat(region, json.loads(body))
        else:
            self.send_json(404, {"error": {"message": "Nothing is served here.", "type": "not_found_error"}})

    def _chat(self, region: str, asked: Json) -> None:
        if asked.get("stream"):
            self._stream(region, asked)
            return
        choices = [
            {"index": index, "message": {"role": "assistant", "content": said(region, asked)}, "finish_reason": "stop"}
            for index in range(asked.get("n", 1))
        ]
        self.send_json(200, {**frame(asked, "chat.completion"), "choices": choices, "usage": USAGE})

    def _stream(self, region: str, asked: Json) -> None:
        self.begin_chunks("text/event-stream")
        text, again = said(region, asked), frame(asked, "chat.completion.chunk")
        deltas: list[Json] = [{"role": "assistant", "content": ""}]
        deltas += [{"content": text[at : at + PIECE]} for at in range(0, len(text), PIECE)]
        for delta in [*deltas, {}]:
            reason = None if delta else "stop"
            for index in range(asked.get("n", 1)):
                self._event({**again, "choices": [{"index": index, "delta": delta, "finish_reason": reason}]})
        if (asked.get("stream_options") or {}).get("include_usage"):
            self._event({**again, "choices": [], "usage": USAGE})
        self.send_chunk(b"data: [DONE]\n\n")
        self.send_chunk(b"")

    def _event(self, chunk: Json) -> None:
        self.send_chunk(b"data: " + json.dumps(chunk).encode() + b"\n\n")


USAGE = {"prompt_tokens": 7, "completion_tokens": 11, "total_tokens": 18}


def frame(asked: Json, kind: str) -> Json:
    return {"id": "chatcmpl-1", "object": kind, "created": 1, "model": asked["model"]}


def said(region: str, asked: Json) -> str:
    """Tell where this was said, in which context, and what a client must never see."""
    contexts = [message["content"] for message in asked["messages"] if message["role"] == "system"]
    return f"Region {region}. Context: {contexts}. Write to {EMAIL}, or pay with {CARD}; that is all."


if __name__ == "__main__":
    life_s = float(sys.argv[2]) if len(sys.argv) > 2 else LIFE_S
    Enterprise(int(sys.argv[1]), life_s, os.environ.get("ENTERPRISE_SECRET", SECRET)).serve_forever()
