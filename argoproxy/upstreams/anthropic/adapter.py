"""The adapter for Anthropic's Messages API and servers with the same API.

Source: Anthropic API reference (Messages, Models, Errors, Versions).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import NoReturn
from urllib.parse import quote

from argoproxy.errors import BadRequest, ProxyError
from argoproxy.protocol.http_messages import ClientRequest, Headers
from argoproxy.protocol.routing.call import Call
from argoproxy.protocol.stream.runs import cut_runs
from argoproxy.protocol.stream.sse import Batch, Document
from argoproxy.upstreams import Reply, UpstreamRequest
from argoproxy.upstreams.anthropic.error_types import error_from_anthropic_reply
from argoproxy.upstreams.anthropic.headers import (
    convert_credentials,
    credentials_of,
    request_headers,
    with_openai_limits,
)
from argoproxy.upstreams.anthropic.messages import LaterSystem
from argoproxy.upstreams.anthropic.models import LONGEST_PAGE, last_of_page, parse_models
from argoproxy.upstreams.anthropic.parameters import make_messages_body
from argoproxy.upstreams.anthropic.replies import read_reply
from argoproxy.upstreams.base import BaseUpstream, encode_body, forwarded_request
from argoproxy.upstreams.base_url import BaseUrl, validate_path

MESSAGES_PATH, MODELS_PATH = "/v1/messages", "/v1/models"

_SPOKEN = frozenset((MESSAGES_PATH, f"{MESSAGES_PATH}/count_tokens"))
_JSON_TYPE = ("Content-Type", "application/json")


@dataclass(frozen=True, slots=True)
class AnthropicOptions:
    """What is added to requests: `max_tokens` where the client sets none (None: the longest answer of the model), the
    beta features of all requests, and where later system messages go."""

    max_tokens: int | None = None
    beta: str = ""
    later_system: LaterSystem = LaterSystem.HOIST


@dataclass(frozen=True, slots=True)
class AnthropicUpstream(BaseUpstream):
    """Anthropic below a base URL. `key` replaces the client's credentials unless it is ""."""

    base: BaseUrl
    key: str = field(default="", repr=False)
    options: AnthropicOptions = AnthropicOptions()
    name: str = "anthropic"
    served_paths: Mapping[str, str] = field(default_factory=dict)

    def speaks(self, path: str) -> bool:
        """Tell whether a path is one of the Messages API."""
        return path in _SPOKEN

    def completion_request(self, call: Call) -> UpstreamRequest:
        """Build the request for a message: the client's own bytes, if it speaks this API. Raises BadRequest for what
        Anthropic does not support."""
        if self.speaks(call.path):
            return self._post(call, call.payload(), self._own_headers(call.headers))
        document = make_messages_body(call, self.options.max_tokens, self.options.later_system)
        target = replace(call, path=MESSAGES_PATH, query="")
        return self._post(target, encode_body(document), self._headers(call.headers))

    def read_completion(self, reply: Reply, call: Call) -> Iterator[Batch]:
        """Read a message, streamed or whole. Raises ProxyError."""
        return map(cut_runs, self.read_runs(reply, call))

    def read_runs(self, reply: Reply, call: Call) -> Iterator[Batch]:
        """Read a message, with plain text in runs. Raises ProxyError."""
        return read_reply(reply, call)

    def convert_headers(self, headers: Headers) -> Headers:
        return with_openai_limits(headers)

    def read_error(self, status: int, headers: Headers, body: bytes) -> ProxyError:
        return error_from_anthropic_reply(status, headers, body)

    def embedding_requests(self, call: Call) -> NoReturn:
        """Raise BadRequest: Anthropic has no embeddings."""
        raise BadRequest("Anthropic has no embeddings.", param="model")

    def model_list_request(self, request: ClientRequest) -> UpstreamRequest:
        """Build the request for all models, or for the one that the client named."""
        path = "/v1" + validate_path(request.path).rstrip("/").removeprefix("/v1")
        query = f"limit={LONGEST_PAGE}" if path == MODELS_PATH else ""
        return UpstreamRequest("GET", self.base.url(path, query), self._headers(request.headers), secret=self._secret)

    def next_models_request(self, request: UpstreamRequest, body: bytes) -> UpstreamRequest | None:
        """Build the request for the models after those of a page, None after the last one. Raises
        UpstreamProtocolError."""
        last_id = last_of_page(body)
        if not last_id:
            return None
        query = f"limit={LONGEST_PAGE}&after_id={quote(last_id, safe='')}"
        return replace(request, url=self.base.url(MODELS_PATH, query))

    def read_model_list(self, body: bytes, name: str, created: int) -> Document:
        """Read a list of models, or one model. Raises UpstreamProtocolError."""
        return parse_models(body, name, created)

    def probe_request(self) -> UpstreamRequest:
        """Build a request for a list of one model, which costs nothing."""
        return UpstreamRequest("GET", self.base.url(MODELS_PATH, "limit=1"), self._headers(()), secret=self._secret)

    def forward_request(self, request: ClientRequest) -> UpstreamRequest:
        """Build the client's request for any other path, such as files or batches."""
        url = self.base.url(request.path, request.query)
        return forwarded_request(request, url, self._own_headers(request.headers), self._secret)

    @property
    def _secret(self) -> bytes:
        return self.key.encode()

    def _post(self, call: Call, body: bytes, headers: Headers) -> UpstreamRequest:
        url = self.base.url(call.path, call.query)
        return UpstreamRequest("POST", url, (*headers, _JSON_TYPE), body, len(body), self._secret)

    def _headers(self, headers: Headers) -> Headers:
        """Return the headers of a request that a client of OpenAI's API made."""
        credentials = credentials_of(self.key) or convert_credentials(headers)
        return request_headers(headers, credentials, self.options.beta)

    def _own_headers(self, headers: Headers) -> Headers:
        """Return the headers of a request that a client of Anthropic's API made."""
        return request_headers(headers, credentials_of(self.key), self.options.beta)
