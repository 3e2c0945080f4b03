"""Clients that mean harm, all at once, and ordinary ones beside them, whose times are taken."""

from __future__ import annotations

import json
import selectors
import socket
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from tests.support.client import Client, ask, chat

HALF_HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nHost: door\r\nX-A: "
HALF_BODY = b"POST /v1/chat/completions HTTP/1.1\r\nHost: door\r\nContent-Length: 5000\r\n\r\n" + b'{"model": "m1", '
ORDINARY_EACH_S, PROBE_EACH_S, HARM_EACH_S = 0.05, 0.25, 1.0


def question(content: object) -> bytes:
    return json.dumps({"model": "m1", "messages": [{"role": "user", "content": content}]}).encode()


def images() -> bytes:
    """A prompt with 1,500 images at private addresses."""
    urls = (f"http://10.{place // 250}.{place % 250}.1/" for place in range(1500))
    return question([{"type": "image_url", "image_url": {"url": url}} for url in urls])


def bomb() -> bytes:
    """16 MB of small lists."""
    return b'{"model": "m1", "messages": [{"role": "user", "content": "Hi"}], "z": [' + b"[]," * 5_300_000 + b"[]]}"


@dataclass
class Report:
    """What ordinary clients saw: seconds a chat and a probe took, and what went wrong."""

    chats: list[float] = field(default_factory=list)
    probes: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    harm: dict[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        return (
            f"{len(self.chats)} chats, median {1000 * statistics.median(self.chats):.1f} ms, "
            f"longest {1000 * max(self.chats):.0f} ms; {len(self.probes)} probes, "
            f"longest {1000 * max(self.probes):.0f} ms; {len(self.failures)} failures {self.failures[:3]}; {self.harm}"
        )


class Holders:
    """Connections that are opened again whenever they are closed, and on which a part of a request is sent."""

    def __init__(self, port: int, parts: Sequence[bytes]) -> None:
        self._port = port
        self._selector = selectors.DefaultSelector()
        for part in parts:
            self._open(part)

    def _open(self, part: bytes) -> None:
        sock = socket.socket()
        sock.setblocking(False)
        sock.connect_ex(("127.0.0.1", self._port))
        self._selector.register(sock, selectors.EVENT_WRITE, part)

    def run(self, over: threading.Event) -> None:
        """Hold them until it is over."""
        while not over.is_set():
            for key, events in self._selector.select(0.2):
                self._serve(key, events)
        for key in tuple(self._selector.get_map().values()):
            assert isinstance(key.fileobj, socket.socket)
            key.fileobj.close()
        self._selector.close()

    def _serve(self, key: selectors.SelectorKey, events: int) -> None:
        sock = key.fileobj
        assert isinstance(sock, socket.socket)
        with suppress(OSError):
            if events & selectors.EVENT_WRITE:
                sock.send(key.data)
                self._selector.modify(sock, selectors.EVENT_READ, key.data)
                return
            if sock.recv(65_536):
                return
        self._selector.unregister(sock)
        sock.close()
        self._open(key.data)


def paced(seconds: float, over: threading.Event) -> Iterator[None]:
    """Go on once in so many seconds until it is over."""
    due = time.monotonic()
    while not over.wait(max(0.0, due - time.monotonic())):
        yield
        due = max(due + seconds, time.monotonic())


class Siege:
    """The parties, each in threads of its own."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._over = threading.Event()
        self.report = Report()

    def run(self, seconds: float, held: int = 0, harms: Sequence[str] = ()) -> Report:
        """Serve ordinary clients for so long, beside so many held connections of each kind and what else is named."""
        parties: list[Callable[[], None]] = [self._probe, *[self._chat] * 4]
        if held:
            holders = Holders(self._port, [HALF_HEAD] * held + [HALF_BODY] * held)
            parties.append(lambda: holders.run(self._over))
        made = {"images": images, "blanks": lambda: question(" " * 1_000_000), "bomb": bomb}
        bodies = {name: made[name]() for name in harms if name in made}
        parties.extend(lambda name=name: self._ask(name, bodies[name]) for name in bodies)  # type: ignore[misc]
        if "head" in harms:
            parties.append(self._send_heads)
        threads = [threading.Thread(target=party) for party in parties]
        for thread in threads:
            thread.start()
        time.sleep(seconds)
        self._over.set()
        for thread in threads:
            thread.join()
        return self.report

    def _timed(self, ask_it: Callable[[], int], times: list[float]) -> None:
        begun = time.monotonic()
        try:
            status = ask_it()
        except (OSError, AssertionError) as error:
            self.report.failures.append(repr(error))
            return
        times.append(time.monotonic() - begun)
        if status != 200:
            self.report.failures.append(f"status {status}")

    def _chat(self) -> None:
        for _ in paced(4 * ORDINARY_EACH_S, self._over):
            self._timed(lambda: chat(self._port).status, self.report.chats)

    def _probe(self) -> None:
        for _ in paced(PROBE_EACH_S, self._over):
            self._timed(lambda: ask(self._port, "GET", "/health/live").status, self.report.probes)

    def _ask(self, name: str, body: bytes) -> None:
        for _ in paced(HARM_EACH_S, self._over):
            with suppress(OSError, AssertionError):
                status = ask(self._port, "POST", "/v1/chat/completions", body).status
                self._count(f"{name} {status}")

    def _send_heads(self) -> None:
        head = b"GET /v1/x HTTP/1.1\r\nHost: x\r\n" + b"X-A: %s\r\n" % (b"y" * 60_000) * 100
        for _ in paced(HARM_EACH_S, self._over):
            with suppress(OSError, AssertionError), Client(self._port) as client:
                with suppress(OSError):
                    client.sock.sendall(head)
                self._count(f"head {client.head().status}")

    def _count(self, what: str) -> None:
        self.report.harm[what] = self.report.harm.get(what, 0) + 1
