"""The load: connections that each send a request when the answer before is complete; one thread, one epoll."""

from __future__ import annotations

import json
import select
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

#: What a right answer holds, by the model: so many events with a word, or a document of 330 characters.
WORDS = {"flood": 200, "word": 1, "think": 116, "paced": 100, "slow": 60}
CHAT, MESSAGES, RESPONSES = "/v1/chat/completions", "/v1/messages", "/v1/responses"
#: A stream of the Responses API repeats its text: at the end of the part twice, of the item, and of the response.
COPIES = {RESPONSES: 5}
DOCUMENT = b"x" * 330
LONGEST_S = 15.0
#: In place of a number of bytes that are still to come.
CHUNKED = -1
#: With the end of the chunk before: a head may end with a 0, too.
LAST_CHUNK = b"\r\n0\r\n\r\n"


@dataclass(frozen=True)
class Lane:
    """Requests of one model from so many clients at the same time. The last word of the model's name tells the
    upstream what to send."""

    name: str
    model: str
    clients: int
    headers: Mapping[str, str] = field(default_factory=dict)
    #: What the client asks for, and whether the upstream is asked for the same.
    is_stream: bool = True
    is_converted: bool = False
    #: Requests of each client; None: as many as come in the seconds of a run.
    requests: int | None = None
    #: Seconds in which the clients begin, one after the other.
    ramp_s: float = 0.0
    path: str = CHAT

    @property
    def body(self) -> bytes:
        """What the client sends."""
        said = [{"role": "user", "content": "Hello"}]
        texts = {"input": said} if self.path == RESPONSES else {"messages": said}
        limit = {"max_tokens": 1000} if self.path == MESSAGES else {}
        return json.dumps({"model": self.model, **texts, **limit, "stream": self.is_stream}).encode()

    @property
    def content(self) -> str:
        """What the upstream sends."""
        return self.model.rpartition("-")[2]

    @property
    def words(self) -> int:
        """How often the word stands in a right answer."""
        return WORDS[self.content] * COPIES.get(self.path, 1)

    @property
    def sends_events(self) -> bool:
        """Whether the upstream sends a stream."""
        return self.is_stream != self.is_converted

    @property
    def events(self) -> int:
        """How many events the upstream sends for a request, with the two that end the stream."""
        counts = {"flood": 202, "think": 202, "paced": 102, "slow": 62}
        return counts.get(self.content, 0) if self.sends_events else 0


@dataclass
class Result:
    """Answers that were right, those that were not, and how long each took (to its first byte, to its end)."""

    seconds: float = 0.0
    right: int = 0
    wrong: int = 0
    first_s: list[float] = field(default_factory=list)
    total_s: list[float] = field(default_factory=list)


class Connection:
    """One client."""

    def __init__(self, port: int, lane: Lane) -> None:
        body = lane.body
        lines = "".join(f"{name}: {value}\r\n" for name, value in lane.headers.items())
        head = f"POST {lane.path} HTTP/1.1\r\nHost: bench\r\nContent-Length: {len(body)}\r\n{lines}\r\n"
        self._request = head.encode() + body
        self._lane = lane
        self.sock = socket.create_connection(("127.0.0.1", port), LONGEST_S)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sent = 0
        self.is_broken = False
        self.ask()

    def ask(self) -> None:
        """Send the request."""
        self.begun, self.first = time.perf_counter(), 0.0
        self._pieces: list[bytes] = []
        self._left: int | None = None
        self._tail = b""
        self.sent += 1
        self.sock.sendall(self._request)

    def has_more(self, left_s: float) -> bool:
        """Return whether another request is to follow."""
        requests = self._lane.requests
        return not self.is_broken and (left_s > 0 if requests is None else self.sent < requests)

    def receive(self) -> bool:
        """Read what has arrived; return whether the answer is complete. Raises EOFError."""
        data = self.sock.recv(1 << 18)
        if not data:
            raise EOFError
        if not self._pieces:
            self.first = time.perf_counter()
        self._pieces.append(data)
        if self._left is None:
            self._left = left_after_head(b"".join(self._pieces))
        elif self._left != CHUNKED:
            self._left -= len(data)
        self._tail = (self._tail + data)[-len(LAST_CHUNK) :]
        return self._left == 0 or (self._left == CHUNKED and self._tail == LAST_CHUNK)

    def is_right(self) -> bool:
        """Return whether the answer has all of the text, and status 200."""
        answer = b"".join(self._pieces)
        body = join_chunks(answer) if self._left == CHUNKED else answer
        has_text = body.count(b"hello ") == self._lane.words if self._lane.sends_events else DOCUMENT in body
        return answer.startswith(b"HTTP/1.1 200") and has_text


def left_after_head(data: bytes) -> int | None:
    """Return how many bytes of the body are still to come, CHUNKED where that is not known, None before its head is
    complete."""
    head, mark, body = data.partition(b"\r\n\r\n")
    if not mark:
        return None
    length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
    return int(length) - len(body) if length else CHUNKED


def join_chunks(answer: bytes) -> bytes:
    """Return the body of a chunked answer: a chunk may end within a word."""
    rest, chunks = memoryview(answer)[answer.index(b"\r\n\r\n") + 4 :], list[memoryview]()
    while True:
        size, _, _ = bytes(rest[:16]).partition(b"\r\n")
        begin, length = len(size) + 2, int(size, 16)
        if not length:
            return b"".join(chunks)
        chunks.append(rest[begin : begin + length])
        rest = rest[begin + length + 2 :]


def run(port: int, lane: Lane, seconds: float) -> Result:
    """Run a lane until `seconds` are over and each answer that was begun is complete."""
    result, poll, open_connections = Result(), select.epoll(), dict[int, Connection]()
    begun = time.perf_counter()
    started = 0
    while started < lane.clients or open_connections:
        now = time.perf_counter() - begun
        if now > seconds + LONGEST_S:
            break
        due = lane.clients if now >= lane.ramp_s else int(lane.clients * now / lane.ramp_s)
        for _ in range(started, due):
            connection = Connection(port, lane)
            open_connections[connection.sock.fileno()] = connection
            poll.register(connection.sock, select.EPOLLIN)
            started += 1
        for number, _ in poll.poll(0.005 if started < lane.clients else 1.0):
            connection = open_connections[number]
            if not advance(connection, result):
                continue
            if connection.has_more(begun + seconds - time.perf_counter()):
                connection.ask()
                continue
            del open_connections[number]
            poll.unregister(number)
            connection.sock.close()
    result.wrong += len(open_connections)
    result.seconds = time.perf_counter() - begun
    for connection in open_connections.values():
        connection.sock.close()
    poll.close()
    return result


def advance(connection: Connection, result: Result) -> bool:
    """Read on; return whether the connection's answer is over, complete or not."""
    try:
        if not connection.receive():
            return False
    except (OSError, EOFError):
        result.wrong += 1
        connection.is_broken = True
        return True
    result.first_s.append(connection.first - connection.begun)
    result.total_s.append(time.perf_counter() - connection.begun)
    if connection.is_right():
        result.right += 1
    else:
        result.wrong += 1
    return True
