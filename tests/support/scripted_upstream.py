"""A scripted upstream on raw sockets, as a process: `python -m tests.support.scripted_upstream PORT [CERT KEY]`.

A request that names a script (header `X-Script`, a path below `/s/NAME`, or `script:NAME` in its body) gets its steps
played; any other one is served as a small OpenAI-compatible server would, below `/argoapi/` as the Argo gateway would
(argo.py), below `/api/v1/services/` as DashScope would (dashscope.py). Everything that came is remembered and can be
asked for.
"""

from __future__ import annotations

import hashlib
import json
import select
import socket
import ssl
import sys
import threading
import time
from pathlib import Path
from typing import Any

from tests.support.gate import Gate
from tests.support.peer import wait_until_read
from tests.support.providers import argo, dashscope

KEPT_OF_A_BODY = 4 * 1024 * 1024
LONGEST_SCRIPT = 64 * 1024 * 1024
PIECE = 1024 * 1024
HOLD_S = 600.0
LONGEST_READ_S = 10.0
PROVIDERS = (argo, dashscope)
TLS_HANDSHAKE = b"\x16\x03"

Json = dict[str, Any]


class Lab:
    """Scripts, what came for each, and how many connections there were."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.scripts: dict[str, Json] = {}
        self.log: dict[str, list[Json]] = {}
        self.gates: dict[str, Gate] = {}
        self.accepts = self.open = 0

    def serve(self, port: int, context: ssl.SSLContext | None) -> None:
        listener = socket.create_server(("127.0.0.1", port), backlog=1000)
        while True:
            sock, _ = listener.accept()
            with self.lock:
                self.accepts += 1
                number = self.accepts
            threading.Thread(target=self.connection, args=(sock, context, number), daemon=True).start()

    def connection(self, sock: socket.socket, context: ssl.SSLContext | None, number: int) -> None:
        with self.lock:
            self.open += 1
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            wire = Wire(context.wrap_socket(sock, server_side=True) if context else sock)
            while wire.is_open and (seen := wire.head()):
                self.exchange(wire, {**seen, "connection": number})
        except OSError:
            pass
        finally:
            with self.lock:
                self.open -= 1
            sock.close()

    def exchange(self, wire: Wire, seen: Json) -> None:
        seen |= {"at": time.monotonic(), "left": None, "played": None, "body": "", "length": 0, "sha256": ""}
        target: str = seen["target"]
        if target.startswith("/_lab/"):
            self.control(wire, seen)
            return
        headers = {name.lower(): value for name, value in seen["headers"]}
        provider = next((one for one in PROVIDERS if target.startswith(one.ROOT)), None)
        name = headers.get("x-script") or (target.split("/")[2] if target.startswith("/s/") else "")
        is_read = bool(provider) or not name
        if is_read:
            wire.body(headers, seen)
        name = name or argo.script_of(seen)
        script = self.scripts.get(name, {"steps": [], "body": "read"})
        with self.lock:
            self.log.setdefault(name, []).append(seen)
            wire.gate = self.gates.setdefault(name, Gate())
        try:
            if script["body"] == "read" and not is_read:
                wire.body(headers, seen)
            if script["body"] == "hang":
                wire.hold()
            if name in self.scripts:
                wire.play(script["steps"])
            elif provider:
                provider.answer(wire, seen)
            else:
                ordinary(wire, seen)
            seen["played"] = time.monotonic()
        except Left:
            seen["left"] = time.monotonic()
            wire.is_open = False

    def control(self, wire: Wire, seen: Json) -> None:
        _, _, kind, *rest = seen["target"].split("/")
        wire.body({name.lower(): value for name, value in seen["headers"]}, seen, LONGEST_SCRIPT)
        if kind == "script":
            self.scripts[rest[0]] = json.loads(seen["body"])
        told: Any = {"accepts": self.accepts, "open": self.open}
        if kind == "log":
            told = self.log.get(rest[0], [])[int(rest[1]) :]
        if kind == "target":
            told = [one for one in self.log.get("", []) if one["target"] == "/" + "/".join(rest)]
        if kind == "count":
            told = len(self.log.get(rest[0], []))
        if kind == "open":
            with self.lock:
                self.gates.setdefault(rest[0], Gate()).release(int(rest[1]))
        wire.json(told)


class Left(Exception):
    """The other side closed the connection."""


class Wire:
    """One connection: reads requests, plays steps."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.rest = b""
        self.is_open = True
        self.served = 0
        self.gate = Gate()

    def more(self) -> bytes:
        data, self.rest = self.rest, b""
        return data or self.sock.recv(PIECE)

    def head(self) -> Json | None:
        while b"\r\n\r\n" not in self.rest:
            data = self.sock.recv(65536)
            if not data:
                return None
            self.rest += data
            if self.rest.startswith(TLS_HANDSHAKE):
                self.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                return None
        head, _, self.rest = self.rest.partition(b"\r\n\r\n")
        self.served += 1
        first, *lines = head.decode("latin-1").split("\r\n")
        method, target, _ = first.split(" ")
        headers = [line.partition(": ")[::2] for line in lines]
        return {"method": method, "target": target, "headers": headers}

    def body(self, headers: dict[str, str], seen: Json, keep: int = KEPT_OF_A_BODY) -> None:
        digest, kept = hashlib.sha256(), b""
        for piece in self.chunks() if "transfer-encoding" in headers else self.counted(headers):
            digest.update(piece)
            seen["length"] += len(piece)
            kept = (kept + piece)[:keep] if len(kept) < keep else kept
        seen |= {"body": kept.decode("latin-1"), "sha256": digest.hexdigest()}

    def counted(self, headers: dict[str, str]) -> Any:
        left = int(headers.get("content-length", 0))
        while left:
            data = self.more()
            if not data:
                raise Left
            self.rest = data[left:]
            yield data[:left]
            left -= len(data[:left])

    def chunks(self) -> Any:
        while True:
            while b"\r\n" not in self.rest:
                data = self.sock.recv(65536)
                if not data:
                    raise Left
                self.rest += data
            line, _, self.rest = self.rest.partition(b"\r\n")
            size = int(line, 16)
            left = size + 2
            while left:
                data = self.more()
                if not data:
                    raise Left
                self.rest = data[left:]
                piece, left = data[:left], left - len(data[:left])
                yield piece[: len(piece) - max(0, 2 - left)] if left < 2 else piece
            if not size:
                return

    def send(self, data: bytes) -> None:
        try:
            self.sock.sendall(data)
        except OSError:
            raise Left from None

    def pause(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self.listen(left)

    def listen(self, seconds: float, *others: int) -> None:
        """Wait until the other side sends something, which is kept, or until another descriptor is readable."""
        ends: list[Any] = [self.sock, *others]
        if self.sock in select.select(ends, [], [], seconds)[0]:
            try:
                data = self.sock.recv(65536)
            except OSError:
                raise Left from None
            if not data:
                raise Left
            self.rest += data

    def wait(self, gate: Gate) -> None:
        """Wait until a gate lets this one go on, or the other side leaves."""
        until = time.monotonic() + HOLD_S
        with gate.waiting() as opened:
            while not gate.may_pass(opened) and (left := until - time.monotonic()) > 0:
                self.listen(left, opened)

    def hold(self) -> None:
        self.pause(HOLD_S)

    def play(self, steps: list[Any]) -> None:
        for kind, *rest in steps:
            getattr(self, f"step_{kind}")(*rest)

    def step_send(self, text: str) -> None:
        self.send(text.encode("latin-1"))

    def step_drip(self, text: str, pause_s: float) -> None:
        for letter in text:
            self.step_send(letter)
            self.pause(pause_s)

    def step_fill(self, size: int) -> None:
        for at in range(0, size, PIECE):
            self.send(b"x" * min(PIECE, size - at))

    def step_file(self, path: str) -> None:
        self.send(Path(path).read_bytes())

    def step_sleep(self, seconds: float) -> None:
        self.pause(seconds)

    def step_stall(self, seconds: float) -> None:
        """Take no notice of anything."""
        time.sleep(seconds)

    def step_read(self) -> None:
        """Wait until the other side has read all that was sent."""
        wait_until_read(self.sock, LONGEST_READ_S)

    def step_await(self) -> None:
        """Wait until the test lets one more go on with this script."""
        self.wait(self.gate)

    def step_asked(self) -> None:
        """Wait until the next request begins to arrive."""
        while not self.rest:
            self.listen(HOLD_S)

    def step_repeat(self, times: int, steps: list[Any]) -> None:
        for _ in range(times):
            self.play(steps)

    def step_hold(self) -> None:
        self.hold()

    def step_rst(self) -> None:
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.is_open = False

    def step_close(self) -> None:
        if isinstance(self.sock, ssl.SSLSocket):
            self.sock = self.sock.unwrap()
        self.step_cut()

    def step_shut(self) -> None:
        """Close the sending half only."""
        self.sock.shutdown(socket.SHUT_WR)

    def step_stale(self) -> None:
        """Close a connection on which something was served before."""
        if self.served > 1:
            self.step_close()
            raise Left

    def step_cut(self) -> None:
        """Close without TLS's goodbye."""
        self.sock.close()
        self.is_open = False

    def json(self, document: Any, status: str = "200 OK") -> None:
        body = json.dumps(document).encode()
        head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        self.send(head.encode() + body)


ONLY_STREAM = "This model only support stream mode, please enable the stream parameter to access the model. "
NO_STREAM = "Unsupported value: 'stream' does not support true with this model. Only the default value is supported."


def refuses(asked: Json) -> str:
    """Tell why a model can't be asked this way: `stream-only` and `whole-only` know one each."""
    refusals = {("stream-only", False): ONLY_STREAM, ("whole-only", True): NO_STREAM}
    return refusals.get((str(asked.get("model")), asked.get("stream") is True), "")


def ordinary(wire: Wire, seen: Json) -> None:
    """Answer as a small server with the models `m1` and `m2` would; other paths give back what came."""
    path = seen["target"].partition("?")[0]
    asked: Any = {}
    if seen["method"] == "POST" and path.endswith(("completions", "embeddings")):
        asked = json.loads(seen["body"].encode("latin-1"))
    if asked.get("model") == "no-usage" and "stream_options" in asked:
        told = {"type": "extra_forbidden", "loc": ["body", "stream_options"], "msg": "Extra inputs are not permitted"}
        wire.json({"object": "error", "message": {"detail": [told]}}, "422 Unprocessable Entity")
    elif refusal := refuses(asked):
        wire.json({"error": {"message": refusal, "type": "invalid_request_error"}}, "400 Bad Request")
    elif path.endswith("/models"):
        wire.json(
            {"object": "list", "data": [{"id": "m1", "object": "model"}, {"id": "m2", "object": "model"}], "x": 1}
        )
    elif path.endswith("/chat/completions") and seen["method"] == "POST":
        completion(wire, asked, lambda text: {"delta": {"content": text}}, "chat.completion")
    elif path.endswith("/completions") and seen["method"] == "POST":
        completion(wire, asked, lambda text: {"text": text}, "text_completion")
    elif path.endswith("/embeddings") and seen["method"] == "POST":
        data = [{"object": "embedding", "index": 0, "embedding": [0.5, 0.25]}]
        wire.json({"object": "list", "data": data, "model": asked.get("model"), "usage": {"prompt_tokens": 2}})
    else:
        wire.json(seen)


WORDS = ("<thi", "nk>let me", " see</th", "ink>\n\n", "Hello", " there", "!")
USAGE = {"prompt_tokens": 3, "completion_tokens": 7, "total_tokens": 10}


def completion(wire: Wire, asked: Json, part: Any, kind: str) -> None:
    top = {"id": "up-1", "object": kind, "created": 1, "model": asked.get("model")}
    if not asked.get("stream"):
        spoken = (
            {"text": "".join(WORDS)}
            if kind == "text_completion"
            else {"message": {"role": "assistant", "content": "".join(WORDS)}}
        )
        choice = {"index": 0, **spoken, "finish_reason": "stop"}
        wire.json({**top, "choices": [choice], "usage": USAGE})
        return
    if kind == "chat.completion":
        top["object"] = "chat.completion.chunk"
    chunks: list[Json] = [{"choices": [{"index": 0, **part(word), "finish_reason": None}]} for word in WORDS]
    chunks.append({"choices": [{"index": 0, **part(""), "finish_reason": "stop"}]})
    if (asked.get("stream_options") or {}).get("include_usage"):
        chunks.append({"choices": [], "usage": USAGE})
    wire.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
    for event in [*(json.dumps({**top, **chunk}) for chunk in chunks), "[DONE]"]:
        data = f"data: {event}\n\n".encode()
        wire.send(b"%x\r\n%b\r\n" % (len(data), data))
    wire.send(b"0\r\n\r\n")


if __name__ == "__main__":
    port, *certificate = sys.argv[1:]
    tls = None
    if certificate:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(*certificate)
    Lab().serve(int(port), tls)
