"""An upstream class of the operator's own, as the house asks it: what it lacks is filled in, what it raises is told.

The table of what each method gets, gives and may raise is in docs/upstreams.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from argoproxy.errors import BadRequest, NotFound, ProxyError, UpstreamProtocolError
from argoproxy.plugins.loader import Wanted, guarded, made
from argoproxy.protocol.http_messages import ClientRequest, Headers, check_head
from argoproxy.protocol.json_text import Json
from argoproxy.protocol.routing.call import Call
from argoproxy.protocol.stream.chunks import is_completion
from argoproxy.protocol.stream.filters import Filter
from argoproxy.protocol.stream.sse import DONE, Batch, Document, Event, is_done
from argoproxy.upstreams import Reply, UpstreamRequest
from argoproxy.upstreams.access import PluginSpec
from argoproxy.upstreams.any_name import AnyName
from argoproxy.upstreams.error_replies import refuses_mode
from argoproxy.upstreams.openai import Ends
from argoproxy.upstreams.served import SERVED, refuse

ResultT = TypeVar("ResultT")


class OwnUpstream(AnyName):
    """An Upstream that asks an object of the operator's class. Whatever that raises and is no ProxyError becomes
    OwnClassFailed, and a line in the log."""

    is_native = False

    def __init__(self, name: str, own: PluginSpec) -> None:
        self.name = name
        self._path = own.path
        self._object = made(Wanted("upstream", f"upstreams.{name}", own))
        self.serves: Mapping[str, str] = {} if self._has("forward") else SERVED

    def spellings(self, model: str) -> Sequence[str]:
        return self._call("spellings", list, model) if self._has("spellings") else super().spellings(model)

    def request(self, call: Call) -> UpstreamRequest:
        return self._asked("request", call)

    def batches(self, reply: Reply, call: Call) -> Iterator[Batch]:
        """Read a completion; a stream that ends without a word of its end broke off, whatever the class thinks."""
        ends = Ends(call)
        with guarded(self._path):
            for given in self._object.batches(reply, call):
                batch = _events(given)
                yield batch
                if any(map(_is_an_end, batch)):
                    return
                ends.pass_by(batch)
            if not ends.whole():
                raise UpstreamProtocolError("The upstream's stream broke off.", code="upstream_stream_cut_short")
            yield [DONE]

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
        return self._call("embed_requests", list, call, see=_see_requests)

    def embeddings(self, bodies: Sequence[bytes], call: Call) -> Document:
        return self._call("embeddings", Document, bodies, call, see=_see_object)

    def models_request(self, request: ClientRequest) -> UpstreamRequest:
        if not self._has("models_request"):
            raise NotFound("This upstream lists no models.", param="model", code="model_not_found")
        return self._asked("models_request", request)

    def listing(self, listed: bytes, name: str, created: int) -> Document:
        return self._call("listing", Document, listed, name, created, see=_see_object)

    def own_models(self, created: int) -> Sequence[Json]:
        return self._call("own_models", list, created, see=_see_entries) if self._has("own_models") else ()

    def probe(self) -> UpstreamRequest | None:
        return self._asked("probe") if self._has("probe") else None

    def forward(self, request: ClientRequest) -> UpstreamRequest:
        if not self._has("forward"):
            refuse(request)
        return self._asked("forward", request)

    def _has(self, method: str) -> bool:
        return callable(getattr(self._object, method, None))

    def _asked(self, method: str, *given: Any) -> UpstreamRequest:
        return self._call(method, UpstreamRequest, *given, see=_see_request)

    def _call(
        self, method: str, gives: type[ResultT], *given: Any, see: Callable[[Any], None] | None = None
    ) -> ResultT:
        with guarded(self._path):
            result = getattr(self._object, method)(*given)
            if gives is list and isinstance(result, tuple):
                result = list(result)
            if not isinstance(result, gives):
                raise TypeError(f"{method}() gives {type(result).__name__}, not {gives.__name__}")
            if see:
                see(result)
            return result


class _GuardedFilter:
    def __init__(self, path: str, step: Filter) -> None:
        self._path = path
        self._step = step

    def feed(self, batch: Batch) -> Batch:
        with guarded(self._path):
            return _events(self._step.feed(batch))

    def finish(self) -> Batch:
        with guarded(self._path):
            return _events(self._step.finish())


def _events(given: Iterable[Any]) -> Batch:
    """See that these are events. Raises TypeError."""
    batch = list(given)
    for event in batch:
        if not isinstance(event, Event):
            raise TypeError(f"gives {type(event).__name__}, not Event")
        if isinstance(event, Document) and not (isinstance(event.chunk, dict) and is_completion(event.chunk)):
            raise TypeError("gives a Document without a completion's choices")
    return batch


def _is_an_end(event: Event) -> bool:
    return isinstance(event, Document) or (event.chunk is None and is_done(event))


def _see_request(asked: UpstreamRequest) -> None:
    if isinstance(asked.body, str | dict):
        raise TypeError(f"the body of a request is {type(asked.body).__name__}, not bytes")
    if isinstance(asked.body, bytes) and asked.length not in (None, len(asked.body)):
        raise ValueError("the length of a request is not that of its body")
    check_head(asked.method, asked.url, dict(asked.headers).items())


def _see_requests(given: list[Any]) -> None:
    for asked in given:
        if not isinstance(asked, UpstreamRequest):
            raise TypeError(f"gives {type(asked).__name__}, not UpstreamRequest")
        _see_request(asked)


def _see_object(document: Document) -> None:
    if not isinstance(document.chunk, dict):
        raise TypeError("gives a Document that holds no object")


def _see_entries(entries: list[Any]) -> None:
    if not all(isinstance(entry, dict) and isinstance(entry.get("id"), str) for entry in entries):
        raise TypeError("gives an entry without an `id`")
