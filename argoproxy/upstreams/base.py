"""Defaults that most upstreams share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import NoReturn, Self

from argoproxy.errors import BadRequest, MethodNotAllowed, NotFound, ProxyError, UpstreamStatus
from argoproxy.protocol.access.header_rules import request_headers_for_upstream
from argoproxy.protocol.access.secrets import CREDENTIAL_HEADERS
from argoproxy.protocol.http_messages import BytesBody, ClientRequest, Headers, get_header, read_up_to, without
from argoproxy.protocol.json_text import Json, JsonError, dumps
from argoproxy.protocol.routing.call import Call
from argoproxy.protocol.stream.filters import Filter
from argoproxy.protocol.stream.runs import join_runs
from argoproxy.protocol.stream.sse import Batch, Document
from argoproxy.upstreams import Reply, Upstream, UpstreamRequest
from argoproxy.upstreams.base_url import validate_path
from argoproxy.upstreams.error_replies import error_from_reply, refuses_mode

USER_AGENT = "argoproxy"
#: A forwarded body up to this size is read first, so that it can be sent again on a fresh connection.
MAX_RESENT_BODY = 1024 * 1024
SERVED_PATHS: Mapping[str, str] = {
    "/v1/chat/completions": "POST",
    "/v1/completions": "POST",
    "/v1/embeddings": "POST",
    "/v1/responses": "POST",
    "/v1/messages": "POST",
    "/v1/messages/count_tokens": "POST",
    "/v1/models": "GET",
}


class BaseUpstream:
    """Everything of an Upstream but its name, completion_request and read_completion.

    The defaults: models have one name, error replies are read in the usual formats, there are no embeddings, no list of
    models, no filters and no other paths, and the server is never probed.
    """

    __slots__ = ()

    @property
    def served_paths(self) -> Mapping[str, str]:
        return SERVED_PATHS

    @property
    def is_passthrough(self) -> bool:
        return False

    def speaks(self, path: str) -> bool:
        return False

    def lacks(self, path: str, error: UpstreamStatus) -> bool:
        return False

    def aliases(self, model: str) -> Sequence[str]:
        return (model,)

    def resolves(self, model: str) -> bool:
        return True

    def with_model_list(self, body: bytes) -> Self:
        return self

    def convert_headers(self, headers: Headers) -> Headers:
        return headers

    def read_error(self, status: int, headers: Headers, body: bytes) -> ProxyError:
        return error_from_reply(status, headers, body)

    def refuses_mode(self, error: ProxyError) -> bool:
        return refuses_mode(error)

    def embedding_requests(self, call: Call) -> Sequence[UpstreamRequest]:
        raise BadRequest("This model has no embeddings.", param="model")

    def read_embeddings(self, bodies: Sequence[bytes], call: Call) -> Document:
        raise BadRequest("This model has no embeddings.", param="model")

    def shared_model_list_request(self) -> UpstreamRequest | None:
        return None

    def model_list_request(self, request: ClientRequest) -> UpstreamRequest:
        raise NotFound("This upstream has no list of models.", param="model", code="model_not_found")

    def next_models_request(self, request: UpstreamRequest, body: bytes) -> UpstreamRequest | None:
        return None

    def read_model_list(self, body: bytes, name: str, created: int) -> Document:
        raise NotFound("This upstream has no list of models.", param="model", code="model_not_found")

    def static_models(self, created: int) -> Sequence[Json]:
        return ()

    def filters(self, call: Call) -> Sequence[Filter]:
        return ()

    def probe_request(self) -> UpstreamRequest | None:
        return None

    def forward_request(self, request: ClientRequest) -> UpstreamRequest:
        refuse_path(request, self.served_paths)


def read_in_runs(upstream: Upstream, reply: Reply, call: Call) -> Iterator[Batch]:
    """Read a completion as the upstream does, with plain events in runs (`runs.TextRun`) where its class can give them:
    it then has `read_runs` beside `read_completion`. Raises ProxyError."""
    if not _gives_runs(type(upstream)):
        return upstream.read_completion(reply, call)
    batches: Iterator[Batch] = upstream.read_runs(reply, call)  # type: ignore[attr-defined]
    return join_runs(batches) if call.wants_document else batches


@lru_cache(maxsize=64)
def _gives_runs(kind: type) -> bool:
    """Return whether the same class defines both: one that is derived may have replaced only `read_completion`."""
    definers = [
        next((base for base in kind.__mro__ if name in vars(base)), None) for name in ("read_runs", "read_completion")
    ]
    return definers[0] is not None and definers[0] is definers[1]


def make_headers(headers: Headers, authorization: str) -> Headers:
    """Return a client's request headers for an upstream. `authorization` replaces its credentials unless it is ""."""
    kept = request_headers_for_upstream(headers)
    if authorization:
        kept = (*without(kept, CREDENTIAL_HEADERS), ("Authorization", authorization))
    return kept if get_header(kept, "user-agent") else (*kept, ("User-Agent", USER_AGENT))


def encode_body(body: Json) -> bytes:
    """Return a request body that was made of a client's as JSON. Raises BadRequest for one that is nested too deeply,
    because what was just shallow enough to be parsed may be deeper here."""
    try:
        return dumps(body)
    except JsonError as error:
        raise BadRequest(f"The changed request body can't be encoded: {error}.") from None


def forwarded_request(request: ClientRequest, url: str, headers: Headers, secret: bytes) -> UpstreamRequest:
    """Build a request with the client's own method and body."""
    body = request.body if request.body.length is None else read_up_to(request.body, MAX_RESENT_BODY)
    return UpstreamRequest(
        method=request.method,
        url=url,
        headers=headers,
        body=(body.text or None) if isinstance(body, BytesBody) else body.iter_bytes(),
        length=request.body.length,
        secret=secret,
        has_client_body=True,
    )


def make_model_list(entries: Sequence[Json], aliases: Sequence[str]) -> Document:
    """Return entries of models as OpenAI's list, or the one whose id is among `aliases`, unless that is empty. Raises
    NotFound."""
    if not aliases:
        return Document.of({"object": "list", "data": list(entries)})
    for entry in entries:
        if entry["id"] in aliases:
            return Document.of(entry)
    raise NotFound(f"The model {aliases[0]!r} does not exist.", param="model", code="model_not_found")


def refuse_path(request: ClientRequest, served_paths: Mapping[str, str] = SERVED_PATHS) -> NoReturn:
    """Raise MethodNotAllowed for a path that is served with another method, else NotFound."""
    path = "/v1/" + validate_path(request.path).strip("/").removeprefix("v1").strip("/")
    known = "/v1/models" if path.startswith("/v1/models/") else path
    if known in served_paths:
        allowed = served_paths[known]
        raise MethodNotAllowed(f"This path does not accept {request.method}; use {allowed}.", (allowed,))
    if path.startswith("/v1/responses/"):
        raise NotFound("This proxy stores no responses. Keep the output of each, and send it in the next 'input'.")
    served = ", ".join(f"{method} {path}" for path, method in served_paths.items())
    raise NotFound(f"This path does not exist here. Available: {served}.")
