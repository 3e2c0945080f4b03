"""A client on a raw socket, which sees every byte and when it came."""

from __future__ import annotations

import json
import socket
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

CHAT_BODY = json.dumps({"model": "m1", "messages": [{"role": "user", "content": "Hi"}]}).encode()
STREAM_BODY = json.dumps({"model": "m1", "messages": [{"role": "user", "content": "Hi"}], "stream": True}).encode()


@dataclass
class Answer:
    """What came back. `whole` tells whether the body ended as its head said it would."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes = b""
    whole: bool = False
    pieces: list[tuple[float, bytes]] = field(default_factory=list)

    def header(self, name: str) -> str:
        return next((value for key, value in self.headers if key.lower() == name.lower()), "")

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        error: dict[str, Any] = self.json["error"]
        assert set(error) >= {"message", "type", "param", "code"}
        return error

    @property
    def id(self) -> str:
        return self.header("X-Logging-Id")

    @property
    def chunks(self) -> list[dict[str, Any]]:
        lines = self.body.replace(b"\r\n", b"\n")
        events = [part for part in lines.split(b"\n\n") if part.startswith(b"data: {")]
        return [json.loads(event[6:]) for event in events]

    @property
    def text(self) -> str:
        parts = [part for chunk in self.chunks for part in chunk.get("choices", ())]
        return "".join((part.get("delta") or {}).get("content") or part.get("text") or "" for part in parts)


class Client:
    """One connection to the proxy."""

    def __init__(self, port: int, timeout_s: float = 120.0) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), timeout_s)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._rest = b""

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()

    def leave(self) -> None:
        self.sock.close()

    def send(self, method: str, target: str, body: bytes | None = None, **headers: str) -> None:
        """Send a request; underscores in header names stand for dashes."""
        listed = {"Host": "door", **{name.replace("_", "-"): value for name, value in headers.items()}}
        if body is not None and "Transfer-Encoding" not in listed:
            listed.setdefault("Content-Length", str(len(body)))
        head = "".join(f"{name}: {value}\r\n" for name, value in listed.items())
        with suppress(BrokenPipeError, ConnectionResetError):
            self.sock.sendall(f"{method} {target} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + (body or b""))

    def head(self) -> Answer:
        """Read a head."""
        while b"\r\n\r\n" not in self._rest:
            data = self.sock.recv(65536)
            assert data, "the connection ended before the head"
            self._rest += data
        head, _, self._rest = self._rest.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = [(name, value) for name, _, value in (line.partition(": ") for line in lines)]
        return Answer(int(first.split(" ")[1]), headers)

    def rest(self) -> bytes:
        """Give what was read beyond the head."""
        data, self._rest = self._rest, b""
        return data

    def until(self, mark: bytes, times: int = 1) -> bytes:
        """Read on until a mark came, so many times."""
        while self._rest.count(mark) < times:
            data = self.sock.recv(65536)
            assert data, "the connection ended"
            self._rest += data
        return self._rest

    def answer(self, method: str = "") -> Answer:
        """Read a whole answer."""
        answer = self.head()
        if method == "HEAD" or answer.status in (204, 304):
            answer.whole = True
        elif answer.header("Transfer-Encoding"):
            self._chunks(answer)
        else:
            self._counted(answer)
        answer.body = b"".join(piece for _, piece in answer.pieces)
        return answer

    def _more(self) -> bytes:
        data, self._rest = self._rest, b""
        try:
            return data or self.sock.recv(1 << 20)
        except ConnectionResetError:
            return b""

    def _counted(self, answer: Answer) -> None:
        length = answer.header("Content-Length")
        left = int(length) if length else 1 << 60
        while left and (data := self._more()):
            self._rest = data[left:]
            answer.pieces.append((time.monotonic(), data[:left]))
            left -= len(data[:left])
        answer.whole = left == 0 or not length

    def _chunks(self, answer: Answer) -> None:
        while True:
            while b"\r\n" not in self._rest:
                rest, data = self._rest, b""
                self._rest = b""
                data = self._more()
                if not data:
                    return
                self._rest = rest + data
            line, _, self._rest = self._rest.partition(b"\r\n")
            size = int(line, 16)
            while len(self._rest) < size + 2:
                rest, self._rest = self._rest, b""
                data = self._more()
                if not data:
                    return
                self._rest = rest + data
            if not size:
                self._rest = self._rest[2:]
                answer.whole = True
                return
            answer.pieces.append((time.monotonic(), self._rest[:size]))
            self._rest = self._rest[size + 2 :]


def ask(port: int, method: str, target: str, body: bytes | None = None, **headers: str) -> Answer:
    """Send one request on a connection of its own, read the whole answer."""
    with Client(port) as client:
        client.send(method, target, body, **headers)
        return client.answer(method)


def chat(port: int, path: str = "/v1/chat/completions", headers: dict[str, str] | None = None, **body: Any) -> Answer:
    """Ask for a completion."""
    asked = {"model": "m1", "messages": [{"role": "user", "content": "Hi"}], **body}
    return ask(port, "POST", path, json.dumps(asked).encode(), **(headers or {}))
