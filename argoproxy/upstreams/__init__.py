"""The interface of an upstream: a provider's server, seen through the adapter that speaks its API.

An adapter builds requests (`…_request`) and reads replies (`read_…`). It is pure: no clock, no network. Sending,
waiting, time-outs and disconnected clients are the transport's business.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, Self

from argoproxy.errors import ProxyError, UpstreamStatus
from argoproxy.protocol.http_messages import ClientRequest, Headers
from argoproxy.protocol.json_text import Json
from argoproxy.protocol.routing.call import Call
from argoproxy.protocol.stream.filters import Filter
from argoproxy.protocol.stream.sse import Batch, Document


@dataclass(frozen=True, slots=True)
class UpstreamRequest:
    """A request to send: an absolute URL without credentials, and a body, either complete or an iterable to stream.

    `length` is the size of the body in bytes; None if it is not known. `secret` is a key that must never be shown to a
    client: the transport replaces it in the reply. `is_streamed` says whether a stream is requested, where the call
    does not say (None: as the call says). `has_client_body` marks a body that is the client's own, never parsed here.
    """

    method: str
    url: str
    headers: Headers
    body: bytes | Iterable[bytes] | None = None
    length: int | None = None
    secret: bytes = field(default=b"", repr=False)
    is_streamed: bool | None = None
    has_client_body: bool = False


class Reply(Protocol):
    """The reply of an upstream: its head has arrived, its body is still arriving."""

    @property
    def status(self) -> int:
        """The HTTP status."""

    @property
    def headers(self) -> Headers:
        """All header fields; repeated ones are repeated."""

    def iter_bytes(self) -> Iterator[bytes]:
        """Yield the decoded body as it arrives; `b""` means that nothing arrived for a moment. Raises ProxyError,
        ClientGone."""

    def iter_raw(self) -> Iterator[bytes]:
        """Yield the body like iter_bytes, but without removing its content coding. Raises ProxyError, ClientGone."""

    def read(self) -> bytes:
        """Return the whole decoded body. Raises ProxyError, ClientGone."""


class Upstream(Protocol):
    """An adapter for one provider, configured for one server."""

    @property
    def name(self) -> str:
        """Its name in logs and metrics."""

    @property
    def served_paths(self) -> Mapping[str, str]:
        """The only paths that it serves, each with its method; empty if it accepts every path."""

    @property
    def is_passthrough(self) -> bool:
        """Whether its replies go to the client byte for byte."""

    def speaks(self, path: str) -> bool:
        """Tell whether its server has this path of an API other than OpenAI's chats. A client's request for it is then
        passed to `completion_request` as it is, and the reply goes to the client byte for byte."""

    def lacks(self, path: str, error: UpstreamStatus) -> bool:
        """Tell whether a server's error to a request for a path that it `speaks` says that it does not have it. The
        request is then converted, and so are later ones."""

    def aliases(self, model: str) -> Sequence[str]:
        """Return all names of a model, the given one included: rules may use any of them."""

    def resolves(self, model: str) -> bool:
        """Tell whether a model's name can be resolved without the server's list of models."""

    def with_model_list(self, body: bytes) -> Self:
        """Return a copy that also resolves the names in the server's list of models, the reply to
        shared_model_list_request. Raises UpstreamProtocolError."""

    def completion_request(self, call: Call) -> UpstreamRequest:
        """Build the request for a completion. Raises BadRequest."""

    def read_completion(self, reply: Reply, call: Call) -> Iterator[Batch]:
        """Read a completion as batches of events. Raises ProxyError if the reply breaks off, can't be understood or
        holds an error."""

    def convert_headers(self, headers: Headers) -> Headers:
        """Return the headers of a reply, with rate limits and ids under the names that OpenAI gives them."""

    def read_error(self, status: int, headers: Headers, body: bytes) -> ProxyError:
        """Make an error of a reply whose status is not a success."""

    def refuses_mode(self, error: ProxyError) -> bool:
        """Tell whether an error says that this model can't be called in this mode, streamed or not."""

    def embedding_requests(self, call: Call) -> Sequence[UpstreamRequest]:
        """Build the requests for embeddings: one, or as many as the server's limits demand. Raises BadRequest."""

    def read_embeddings(self, bodies: Sequence[bytes], call: Call) -> Document:
        """Join the replies to embedding_requests, in their order. Raises UpstreamProtocolError."""

    def shared_model_list_request(self) -> UpstreamRequest | None:
        """Build the request for the list of models; None if the list depends on the client's own key."""

    def model_list_request(self, request: ClientRequest) -> UpstreamRequest:
        """Build the request for `/v1/models` or `/v1/models/{id}` on behalf of a client. Raises NotFound."""

    def next_models_request(self, request: UpstreamRequest, body: bytes) -> UpstreamRequest | None:
        """Build the request for the page of models after that of a reply; None if there is none. Raises
        UpstreamProtocolError."""

    def read_model_list(self, body: bytes, name: str, created: int) -> Document:
        """Read the reply to either of the two requests above: OpenAI's list of models, or the entry of one model if
        `name` is not empty. Raises UpstreamProtocolError, NotFound."""

    def static_models(self, created: int) -> Sequence[Json]:
        """Return entries for models that are listed even if the server can't be reached."""

    def filters(self, call: Call) -> Sequence[Filter]:
        """Return filters for what the client will see; they run after the proxy's own. Unused for passthrough."""

    def probe_request(self) -> UpstreamRequest | None:
        """Build a request that shows whether the server can be reached, at no cost; None if there is no need to."""

    def forward_request(self, request: ClientRequest) -> UpstreamRequest:
        """Build the request for any other path. Raises NotFound, MethodNotAllowed."""
