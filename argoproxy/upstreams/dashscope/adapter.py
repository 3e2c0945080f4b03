"""The adapter for DashScope's native API. Its compatible mode is an upstream of the kind `openai`.

A request is `{"model", "input": {"messages"}, "parameters": {…}}`; the header `X-DashScope-SSE` requests a stream.
Text models, models that accept images, audio or video, and embeddings have three endpoints; at the wrong one a model
answers 400 "url error, please check url".
Source: "DashScope API reference", Alibaba Cloud Model Studio, September 2026.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from itertools import chain
from typing import Self

from argoproxy.errors import NotFound, ProxyError
from argoproxy.protocol.api.endpoints import COMPLETIONS
from argoproxy.protocol.http_messages import ClientRequest, Headers, without
from argoproxy.protocol.json_text import Json
from argoproxy.protocol.routing.call import Call
from argoproxy.protocol.stream.sse import Batch, Document
from argoproxy.upstreams import Reply, UpstreamRequest
from argoproxy.upstreams.base import USER_AGENT, BaseUpstream, encode_body, make_headers, make_model_list
from argoproxy.upstreams.base_url import BaseUrl
from argoproxy.upstreams.dashscope import completions, embeddings
from argoproxy.upstreams.dashscope.error_codes import error_from_dashscope_reply
from argoproxy.upstreams.dashscope.messages import (
    has_media,
    multimodal_input,
    prompt_input,
    prompt_message_input,
    text_input,
)
from argoproxy.upstreams.dashscope.parameters import chat_parameters, embedding_parameters
from argoproxy.upstreams.detect import Form, detect_form, read_document, read_start

OWNER = "dashscope"

#: Headers that the proxy sets itself. `x-dashscope-async` would start a task in place of an answer.
_OWN_HEADERS = frozenset(
    "content-type content-encoding accept x-dashscope-sse x-dashscope-async x-accel-buffering".split()
)


_TEXT = "/services/aigc/text-generation/generation"
_MULTIMODAL = "/services/aigc/multimodal-generation/generation"
_EMBEDDINGS = "/services/embeddings/text-embedding/text-embedding"
_ENDPOINTS = (_TEXT, _MULTIMODAL, _EMBEDDINGS)
#: The endpoints and all beginnings of their paths, longest first: a configured URL may end with any of them.
_ENDPOINT_BEGINNINGS = sorted(
    {"/".join(path.split("/")[:length]) for path in _ENDPOINTS for length in range(2, 6)}, key=len, reverse=True
)
_VERSION = "/api/v1"

#: Models that are served on the multimodal path only, even for plain text: "Multimodal models (such as qwen3.7-plus or
#: qwen3-vl-plus)", the same reference; Qwen3.5 and Qwen3.6: agentscope-ai/agentscope issues 1316 and 1394.
MULTIMODAL_MODELS = (
    "*-vl",
    "*-vl-*",
    "qvq*",
    "*omni*",
    "qwen*-audio*",
    "qwen3.[5-9]*",
    "qwen3.[1-9][0-9]*",
    "qwen[4-9]*",
)


@dataclass(frozen=True, slots=True)
class DashScopeUrls:
    """The URLs of completions and embeddings. `fixed` is the one configured for all completions, "" if none was."""

    text: str
    multimodal: str
    embeddings: str
    fixed: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse a base URL (`https://dashscope.aliyuncs.com/api/v1`), a full endpoint, or anything in between. Raises
        ValueError."""
        base = BaseUrl.parse(text)
        if "/compatible-mode/" in base.root + "/":
            raise ValueError(
                "this is DashScope's compatible mode, which needs `kind: openai`; the native API is below /api/v1"
            )
        path = next((path for path in _ENDPOINT_BEGINNINGS if base.root.endswith(path)), "")
        endpoint = path if path in _ENDPOINTS else ""
        root = base.root.removesuffix(path)
        root = root if "/" in root.partition("://")[2] else root + _VERSION
        query = "?" + base.query if base.query else ""
        fixed = root + endpoint + query if endpoint in (_TEXT, _MULTIMODAL) else ""
        return cls(root + _TEXT + query, root + _MULTIMODAL + query, root + _EMBEDDINGS + query, fixed)


def is_multimodal(model: str) -> bool:
    """Tell whether a model is served on the multimodal path only."""
    return any(fnmatchcase(model.lower(), pattern) for pattern in MULTIMODAL_MODELS)


