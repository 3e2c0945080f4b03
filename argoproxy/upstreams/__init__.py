"""What an upstream is: a provider's server, seen through the adapter that speaks its dialect. All of it is pure.

An adapter turns a call into a request, the reply into batches, and an error answer into a ProxyError. Sending,
waiting and time belong to the transport.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, Self

from argoproxy.errors import ProxyError
from argoproxy.protocol.http_messages import ClientRequest, Headers
from argoproxy.protocol.json_text import Json
from argoproxy.protocol.routing.call import Call
from argoproxy.protocol.stream.filters import Filter
from argoproxy.protocol.stream.sse import Batch, Document


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
    #: Whether a stream is asked for, where the call does not tell; None where it does.
    is_streamed: bool | None = None
    #: Whether the body is the client's own, which nobody has read.
    is_passed_on: bool = False


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

    def raw_pieces(self) -> Iterator[bytes]:
        """Give the body as it arrives, in its content coding. Raises ProxyError, ClientGone."""

    def read(self) -> bytes:
        """Take the whole body, content coding taken away. Raises ProxyError, ClientGone."""


class Upstream(Protocol):
    """A dialect, configured."""

    @property
    def name(self) -> str:
        """What logs call it."""

    @property
    def serves(self) -> Mapping[str, str]:
        """The paths it has besides which nothing is served, with their methods; none when every path is passed on."""

    @property
    def is_native(self) -> bool:
        """Whether its replies go to the client byte for byte."""

    def spellings(self, model: str) -> Sequence[str]:
        """Give a model's name and the other names of the same model, by which a rule may call it too."""

    def knows(self, model: str) -> bool:
        """Whether a name can be understood without the common list of models."""

    def acquainted(self, listed: bytes) -> Self:
        """Give the same upstream, knowing its own list of models too. Raises UpstreamProtocolError."""

    def request(self, call: Call) -> UpstreamRequest:
        """Ask for a completion."""

    def batches(self, reply: Reply, call: Call) -> Iterator[Batch]:
        """Read a completion. Raises ProxyError: the reply broke off, is no completion, or tells of an error."""

    def error(self, status: int, headers: Headers, body: bytes) -> ProxyError:
        """Read an answer that is none."""

    def refuses_mode(self, error: ProxyError) -> bool:
        """Tell whether an error of its server says that the model can't be asked this way, as a stream or whole."""

    def embed_requests(self, call: Call) -> Sequence[UpstreamRequest]:
        """Ask for embeddings."""

    def embeddings(self, bodies: Sequence[bytes], call: Call) -> Document:
        """Join the replies to embed_requests. Raises UpstreamProtocolError."""

    def common_list(self) -> UpstreamRequest | None:
        """Ask for its list of models; None where each client must ask for itself."""

    def models_request(self, request: ClientRequest) -> UpstreamRequest:
        """Ask for `/v1/models` or one model, as the client did."""

    def listing(self, listed: bytes, name: str, created: int) -> Document:
        """Read the reply to common_list or models_request: OpenAI's list, or the entry of the one model that was named.
        Raises UpstreamProtocolError, NotFound."""

    def own_models(self, created: int) -> Sequence[Json]:
        """Give entries of the models it has even when it can't be asked."""

    def filters(self, call: Call) -> Sequence[Filter]:
        """Give filters of its own over what the client will see, after ours; a native one has none."""

    def probe(self) -> UpstreamRequest | None:
        """Ask whether anyone is there; must cost nothing. None where nobody needs to be asked."""

    def forward(self, request: ClientRequest) -> UpstreamRequest:
        """Pass on a request for a path that is not ours. Raises NotFound, MethodNotAllowed."""
