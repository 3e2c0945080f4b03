"""The inside of a switched upstream: it behaves as it was told last, and counts what came to it.

| kind | what a request meets |
| --- | --- |
| `ok` | an answer in which the server says its name |
| `held` | the same, but after the first word it waits for `release` |
| `refused` | a closed port: connections are reset, new ones are refused |
| `stalled` | connections are accepted, and nothing more: over TLS no handshake |
| `silent` | the request is read, nothing is sent |
| `status` | a reply with `status` (500), `headers` (pairs), and the error `error` |
| `delayed` | the same, once `release` lets it go |
| `error_event` | 200, and the error as the first event; in a document, the error under 200 |
| `late_error_event` | the same behind the first words |
| `break_before` | the stream breaks behind its opening events; a document behind its head |
| `break_after` | the stream breaks behind its first word; a document in its middle |

`python -m tests.support.switched_server PORT NAME [CERT KEY]` reads commands from its standard input, a JSON object a
line, and answers each with a line.
"""

from __future__ import annotations

import json
import socket
import ssl
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from tests.support.gate import Gate
from tests.support.providers import argo, dashscope
from tests.support.scripted_upstream import Left, Wire
from tests.support.surface_answers import SurfaceAnswer, answer_of

Json = dict[str, Any]

#: The error of a failure that names none.
ERROR = {"message": "The server is overloaded.", "type": "server_error", "param": None, "code": "overloaded"}
#: What the kinds reset, beside requests that are under way.
CLOSING = {"refused", "stalled"}
RESET = b"\1\0\0\0\0\0\0\0"
PROVIDERS = (argo, dashscope)


class Server:
    """The process's inside."""

    def __init__(self, port: int, name: str, context: ssl.SSLContext | None) -> None:
        self.port, self.name, self.context = port, name, context
        self.lock = threading.Lock()
        self.gate = Gate()
        self.log: list[Json] = []
        self.modes: dict[str, Json] = {"": {"kind": "ok"}}
        self.connections: set[socket.socket] = set()
        self.accepted = self.active = self.most_active = 0
        self.listener: socket.socket | None = None
        self.listen()

    def listen(self) -> None:
        """Accept connections, unless that is done already."""
        if self.listener is None:
            self.listener = socket.create_server(("127.0.0.1", self.port), backlog=1000)
            threading.Thread(target=self.accept, args=(self.listener,), daemon=True).start()

    def accept(self, listener: socket.socket) -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self.connection, args=(sock,), daemon=True).start()

    def close(self) -> None:
        """Refuse connections."""
        if self.listener is not None:
            self.listener.shutdown(socket.SHUT_RDWR)
            self.listener.close()
            self.listener = None

    def drop_connections(self) -> None:
        with self.lock:
            dropped = list(self.connections)
        for sock in dropped:
            with suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                sock.shutdown(socket.SHUT_RDWR)

    def connection(self, sock: socket.socket) -> None:
        """Serve one connection."""
        with self.lock:
            self.accepted += 1
            self.connections.add(sock)
        while self.modes[""]["kind"] == "stalled":
            time.sleep(0.01)
        with suppress(OSError, Left), sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.context:
                sock = self.secure(sock, self.context)
            wire = Wire(sock)
            while wire.is_open and (seen := wire.head()):
                self.exchange(wire, seen)
        with self.lock:
            self.connections.discard(sock)
        sock.close()

    def secure(self, sock: socket.socket, context: ssl.SSLContext) -> socket.socket:
        """Shake hands; the socket that speaks TLS takes the other one's place."""
        secured = context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        with self.lock:
            self.connections.discard(sock)
            self.connections.add(secured)
        try:
            secured.do_handshake()
        except OSError:
            with self.lock:
                self.connections.discard(secured)
            secured.close()
            raise
        return secured

    def exchange(self, wire: Wire, seen: Json) -> None:
        """Serve one request."""
        seen |= {"at": time.monotonic(), "path": seen["target"].partition("?")[0], "left": False, "length": 0}
        headers = {name.lower(): value for name, value in seen["headers"]}
        wire.body(headers, seen)
        asked: Json = json.loads(seen["body"].encode("latin-1")) if seen["body"].lstrip().startswith("{") else {}
        seen |= {"model": str(asked.get("model", "")), "stream": asked.get("stream") is True}
        mode = self.modes.get(seen["model"]) or self.modes[""]
        with self.lock:
            self.log.append({**seen, "headers": headers, "kind": mode["kind"]})
            self.active += seen["method"] == "POST"
            self.most_active = max(self.active, self.most_active)
        exchange = Exchange(wire, seen, mode, self)
        try:
            exchange.answer()
        except Left:
            wire.is_open = False
        finally:
            exchange.finish()

    def obey(self, command: Json) -> Any:
        """Do what a command says, and return its answer."""
        match command["do"]:
            case "switch":
                self.modes[command["model"]] = command
                self.apply()
            case "reset":
                self.modes = {"": {"kind": "ok"}}
                self.apply()
            case "forget":
                with self.lock:
                    self.log, self.most_active = [], self.active
                self.gate.reset()
            case "release":
                self.gate.release(command["count"])
            case "seen":
                with self.lock:
                    return list(self.log)
        return {"active": self.active, "most_active": self.most_active, "accepted": self.accepted}

    def apply(self) -> None:
        kind = self.modes[""]["kind"]
        if kind == "refused":
            self.close()
        else:
            self.listen()
        if kind in CLOSING:
            self.drop_connections()


