"""The Argo gateway as an upstream.

Identity is the body's field `user`, nothing else: no credential is sent. The URL decides whether an answer is
streamed; tools can't be, so they are asked for whole. The gateway tells neither ids nor finish reasons nor tokens:
ids are the request's, an answer that ended without a break is finished, tokens are estimated.
Sources: "Argo API Documentation", 20 October 2025; argo-openai-proxy, March 2025.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

from argoproxy.errors import AuthenticationError, NotFound, UpstreamUnreachable
from argoproxy.protocol.api.endpoints import CHAT, COMPLETIONS, RAW
from argoproxy.protocol.http_messages import ClientRequest, Headers, get_header
from argoproxy.protocol.json_text import Json, as_text, dumps
from argoproxy.protocol.routing.call import Call, Identity
from argoproxy.protocol.stream.sse import Batch, Document, Event
from argoproxy.upstreams import Reply, UpstreamRequest
from argoproxy.upstreams.argo import answers, embeddings
from argoproxy.upstreams.argo.messages import capped, chat_body, prompt_body, raw_body
from argoproxy.upstreams.argo.models import BUILT_IN, Names
from argoproxy.upstreams.argo.replies import read_answer, refuse_soft_error, spoken
from argoproxy.upstreams.base import SERVED_PATHS, USER_AGENT, BaseUpstream
from argoproxy.upstreams.error_replies import loads_or_none

DEVELOPMENT = "https://apps-dev.inside.anl.gov/argoapi"
PRODUCTION = "https://apps.inside.anl.gov/argoapi"

_CHAT, _STREAM, _EMBED = "/api/v1/resource/chat/", "/api/v1/resource/streamchat/", "/api/v1/resource/embed/"
_MODELS = "/api/v1/models/"
_SERVED_PATHS: Mapping[str, str] = {**SERVED_PATHS, "/v1/chat": "POST", "/v1/status": "GET"}


@dataclass(frozen=True, slots=True)
class ArgoUrls:
    """Where the gateway is asked."""

    chat: str = DEVELOPMENT + _CHAT
    stream: str = DEVELOPMENT + _STREAM
    embed: str = PRODUCTION + _EMBED

    @classmethod
    def below(cls, root: str) -> Self:
        """Give the URLs below a root (`…/argoapi`)."""
        root = root.rstrip("/")
        return cls(root + _CHAT, root + _STREAM, root + _EMBED)

    @property
    def models(self) -> str | None:
        """Where the list of models is; None where the URL of chats does not tell."""
        root, found, _ = self.chat.partition(_CHAT.rstrip("/"))
        return root + _MODELS if found else None


@dataclass(frozen=True, slots=True)
class Argo(BaseUpstream):
    """The gateway, asked in the name of who is known."""

    urls: ArgoUrls
    identity: Identity
    names: Names = BUILT_IN
    name: str = "argo"

    @property
    def served_paths(self) -> Mapping[str, str]:
        return _SERVED_PATHS

    def aliases(self, model: str) -> Sequence[str]:
        return self.names.names_of(model)

    def resolves(self, model: str) -> bool:
        return self.names.id_of(model) is not None

    def with_model_list(self, listed: bytes) -> Self:
        return replace(self, names=self.names.merged(loads_or_none(listed)))

    def completion_request(self, call: Call) -> UpstreamRequest:
        """Ask for a completion. Raises BadRequest."""
        model_id = self._model_id(call)
        make = {RAW.path: raw_body, COMPLETIONS.path: prompt_body}.get(call.path, chat_body)
        body = {**make(call.body, model_id), "model": model_id, "user": self._user(call)}
        if _is_streamed(call):
            return self._post(self.urls.stream, call, body, "text/plain")
        return self._post(self.urls.chat, call, capped(body, model_id), "application/json")

    def read_completion(self, reply: Reply, call: Call) -> Iterator[Batch]:
        """Read a completion; of a raw one every byte goes on as it came."""
        if call.path == RAW.path:
            yield from _raw(reply, call)
        elif _is_streamed(call):
            yield from answers.chunked(spoken(reply.iter_bytes(), "replace"), call)
        else:
            yield [answers.document(read_answer(reply.read(), call.id), call)]

    def embedding_requests(self, call: Call) -> Sequence[UpstreamRequest]:
        """Ask for embeddings, as many texts at a time as the gateway takes. Raises BadRequest."""
        model_id = self._model_id(call)
        parts = embeddings.split_texts(call.body, model_id)
        user = self._user(call)
        bodies = ({"user": user, "model": model_id, "prompt": part} for part in parts)
        return [self._post(self.urls.embed, call, body, "application/json") for body in bodies]

    def read_embeddings(self, bodies: Sequence[bytes], call: Call) -> Document:
        """Join the vectors of all batches in the order of the texts."""
        return Document.of(embeddings.join_replies(bodies, call.body, call.requested_model))

    def shared_model_list_request(self) -> UpstreamRequest | None:
        if self.urls.models is None:
            return None
        return UpstreamRequest("GET", self.urls.models, _headers((), "application/json"))

    def model_list_request(self, request: ClientRequest) -> UpstreamRequest:
        raise UpstreamUnreachable("This gateway's list of models has no known address.")

    def read_model_list(self, listed: bytes, name: str, created: int) -> Document:
        """Give the gateway's models beside those of the table, or the one of a name. Raises NotFound."""
        informed = self.with_model_list(listed)
        entries = informed.static_models(created)
        if not name:
            return Document.of({"object": "list", "data": entries})
        for entry in entries:
            if entry["id"] in informed.aliases(name):
                return Document.of(entry)
        raise NotFound(f"There is no model {name!r}.", param="model", code="model_not_found")

    def static_models(self, created: int) -> Sequence[Json]:
        return self.names.entries(created)

    def probe_request(self) -> UpstreamRequest:
        """Ask in a way that the gateway refuses at once: only that it answers counts."""
        return UpstreamRequest("GET", self.urls.chat, _headers((), "application/json"))

    def _model_id(self, call: Call) -> str:
        return self.names.id_of(call.model) or call.model

    def _user(self, call: Call) -> str:
        if user := self.identity.user_for(call):
            return user
        raise AuthenticationError(
            "The gateway wants to know who asks: send your user name as the API key.", code="user_required"
        )

    def _post(self, url: str, call: Call, body: Json, accept: str) -> UpstreamRequest:
        text = dumps(body)
        headers = (*_headers(call.headers, accept), ("Content-Type", "application/json"))
        return UpstreamRequest("POST", url, headers, text, len(text), is_streamed=url == self.urls.stream)


def _headers(headers: Headers, accept: str) -> Headers:
    """Give what is sent along: nothing of the client's but who it is made by and its request's id."""
    request_id = get_header(headers, "x-request-id")
    named = (("X-Request-Id", request_id),) if request_id else ()
    agent = get_header(headers, "user-agent", USER_AGENT)
    return (("User-Agent", agent), *named, ("Accept", accept), ("Accept-Encoding", "identity"))


def _is_streamed(call: Call) -> bool:
    return call.stream and not (call.path == CHAT.path and call.body.get("tools"))


def _raw(reply: Reply, call: Call) -> Iterator[Batch]:
    if _is_streamed(call):
        for text in spoken(reply.iter_bytes(), "surrogateescape"):
            yield [Event(text.encode("utf-8", "surrogateescape"))] if text else []
        return
    body = reply.read()
    told = loads_or_none(body)
    response = told.get("response") if isinstance(told, dict) else None
    refuse_soft_error(as_text(response))
    yield [Document(body)]
