"""DashScope as an upstream, in its native protocol; its compatible mode is a plain OpenAI one.

`{"model", "input": {"messages"}, "parameters": {…}}` goes up; a stream is asked for by a header. The parameters hold
`result_format: message` besides what the call says, for only with it tools, thoughts and more than one choice come
back, and `incremental_output: true` in streams; both can be said otherwise by the call or a rule.
Source: "DashScope API reference", Alibaba Cloud Model Studio, September 2026.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain

from argoproxy.errors import NotFound, ProxyError
from argoproxy.protocol.access.header_rules import request_headers_for_upstream
from argoproxy.protocol.access.secrets import CREDENTIAL_HEADERS
from argoproxy.protocol.api.endpoints import COMPLETIONS
from argoproxy.protocol.http_messages import ClientRequest, Headers, get_header, without
from argoproxy.protocol.json_text import Json, dumps
from argoproxy.protocol.routing.call import Call
from argoproxy.protocol.stream.sse import Batch, Document
from argoproxy.upstreams import Reply, UpstreamRequest
from argoproxy.upstreams.base import BaseUpstream
from argoproxy.upstreams.dashscope import embeddings, refusals, streams
from argoproxy.upstreams.dashscope.messages import (
    has_media,
    multimodal_input,
    prompt_input,
    prompt_message_input,
    text_input,
)
from argoproxy.upstreams.dashscope.parameters import chat_parameters, embedding_parameters
from argoproxy.upstreams.dashscope.replies import document
from argoproxy.upstreams.dashscope.urls import DashScopeUrls, is_multimodal
from argoproxy.upstreams.detect import Form, form_of, gathered, opened
from argoproxy.upstreams.openai import USER_AGENT

OWNER = "dashscope"

#: Ours to say: how the body is coded, what is taken back, whether it is streamed; a task would be no answer.
_OURS = frozenset("content-type content-encoding accept x-dashscope-sse x-dashscope-async x-accel-buffering".split())


@dataclass(frozen=True, slots=True)
class DashScope(BaseUpstream):
    """DashScope below a base URL; `authorization` replaces the client's credentials where it is set, `model_map`
    renames models on their way up (`gpt-4: qwen-max`)."""

    urls: DashScopeUrls
    authorization: str = field(default="", repr=False)
    secret: bytes = field(default=b"", repr=False)
    model_map: Mapping[str, str] = field(default_factory=dict)
    name: str = "dashscope"

    def completion_request(self, call: Call) -> UpstreamRequest:
        """Ask for a completion. Raises BadRequest."""
        model = self._model(call)
        url = self._generation(call, model)
        said = _INPUTS[call.path == COMPLETIONS.path, url == self.urls.multimodal]
        return self._post(url, call, {"model": model, "input": said(call.body), "parameters": chat_parameters(call)})

    def read_completion(self, reply: Reply, call: Call) -> Iterator[Batch]:
        """Read a completion in whatever form it came."""
        pieces = reply.iter_bytes()
        start = yield from opened(pieces)
        if form_of(start, reply.headers) is Form.DOCUMENT:
            body = yield from gathered(chain((start,), pieces))
            yield [document(body, call)]
        else:
            yield from streams.chunked(chain((start,), pieces), call)

    def read_error(self, status: int, headers: Headers, body: bytes) -> ProxyError:
        """Read an error answer."""
        return refusals.answered(status, headers, body)

    def embedding_requests(self, call: Call) -> Sequence[UpstreamRequest]:
        """Ask for embeddings, as many texts at a time as the model takes. Raises BadRequest."""
        model, parameters = self._model(call), embedding_parameters(call.body)
        bodies = (
            {"model": model, "input": {"texts": texts}, "parameters": parameters}
            for texts in embeddings.batches_of(call.body, model)
        )
        return [self._post(self.urls.embeddings, call, body) for body in bodies]

    def read_embeddings(self, bodies: Sequence[bytes], call: Call) -> Document:
        """Join the vectors of all batches in the order of the texts. Raises ProxyError."""
        batches = embeddings.batches_of(call.body, self._model(call))
        return embeddings.joined(bodies, batches, call.body, call.requested_model)

    def model_list_request(self, request: ClientRequest) -> UpstreamRequest:
        """Say that there is no list to ask for. Raises NotFound."""
        raise NotFound("DashScope lists no models; the ones that `model_map` names are known.")

    def read_model_list(self, listed: bytes, name: str, created: int) -> Document:
        """Give the names that `model_map` has, or the one of them that was named. Raises NotFound."""
        entries = self.static_models(created)
        if not name:
            return Document.of({"object": "list", "data": entries})
        for entry in entries:
            if entry["id"] == name:
                return Document.of(entry)
        raise NotFound(f"There is no model {name!r}.", param="model", code="model_not_found")

    def static_models(self, created: int) -> Sequence[Json]:
        return [{"id": name, "object": "model", "created": created, "owned_by": OWNER} for name in self.model_map]

    def probe_request(self) -> UpstreamRequest:
        """Ask in a way that is refused at once, without a key: only that there is an answer counts."""
        headers = (("User-Agent", USER_AGENT), ("Accept-Encoding", "identity"))
        return UpstreamRequest("GET", self.urls.text, headers)

    def _model(self, call: Call) -> str:
        return self.model_map.get(call.model, call.model)

    def _generation(self, call: Call, model: str) -> str:
        if self.urls.named:
            return self.urls.named
        return self.urls.multimodal if is_multimodal(model) or has_media(call.body) else self.urls.text

    def _post(self, url: str, call: Call, body: Json) -> UpstreamRequest:
        text = dumps(body)
        headers = (*without(self._headers(call.headers), _OURS), *_asking(call))
        return UpstreamRequest("POST", url, headers, text, len(text), self.secret)

    def _headers(self, headers: Headers) -> Headers:
        sent = request_headers_for_upstream(headers)
        if self.authorization:
            sent = (*without(sent, CREDENTIAL_HEADERS), ("Authorization", self.authorization))
        return sent if get_header(sent, "user-agent") else (*sent, ("User-Agent", USER_AGENT))


#: What makes the input: whether a legacy completion is asked, whether on the multimodal path.
_INPUTS = {
    (False, False): text_input,
    (False, True): multimodal_input,
    (True, False): prompt_input,
    (True, True): prompt_message_input,
}


def _asking(call: Call) -> Headers:
    """Give the headers that say how the answer is to come."""
    ours = (("Content-Type", "application/json"), ("Accept-Encoding", "identity"))
    if not call.stream:
        return (*ours, ("Accept", "application/json"))
    return (*ours, ("Accept", "text/event-stream"), ("X-DashScope-SSE", "enable"))
