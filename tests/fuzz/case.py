"""What one case of the fuzzer is: what clients send, what the upstream plays, and what is compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

Step = list[Any]

#: The key that clients send, and the keys that the proxy sends to its upstreams. None of them may be seen anywhere.
CLIENT_KEY = "sk-client-5f1c9a7be3d24480"
SERVER_KEYS = {
    "plain": "sk-server-plain-9d41c07a55",
    "dashscope": "sk-server-dashs-2be86f13c4",
    "native": "sk-server-nativ-77a0e9d1b6",
}
#: Stands in replies for the key that their upstream was sent; it is as long as all of them.
ECHO = "sk-echo-of-the-key-sent-up"
#: Marks the request that must succeed after each case.
ORDINARY = "X-Ordinary"


@dataclass(frozen=True)
class Sent:
    """What one client sends on one connection, in pieces, and when it leaves.

    `methods` are those of the requests whose answers it reads. If `is_plain`, all of them are well framed, and each
    must be answered. A client that leaves closes after so many bytes of the answer (`leaves_after`), or once nothing
    comes any more (`leaves_when_quiet`); or it resets. A last request that `follows` odd ones is a good one: it must
    succeed, unless the connection was closed before.
    """

    pieces: Sequence[bytes]
    methods: Sequence[str] = ("POST",)
    is_plain: bool = True
    leaves_after: int | None = None
    leaves_when_quiet: bool = False
    resets: bool = False
    follows: bool = False


@dataclass(frozen=True)
class Case:
    """Clients one after another or `at_once`, and the reply that the upstream plays to all of them: `streamed` where it
    is asked for a stream, else `whole`; without steps it answers as an ordinary server would."""

    name: str
    sent: Sequence[Sent]
    whole: Sequence[Step] = ()
    streamed: Sequence[Step] = ()
    at_once: bool = False
    #: Whether all answers must be successes that say the same.
    compares: bool = False
    #: What their text must be, if it is known.
    text: str | None = None
    #: Whether streams are ours, so that they have to end truthfully; others pass as they came.
    is_ours: bool = True
    #: What every body must be, byte for byte, if that is known: of a whole answer and of a streamed one.
    bodies: tuple[bytes, bytes] | None = None


@dataclass(frozen=True)
class Violation:
    """An invariant that did not hold."""

    invariant: str
    detail: str

    def __str__(self) -> str:
        return f"{self.invariant}: {self.detail}"


def request(method: str, target: str, body: bytes | None = None, *headers: tuple[str, str]) -> bytes:
    """Write a request with the client's key; a body gets its length unless the headers tell how it is framed."""
    listed = [("Host", "proxy"), ("Authorization", f"Bearer {CLIENT_KEY}"), *headers]
    names = {name.lower() for name, _ in headers}
    if body is not None and not names & {"content-length", "transfer-encoding"}:
        listed.append(("Content-Length", str(len(body))))
    head = "".join(f"{name}: {value}\r\n" for name, value in listed)
    return f"{method} {target} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + (body or b"")
