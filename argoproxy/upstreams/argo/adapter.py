"""The adapters for Argonne's Argo gateway: its own API, and its native OpenAI endpoint.

The gateway identifies its user by the field `user` of the body alone, so no credential is sent. The URL, not a field,
decides whether the reply is a stream. Tool calls can't be streamed: they are requested whole. The gateway sends no ids,
finish reasons or usage: ids are the request's, a reply that ends without an error is finished, usage is estimated.
Sources: "Argo API Documentation", 20 October 2025; argo-openai-proxy, March 2025; for the native endpoint argo-proxy,
"Native OpenAI Endpoint Passthrough", December 2025.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

from argoproxy.errors import AuthenticationError, UpstreamUnreachable
from argoproxy.protocol.api.endpoints import CHAT, COMPLETIONS, RAW
from argoproxy.protocol.http_messages import ClientRequest, Headers, get_header
from argoproxy.protocol.json_text import Json, as_dict, as_dicts, as_text
from argoproxy.protocol.routing.call import Call, Identity
from argoproxy.protocol.stream.sse import Batch, Document, Event
from argoproxy.upstreams import Reply, UpstreamRequest
from argoproxy.upstreams.argo import completions, embeddings
from argoproxy.upstreams.argo.messages import chat_body, limit_whole_reply, prompt_body, raw_body
from argoproxy.upstreams.argo.model_ids import BUILT_IN, ModelIds
from argoproxy.upstreams.argo.replies import parse_reply, raise_soft_error, read_text_stream
from argoproxy.upstreams.base import SERVED_PATHS, USER_AGENT, BaseUpstream, encode_body, make_model_list
from argoproxy.upstreams.error_replies import loads_or_none
from argoproxy.upstreams.openai import OpenAIUpstream

DEVELOPMENT = "https://apps-dev.inside.anl.gov/argoapi"
PRODUCTION = "https://apps.inside.anl.gov/argoapi"

# The gateway is a FastAPI application: it would redirect a POST to a URL without the trailing slash.
_CHAT, _STREAM, _EMBED = "/api/v1/resource/chat/", "/api/v1/resource/streamchat/", "/api/v1/resource/embed/"
_MODELS = "/api/v1/models/"
_SERVED_PATHS: Mapping[str, str] = {**SERVED_PATHS, "/v1/chat": "POST", "/v1/status": "GET"}


@dataclass(frozen=True, slots=True)
class ArgoUrls:
    """The gateway's URLs; the defaults are those of argo-openai-proxy."""

    chat: str = DEVELOPMENT + _CHAT
    stream: str = DEVELOPMENT + _STREAM
    embed: str = PRODUCTION + _EMBED

    @classmethod
    def below(cls, root: str) -> Self:
        """Return the URLs below a root (`…/argoapi`)."""
        root = root.rstrip("/")
        return cls(root + _CHAT, root + _STREAM, root + _EMBED)

    @property
    def models(self) -> str | None:
        """The URL of the list of models, derived from that of chats; None if that has another form."""
        root, path, _ = self.chat.partition(_CHAT.rstrip("/"))
        return root + _MODELS if path else None


