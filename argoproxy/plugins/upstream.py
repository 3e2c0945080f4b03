"""An upstream class of a plug-in, adapted to the Upstream interface.

The proxy calls the plug-in through PluginUpstream, which supplies the methods that the class does not define, checks
the types of what it returns, and turns its exceptions into errors of this one request. docs/extending.md has the table
of methods.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from argoproxy.errors import ProxyError, UpstreamProtocolError
from argoproxy.plugins.loader import RENAMED, Plugin, call_safely, instantiate
from argoproxy.protocol.http_messages import ClientRequest, Headers, check_head
from argoproxy.protocol.json_text import Json
from argoproxy.protocol.routing.call import Call
from argoproxy.protocol.stream.chunks import is_completion
from argoproxy.protocol.stream.filters import Filter
from argoproxy.protocol.stream.sse import DONE, Batch, Document, Event, is_done
from argoproxy.upstreams import Reply, UpstreamRequest
from argoproxy.upstreams.access import PluginSpec
from argoproxy.upstreams.base import BaseUpstream
from argoproxy.upstreams.openai import Ends

ResultT = TypeVar("ResultT")


class PluginUpstream(BaseUpstream):
    """An Upstream that delegates to an object of the plug-in's class.

    A ProxyError that it raises goes to the client; any other exception is logged and becomes PluginFailed.
    """

    def __init__(self, name: str, spec: PluginSpec) -> None:
        self.name = name
        self._path = spec.path
        self._object = instantiate(Plugin("upstream", f"upstreams.{name}", spec))

    @property
    def served_paths(self) -> Mapping[str, str]:
        return {} if self._method("forward_request") else super().served_paths

    def aliases(self, model: str) -> Sequence[str]:
        method = self._method("aliases")
        return self._call(method, list, model) if method else super().aliases(model)

    def completion_request(self, call: Call) -> UpstreamRequest:
        return self._build(self._method("completion_request"), call)

    def read_completion(self, reply: Reply, call: Call) -> Iterator[Batch]:
        """Read a completion. Raises UpstreamProtocolError for a stream without an end, which the class may have
        overlooked."""
        method, ends = self._method("read_completion"), Ends(call)
        with call_safely(self._path):
            for events in method(reply, call):
                batch = _check_events(events)
                yield batch
                if any(map(_is_end, batch)):
                    return
                ends.pass_by(batch)
            if not ends.whole():
                raise UpstreamProtocolError("The upstream's stream broke off.", code="upstream_stream_cut_short")
            yield [DONE]

    def read_error(self, status: int, headers: Headers, body: bytes) -> ProxyError:
        method = self._method("read_error")
        return (
            self._call(method, ProxyError, status, headers, body)
            if method
            else super().read_error(status, headers, body)
        )

    def filters(self, call: Call) -> Sequence[Filter]:
        method = self._method("filters")
        steps = self._call(method, list, call) if method else ()
        return [_SafeFilter(self._path, step) for step in steps]

    def refuses_mode(self, error: ProxyError) -> bool:
        method = self._method("refuses_mode")
        return self._call(method, bool, error) if method else super().refuses_mode(error)

    def embedding_requests(self, call: Call) -> Sequence[UpstreamRequest]:
        method = self._method("embedding_requests")
        return self._call(method, list, call, check=_check_requests) if method else super().embedding_requests(call)

    def read_embeddings(self, bodies: Sequence[bytes], call: Call) -> Document:
        return self._call(self._method("read_embeddings"), Document, bodies, call, check=_check_object)

    def model_list_request(self, request: ClientRequest) -> UpstreamRequest:
        method = self._method("model_list_request")
        return self._build(method, request) if method else super().model_list_request(request)

    def read_model_list(self, body: bytes, name: str, created: int) -> Document:
        return self._call(self._method("read_model_list"), Document, body, name, created, check=_check_object)

    def static_models(self, created: int) -> Sequence[Json]:
        method = self._method("static_models")
        return self._call(method, list, created, check=_check_entries) if method else ()

    def probe_request(self) -> UpstreamRequest | None:
        method = self._method("probe_request")
        return self._build(method) if method else None

    def forward_request(self, request: ClientRequest) -> UpstreamRequest:
        method = self._method("forward_request")
        return self._build(method, request) if method else super().forward_request(request)

    def _method(self, name: str) -> Any:
        """Return a method of the plug-in, under its name or the one of version 0.3; None if it only has the default."""
        for known in (name, RENAMED.get(name, name)):
            method = getattr(self._object, known, None)
            is_default = getattr(type(self._object), known, None) is getattr(BaseUpstream, known, 0)
            if callable(method) and not is_default:
                return method
        return None

    def _build(self, method: Any, *arguments: Any) -> UpstreamRequest:
        return self._call(method, UpstreamRequest, *arguments, check=_check_request)

    def _call(
        self, method: Any, kind: type[ResultT], *arguments: Any, check: Callable[[Any], None] | None = None
    ) -> ResultT:
        """Call a method and check the type of what it returns; a tuple is accepted for a list."""
        with call_safely(self._path):
            result = method(*arguments)
            if kind is list and isinstance(result, tuple):
                result = list(result)
            if not isinstance(result, kind):
                raise TypeError(f"{method.__name__}() returned {type(result).__name__}, not {kind.__name__}")
            if check:
                check(result)
            return result


class _SafeFilter:
    def __init__(self, path: str, step: Filter) -> None:
        self._path = path
        self._step = step

    def feed(self, batch: Batch) -> Batch:
        with call_safely(self._path):
            return _check_events(self._step.feed(batch))

    def finish(self) -> Batch:
        with call_safely(self._path):
            return _check_events(self._step.finish())


def _check_events(events: Iterable[Any]) -> Batch:
    """Return the events as a batch. Raises TypeError if one is not an Event, or a Document is not a completion."""
    batch = list(events)
    for event in batch:
        if not isinstance(event, Event):
            raise TypeError(f"a batch holds {type(event).__name__}, not Event")
        if isinstance(event, Document) and not (isinstance(event.chunk, dict) and is_completion(event.chunk)):
            raise TypeError("a Document does not hold a completion (an object with a list of choices)")
    return batch


def _is_end(event: Event) -> bool:
    return isinstance(event, Document) or (event.chunk is None and is_done(event))


def _check_request(request: UpstreamRequest) -> None:
    if isinstance(request.body, str | dict):
        raise TypeError(f"the body of an UpstreamRequest is {type(request.body).__name__}, not bytes")
    if isinstance(request.body, bytes) and request.length not in (None, len(request.body)):
        raise ValueError("the length of an UpstreamRequest differs from the length of its body")
    check_head(request.method, request.url, dict(request.headers).items())


def _check_requests(requests: list[Any]) -> None:
    for request in requests:
        if not isinstance(request, UpstreamRequest):
            raise TypeError(f"the list holds {type(request).__name__}, not UpstreamRequest")
        _check_request(request)


def _check_object(document: Document) -> None:
    if not isinstance(document.chunk, dict):
        raise TypeError("a Document does not hold a JSON object")


def _check_entries(entries: list[Any]) -> None:
    if not all(isinstance(entry, dict) and isinstance(entry.get("id"), str) for entry in entries):
        raise TypeError("static_models() returned an entry that is not an object with an `id`")