@dataclass(frozen=True, slots=True)
class DashScopeUpstream(BaseUpstream):
    """DashScope below a base URL. `authorization` replaces the client's credentials unless it is ""; `model_map` maps
    names that clients use to names of models (`gpt-4: qwen-max`)."""

    urls: DashScopeUrls
    authorization: str = field(default="", repr=False)
    secret: bytes = field(default=b"", repr=False)
    model_map: Mapping[str, str] = field(default_factory=dict)
    name: str = "dashscope"

    def completion_request(self, call: Call) -> UpstreamRequest:
        """Build the request for a completion. Raises BadRequest."""
        model = self._model(call)
        url = self._completion_url(call, model)
        make_input = _INPUTS[call.path == COMPLETIONS.path, url == self.urls.multimodal]
        return self._post(
            url, call, {"model": model, "input": make_input(call.body), "parameters": chat_parameters(call)}
        )

    def read_completion(self, reply: Reply, call: Call) -> Iterator[Batch]:
        """Read a completion, whether it is a document or a stream. Raises ProxyError."""
        pieces = reply.iter_bytes()
        start = yield from read_start(pieces)
        if detect_form(start, reply.headers) is Form.DOCUMENT:
            body = yield from read_document(chain((start,), pieces))
            yield [completions.make_document(body, call)]
        else:
            yield from completions.make_chunks(chain((start,), pieces), call)

    def read_error(self, status: int, headers: Headers, body: bytes) -> ProxyError:
        return error_from_dashscope_reply(status, headers, body)

    def embedding_requests(self, call: Call) -> Sequence[UpstreamRequest]:
        """Build the requests for embeddings, each with as many texts as the model accepts. Raises BadRequest."""
        model, parameters = self._model(call), embedding_parameters(call.body)
        bodies = (
            {"model": model, "input": {"texts": texts}, "parameters": parameters}
            for texts in embeddings.split_texts(call.body, model)
        )
        return [self._post(self.urls.embeddings, call, body) for body in bodies]

    def read_embeddings(self, bodies: Sequence[bytes], call: Call) -> Document:
        """Join the vectors of all batches in the order of the texts. Raises ProxyError."""
        batches = embeddings.split_texts(call.body, self._model(call))
        return embeddings.join_replies(bodies, batches, call.body, call.requested_model)

    def model_list_request(self, request: ClientRequest) -> UpstreamRequest:
        """Raise NotFound: the native API has no list of models."""
        raise NotFound("DashScope has no list of models; only those named in `model_map` are listed.")

    def read_model_list(self, body: bytes, name: str, created: int) -> Document:
        """Return the names in `model_map`, or the entry of one. Raises NotFound."""
        return make_model_list(self.static_models(created), (name,) if name else ())

    def static_models(self, created: int) -> Sequence[Json]:
        return [{"id": name, "object": "model", "created": created, "owned_by": OWNER} for name in self.model_map]

    def probe_request(self) -> UpstreamRequest:
        """Build a GET, which DashScope refuses at once and without a key: any answer shows that it can be reached."""
        headers = (("User-Agent", USER_AGENT), ("Accept-Encoding", "identity"))
        return UpstreamRequest("GET", self.urls.text, headers)

    def _model(self, call: Call) -> str:
        return self.model_map.get(call.model, call.model)

    def _completion_url(self, call: Call, model: str) -> str:
        if self.urls.fixed:
            return self.urls.fixed
        return self.urls.multimodal if is_multimodal(model) or has_media(call.body) else self.urls.text

    def _post(self, url: str, call: Call, body: Json) -> UpstreamRequest:
        text = encode_body(body)
        headers = (*without(make_headers(call.headers, self.authorization), _OWN_HEADERS), *_form_headers(call))
        return UpstreamRequest("POST", url, headers, text, len(text), self.secret)


#: The function that builds the input, by (is it a legacy completion, is it the multimodal path).
_INPUTS = {
    (False, False): text_input,
    (False, True): multimodal_input,
    (True, False): prompt_input,
    (True, True): prompt_message_input,
}


def _form_headers(call: Call) -> Headers:
    """Return the headers that request a document or a stream."""
    common = (("Content-Type", "application/json"), ("Accept-Encoding", "identity"))
    if not call.stream:
        return (*common, ("Accept", "application/json"))
    return (*common, ("Accept", "text/event-stream"), ("X-DashScope-SSE", "enable"))