class Exchange:
    """One request and its answer."""

    def __init__(self, wire: Wire, seen: Json, mode: Json, server: Server) -> None:
        self.wire, self.seen, self.mode, self.server = wire, seen, mode, server
        self.error = mode.get("error", ERROR)
        self.is_active = seen["method"] == "POST"

    def finish(self) -> None:
        """Count as active no more. Called before the last bytes are sent: then the other side may come again."""
        with self.server.lock:
            self.server.active -= self.is_active
            self.is_active = False

    def answer(self) -> None:
        kind = self.mode["kind"]
        if kind in ("silent", "stalled", "refused"):
            self.wire.hold()
        if kind == "delayed":
            self.wait()
        if kind in ("status", "delayed"):
            self.document({"error": self.error}, self.mode.get("status", 500), self.mode.get("headers", ()))
            return
        if provider := next((one for one in PROVIDERS if self.seen["target"].startswith(one.ROOT)), None):
            provider.answer(self.wire, self.seen)
            return
        path, model = self.seen["path"], self.seen["model"]
        spoken = answer_of(path, self.server.name, model, self.error)
        if spoken and self.seen["stream"]:
            self.events(spoken, kind)
        elif spoken:
            self.whole(spoken, kind)
        elif path.endswith("/models"):
            self.document({"object": "list", "data": [{"id": "m1", "object": "model", "owned_by": self.server.name}]})
        elif path.endswith("/embeddings"):
            vector = {"object": "embedding", "index": 0, "embedding": [0.5]}
            self.document({"object": "list", "data": [vector], "model": self.server.name, "usage": {}})
        else:
            self.document({"said by": self.server.name, "path": path})

    def document(self, document: Json, status: int = 200, headers: Sequence[Sequence[str]] = ()) -> None:
        """Send JSON."""
        body = json.dumps(document).encode()
        listed = [("Content-Type", "application/json"), ("Content-Length", str(len(body))), *headers]
        head = "".join(f"{name}: {value}\r\n" for name, value in listed)
        self.finish()
        self.wire.send(f"HTTP/1.1 {status} Said\r\n{head}\r\n".encode("latin-1") + body)

    def whole(self, spoken: SurfaceAnswer, kind: str) -> None:
        """Answer with a document."""
        if kind == "held":
            self.wait()
        if kind in ("error_event", "late_error_event"):
            self.document({"error": self.error})
            return
        if kind in ("break_before", "break_after"):
            body = json.dumps(spoken.document)
            sent = body[: len(body) // 2] if kind == "break_after" else ""
            head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
            self.wire.send(f"{head}{sent}".encode())
            self.cut()
            return
        self.document(spoken.document)

    def events(self, spoken: SurfaceAnswer, kind: str) -> None:
        """Answer with a stream."""
        self.wire.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        if kind == "error_event":
            self.chunks(spoken.error)
        else:
            self.chunks(*spoken.opening)
        if kind == "break_before":
            self.cut()
            return
        if kind != "error_event":
            self.chunks(spoken.content[0])
        if kind == "held":
            self.wait()
        if kind == "break_after":
            self.cut()
            return
        if kind == "late_error_event":
            self.chunks(spoken.error)
        if kind not in ("error_event", "late_error_event"):
            self.chunks(*spoken.content[1:], *spoken.closing[:-1])
            self.finish()
            self.chunks(spoken.closing[-1])
        self.finish()
        self.wire.send(b"0\r\n\r\n")

    def chunks(self, *events: str) -> None:
        for event in events:
            self.wire.send(f"{len(event):x}\r\n{event}\r\n".encode())

    def cut(self) -> None:
        """Reset the connection, once all that was sent has been read."""
        self.wire.step_read()
        self.wire.step_rst()

    def wait(self) -> None:
        """Wait until the test lets one more go on, or the client leaves."""
        self.wire.wait(self.server.gate)


if __name__ == "__main__":
    port, own_name, *certificate = sys.argv[1:]
    tls = None
    if certificate:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(*certificate)
    running = Server(int(port), own_name, tls)
    for line in sys.stdin:
        print(json.dumps(running.obey(json.loads(line))), flush=True)
