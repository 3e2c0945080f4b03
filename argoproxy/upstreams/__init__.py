"""What an upstream is: a provider's server, seen through the adapter that speaks its dialect. All of it is pure.

An adapter turns a call into a request, the reply into batches, and an error answer into a ProxyError. Sending,
waiting and time belong to the transport.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from argoproxy.errors import ProxyError
from argoproxy.protocol.call import Call
from argoproxy.protocol.exchange import ClientRequest, Headers
from argoproxy.protocol.sse import Batch, Document


@dataclass(frozen=True, slots=True)
class UpstreamRequest:
    """A request to send: an absolute URL without credentials, and a body, all there or to be streamed.

    `secret` is what must never come back to a client; the transport stars it out of the reply.
    """

    method: str
    url: str
    headers: Headers
    body: bytes | Iterable[bytes] | None = None
    length: int | None = None
    secret: bytes = field(default=b"", repr=False)


class Reply(Protocol):
    """What an upstream sent back: its head is here, its body arrives. An empty piece is a moment of silence."""

    @property
    def status(self) -> int:
        """The HTTP status."""

    @property
    def headers(self) -> Headers:
        """All headers, repeated ones repeated."""

    def pieces(self) -> Iterator[bytes]:
        """Give the body as it arrives, content coding taken away. Raises ProxyError, ClientGone."""

    def untouched(self) -> Iterator[bytes]:
        """Give the body as it arrives, in its content coding. Raises ProxyError, ClientGone."""

    def read(self) -> bytes:
        """Take the whole body, content coding taken away. Raises ProxyError, ClientGone."""


class Upstream(Protocol):
    """A dialect, configured."""

    @property
    def name(self) -> str:
        """What logs call it."""

    def request(self, call: Call) -> UpstreamRequest:
        """Ask for a completion."""

    def batches(self, reply: Reply, call: Call) -> Iterator[Batch]:
        """Read a completion. Raises ProxyError: the reply broke off, is no completion, or tells of an error."""

    def error(self, status: int, headers: Headers, body: bytes) -> ProxyError:
        """Read an answer that is none."""

    def embed_requests(self, call: Call) -> Sequence[UpstreamRequest]:
        """Ask for embeddings."""

    def embeddings(self, bodies: Sequence[bytes], call: Call) -> Document:
        """Join the replies to embed_requests. Raises UpstreamProtocolError."""

    def models_request(self, request: ClientRequest) -> UpstreamRequest:
        """Ask for `/v1/models` or one model, as the client did."""

    def probe(self) -> UpstreamRequest:
        """Ask whether anyone is there; must cost nothing."""

    def forward(self, request: ClientRequest) -> UpstreamRequest:
        """Pass on a request for a path that is not ours. Raises NotFound, MethodNotAllowed."""