@dataclass(frozen=True, slots=True)
class ArgoUpstream(BaseUpstream):
    """The gateway's own API."""

    urls: ArgoUrls
    identity: Identity
    model_ids: ModelIds = BUILT_IN
    name: str = "argo"

    @property
    def served_paths(self) -> Mapping[str, str]:
        return _SERVED_PATHS

    def aliases(self, model: str) -> Sequence[str]:
        return self.model_ids.aliases_of(model)

    def resolves(self, model: str) -> bool:
        return self.model_ids.find(model) is not None

    def with_model_list(self, body: bytes) -> Self:
        return replace(self, model_ids=self.model_ids.with_list(loads_or_none(body)))

    def completion_request(self, call: Call) -> UpstreamRequest:
        """Build the request for a completion. Raises BadRequest, AuthenticationError."""
        model_id = self._model_id(call)
        make_body = {RAW.path: raw_body, COMPLETIONS.path: prompt_body}.get(call.path, chat_body)
        body = {**make_body(call.body, model_id), "model": model_id, "user": self._user(call)}
        if _is_streamed(call):
            return self._post(self.urls.stream, call, body, "text/plain")
        return self._post(self.urls.chat, call, limit_whole_reply(body, model_id), "application/json")

    def read_completion(self, reply: Reply, call: Call) -> Iterator[Batch]:
        """Read a completion; the reply to `/v1/chat` stays byte for byte."""
        if call.path == RAW.path:
            yield from _read_raw(reply, call)
        elif _is_streamed(call):
            yield from completions.make_chunks(read_text_stream(reply.iter_bytes(), "replace"), call)
        else:
            yield [completions.make_document(parse_reply(reply.read(), call.id), call)]

    def embedding_requests(self, call: Call) -> Sequence[UpstreamRequest]:
        """Build the requests for embeddings, each with as many texts as the gateway accepts. Raises BadRequest,
        AuthenticationError."""
        model_id = self._model_id(call)
        batches = embeddings.split_texts(call.body, model_id)
        user = self._user(call)
        bodies = ({"user": user, "model": model_id, "prompt": texts} for texts in batches)
        return [self._post(self.urls.embed, call, body, "application/json") for body in bodies]

    def read_embeddings(self, bodies: Sequence[bytes], call: Call) -> Document:
        """Join the vectors of all batches in the order of the texts. Raises UpstreamProtocolError."""
        return Document.of(embeddings.join_replies(bodies, call.body, call.requested_model))

    def shared_model_list_request(self) -> UpstreamRequest | None:
        if self.urls.models is None:
            return None
        return UpstreamRequest("GET", self.urls.models, _make_headers((), "application/json"))

    def model_list_request(self, request: ClientRequest) -> UpstreamRequest:
        raise UpstreamUnreachable("The URL of this gateway's list of models is not known.")

    def read_model_list(self, body: bytes, name: str, created: int) -> Document:
        """Return the gateway's models with those of the built-in table, or the entry of one. Raises NotFound,
        UpstreamProtocolError."""
        upstream = self.with_model_list(body)
        return make_model_list(upstream.static_models(created), upstream.aliases(name) if name else ())

    def static_models(self, created: int) -> Sequence[Json]:
        return self.model_ids.make_entries(created)

    def probe_request(self) -> UpstreamRequest:
        """Build a GET to a URL that only accepts POST: any answer, also a 405, shows that it can be reached."""
        return UpstreamRequest("GET", self.urls.chat, _make_headers((), "application/json"))

    def _model_id(self, call: Call) -> str:
        return self.model_ids.find(call.model) or call.model

    def _user(self, call: Call) -> str:
        if user := self.identity.user_for(call):
            return user
        raise AuthenticationError(
            "The Argo gateway needs a user name: send your Argonne user name as the API key.", code="user_required"
        )

    def _post(self, url: str, call: Call, body: Json, accept: str) -> UpstreamRequest:
        text = encode_body(body)
        headers = (*_make_headers(call.headers, accept), ("Content-Type", "application/json"))
        return UpstreamRequest("POST", url, headers, text, len(text), is_streamed=url == self.urls.stream)


@dataclass(frozen=True, slots=True)
class ArgoNativeUpstream(OpenAIUpstream):
    """The gateway's native OpenAI endpoint: requests and replies are passed on unchanged except for the model, `user`,
    and what the configured rules change."""

    name: str = "native"
    is_passthrough: bool = True
    identity: Identity = Identity()
    model_ids: ModelIds = BUILT_IN

    def aliases(self, model: str) -> Sequence[str]:
        return self.model_ids.aliases_of(model)

    def completion_request(self, call: Call) -> UpstreamRequest:
        """Build the client's request with the id of the model, and with `user`: the caller's name if callers are passed
        on, else the configured one unless the client sent one."""
        body = {**call.body, "model": self.model_ids.find(call.model) or call.model}
        if user := self.identity.caller_of(call) or ("" if call.body.get("user") else self.identity.user):
            body["user"] = user
        return OpenAIUpstream.completion_request(self, call.with_body(body))

    def read_model_list(self, body: bytes, name: str, created: int) -> Document:
        """Return the endpoint's list, with the aliases of the models in it. Raises UpstreamProtocolError."""
        document = OpenAIUpstream.read_model_list(self, body, name, created)
        data = document.chunk.get("data")
        if name or not isinstance(data, list):
            return document
        names = {entry[key] for entry in as_dicts(data) for key in ("id", "internal_id") if as_text(entry.get(key))}
        model_ids = set(map(self.model_ids.find, names))
        aliases = [
            entry
            for entry in self.model_ids.make_entries(created)
            if entry["id"] not in names and entry["internal_name"] in model_ids
        ]
        return Document.of({**document.chunk, "data": [*data, *aliases]}) if aliases else document


def _make_headers(headers: Headers, accept: str) -> Headers:
    """Return the request headers: of the client's own only the user agent and the request id."""
    request_id = get_header(headers, "x-request-id")
    id_header = (("X-Request-Id", request_id),) if request_id else ()
    agent = get_header(headers, "user-agent", USER_AGENT)
    # The gateway compresses streams where it may, which would delay them.
    return (("User-Agent", agent), *id_header, ("Accept", accept), ("Accept-Encoding", "identity"))


def _is_streamed(call: Call) -> bool:
    return call.stream and not (call.path == CHAT.path and call.body.get("tools"))


def _read_raw(reply: Reply, call: Call) -> Iterator[Batch]:
    if _is_streamed(call):
        # surrogateescape: bytes that are no UTF-8 leave as they came.
        for text in read_text_stream(reply.iter_bytes(), "surrogateescape"):
            yield [Event(text.encode("utf-8", "surrogateescape"))] if text else []
        return
    body = reply.read()
    raise_soft_error(as_text(as_dict(loads_or_none(body)).get("response")))
    yield [Document(body)]
