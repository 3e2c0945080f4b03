"""A client that sends any bytes, reads what comes within a bound, and leaves when it is told to."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from tests.fuzz.case import Sent, Violation
from tests.support.client import Answer, Client

#: Who sends what may be half a request reads until nothing came for so long.
QUIET_S = 0.08
MOST_READ = 1 << 20
RESET = b"\1\0\0\0\0\0\0\0"


@dataclass
class Seen:
    """What a client saw: whole answers, and what was wrong."""

    answers: list[Answer] = field(default_factory=list)
    violations: list[Violation] = field(default_factory=list)


class _BoundedSocket(socket.socket):
    """A socket that receives until a moment, and not beyond."""

    until = 0.0

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        left_s = self.until - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        self.settimeout(left_s)
        return super().recv(size, flags)


class BoundedClient(Client):
    """A client that reads for so many seconds at most."""

    def __init__(self, port: int, bound_s: float) -> None:
        super().__init__(port, bound_s)
        plain = self.sock
        self.bounded = _BoundedSocket(plain.family, plain.type, plain.proto, plain.detach())
        self.sock = self.bounded
        self.bounded.settimeout(bound_s)
        self.bounded.until = time.monotonic() + bound_s

    def __enter__(self) -> BoundedClient:
        return self


def act(port: int, sent: Sent, patience_s: float) -> Seen:
    """Send, read, leave."""
    seen = Seen()
    with BoundedClient(port, patience_s) as client:
        with suppress(ConnectionError, TimeoutError):
            for number, piece in enumerate(sent.pieces):
                if number:
                    time.sleep(0.001)
                client.sock.sendall(piece)
        if sent.leaves_after is not None or sent.leaves_when_quiet:
            _leave(client, sent)
        elif sent.is_plain:
            seen.violations += _read_answers(client, sent, seen)
        else:
            client.bounded.until = time.monotonic() + QUIET_S
            with suppress(AssertionError, OSError, ValueError, IndexError):
                for method in sent.methods:
                    seen.answers.append(_answer(client, method))
                    client.bounded.until = time.monotonic() + QUIET_S
    return seen


def _leave(client: BoundedClient, sent: Sent) -> None:
    """Read as much as is to be read, or until nothing comes any more: an answer may be shorter."""
    left = MOST_READ if sent.leaves_when_quiet else sent.leaves_after or 0
    client.bounded.until = time.monotonic() + QUIET_S
    with suppress(OSError):
        while left > 0 and (data := client.sock.recv(left)):
            left -= len(data)
    if sent.resets:
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)


def _read_answers(client: BoundedClient, sent: Sent, seen: Seen) -> Iterator[Violation]:
    """Read an answer to each request; after one that closes the connection there need be no more."""
    for method in sent.methods:
        try:
            answer = _answer(client, method)
        except TimeoutError:
            yield Violation("hang", f"no whole answer to {sent.pieces[0][:60]!r}")
            return
        except (AssertionError, ConnectionError):
            if not seen.answers or seen.answers[-1].header("Connection").lower() != "close":
                yield Violation("unanswered", f"no answer to {sent.pieces[0][:60]!r}")
            return
        except (ValueError, IndexError) as error:
            yield Violation("framing", f"an answer that is no HTTP: {error}")
            return
        seen.answers.append(answer)
        if not answer.whole:
            return
    if sent.follows and seen.answers[-1].status != 200:
        yield Violation("following request", f"status {seen.answers[-1].status}: {seen.answers[-1].body[:200]!r}")


def _answer(client: BoundedClient, method: str) -> Answer:
    """Read an answer; not the word to go on that may come before it."""
    while client.until(b"\r\n\r\n").startswith(b"HTTP/1.1 100 "):
        client.head()
    return client.answer(method)
