"""An upstream class of the operator's own, as the house asks it: what it lacks is filled in, what it raises is told.

The table of what each method gets, gives and may raise is in docs/upstreams.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self, TypeVar

from argoproxy.errors import BadRequest, NotFound, ProxyError
from argoproxy.own_classes import Wanted, guarded, made
from argoproxy.protocol.call import Call
from argoproxy.protocol.chunks import Json
from argoproxy.protocol.exchange import ClientRequest, Headers
from argoproxy.protocol.filters import Filter
from argoproxy.protocol.sse import Batch, Document, Event
from argoproxy.settings.readers import OwnClass
from argoproxy.upstreams import Reply, UpstreamRequest
from argoproxy.upstreams.modes import refuses_mode
from argoproxy.upstreams.served import SERVED, refuse

ResultT = TypeVar("ResultT")


class OwnUpstream:
    """An Upstream that asks an object of the operator's class. Whatever that raises and is no ProxyError becomes
    OwnClassFailed, and a line in the log."""

    is_native = False

    def __init__(self, name: str, own: OwnClass) -> None:
        self.name = name
        self._path = own.path
        self._object = made(Wanted("upstream", f"upstreams.{name}", own))
        self.serves: Mapping[str, str] = {} if self._has("forward") else SERVED

    def spellings(self, model: str) -> Sequence[str]:
        return self._call("spellings", list, model) if self._has("spellings") else (model,)

    def knows(self, model: str) -> bool:
        return True

    def acquainted(self, listed: bytes) -> Self:
        return self

    def request(self, call: Call) -> UpstreamRequest:
        return self._call("request", UpstreamRequest, call)

    def batches(self, reply: Reply, call: Call) -> Iterator[Batch]:
        with guarded(self._path):
            for batch in self._object.batches(reply, call):
                if not all(isinstance(event, Event) for event in batch):
                    raise TypeError("batches() gives something else than events")
                yield batch

    def error(self, status: int, headers: Headers, body: bytes) -> ProxyError:
        return self._call("error", ProxyError, status, headers, body)

    def filters(self, call: Call) -> Sequence[Filter]:
        steps = self._call("filters", list, call) if self._has("filters") else ()
        return [_GuardedFilter(self._path, step) for step in steps]

    def refuses_mode(self, error: ProxyError) -> bool:
        return self._call("refuses_mode", bool, error) if self._has("refuses_mode") else refuses_mode(error)

    def embed_requests(self, call: Call) -> Sequence[UpstreamRequest]:
        if not self._has("embed_requests"):
            raise BadRequest("There are no embeddings behind this model.", param="model")
        return self._call("embed_requests", list, call)

    def embeddings(self, bodies: Sequence[bytes], call: Call) -> Document:
        return self._call("embeddings", Document, bodies, call)

    def common_list(self) -> UpstreamRequest | None:
        return None

    def models_request(self, request: ClientRequest) -> UpstreamRequest:
        if not self._has("models_request"):
            raise NotFound("This upstream lists no models.", param="model", code="model_not_found")
        return self._call("models_request", UpstreamRequest, request)

    def listing(self, listed: bytes, name: str, created: int) -> Document:
        return self._call("listing", Document, listed, name, created)

    def own_models(self, created: int) -> Sequence[Json]:
        return self._call("own_models", list, created) if self._has("own_models") else ()

    def probe(self) -> UpstreamRequest | None:
        return self._call("probe", UpstreamRequest) if self._has("probe") else None

    def forward(self, request: ClientRequest) -> UpstreamRequest:
        if not self._has("forward"):
            refuse(request)
        return self._call("forward", UpstreamRequest, request)

    def _has(self, method: str) -> bool:
        return callable(getattr(self._object, method, None))

    def _call(self, method: str, gives: type[ResultT], *given: Any) -> ResultT:
        with guarded(self._path):
            result = getattr(self._object, method)(*given)
            if gives is list and isinstance(result, tuple):
                result = list(result)
            if not isinstance(result, gives):
                raise TypeError(f"{method}() gives {type(result).__name__}, not {gives.__name__}")
            return result


class _GuardedFilter:
    def __init__(self, path: str, step: Filter) -> None:
        self._path = path
        self._step = step

    def feed(self, batch: Batch) -> Batch:
        with guarded(self._path):
            return list(self._step.feed(batch))

    def finish(self) -> Batch:
        with guarded(self._path):
            return list(self._step.finish())
