"""An upstream class of a plug-in, adapted to the Upstream interface.

The proxy calls the plug-in through PluginUpstream, which supplies the methods that the class does not define, checks
the types of what it returns, and turns its exceptions into errors of this one request. docs/extending.md has the table
of methods.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from argoproxy.errors import ProxyError, UpstreamProtocolError
from argoproxy.plugins.loader import ConfiguredPlugin, catch_failures, instantiate
from argoproxy.plugins.old_names import find_method
from argoproxy.protocol.http_messages import ClientRequest, Headers, check_head
from argoproxy.protocol.json_text import Json
from argoproxy.protocol.routing.call import Call
from argoproxy.protocol.stream.chunks import is_completion
from argoproxy.protocol.stream.filters import Filter
from argoproxy.protocol.stream.sse import DONE, Batch, Document, Event, is_done
from argoproxy.upstreams import Reply, UpstreamRequest
from argoproxy.upstreams.access import PluginSpec
from argoproxy.upstreams.base import BaseUpstream
from argoproxy.upstreams.openai import CompletionTracker

ResultT = TypeVar("ResultT")


class PluginUpstream(BaseUpstream):
    """An Upstream that delegates to an object of the plug-in's class, and to BaseUpstream for what that lacks.

    A ProxyError that the class raises goes to the client; any other exception is logged and becomes PluginFailed.
    """

    def __init__(self, name: str, spec: PluginSpec) -> None:
        self.name = name
        self._path = spec.path
        self._object = instantiate(ConfiguredPlugin("upstream", f"upstreams.{name}", spec))

    @property
    def served_paths(self) -> Mapping[str, str]:
        return {} if self._defines("forward_request") else super().served_paths

    def aliases(self, model: str) -> Sequence[str]:
        return self._call("aliases", list, model)

    def completion_request(self, call: Call) -> UpstreamRequest:
        return self._build("completion_request", call)

    def read_completion(self, reply: Reply, call: Call) -> Iterator[Batch]:
        """Read a completion. Raises UpstreamProtocolError if a stream ends without `[DONE]` or finish reasons, even if
        the class did not notice."""
        tracker = CompletionTracker(call)
        with catch_failures(self._path):
            for events in find_method(self._object, "read_completion")(reply, call):
                batch = _check_events(events)
                yield batch
                if any(map(_is_end, batch)):
                    return
                tracker.add(batch)
            if not tracker.is_complete():
                raise UpstreamProtocolError("The upstream's stream broke off.", code="upstream_stream_cut_short")
            yield [DONE]

    def convert_headers(self, headers: Headers) -> Headers:
        return tuple(self._call("convert_headers", list, headers))

    def read_error(self, status: int, headers: Headers, body: bytes) -> ProxyError:
        return self._call("read_error", ProxyError, status, headers, body)

    def refuses_mode(self, error: ProxyError) -> bool:
        return self._call("refuses_mode", bool, error)

    def embedding_requests(self, call: Call) -> Sequence[UpstreamRequest]:
        return self._call("embedding_requests", list, call, check=_check_requests)

    def read_embeddings(self, bodies: Sequence[bytes], call: Call) -> Document:
        return self._call("read_embeddings", Document, bodies, call, check=_check_object)

    def model_list_request(self, request: ClientRequest) -> UpstreamRequest:
        return self._build("model_list_request", request)

    def read_model_list(self, body: bytes, name: str, created: int) -> Document:
        return self._call("read_model_list", Document, body, name, created, check=_check_object)

    def static_models(self, created: int) -> Sequence[Json]:
        return self._call("static_models", list, created, check=_check_entries)

    def filters(self, call: Call) -> Sequence[Filter]:
        return [_CheckedFilter(self._path, step) for step in self._call("filters", list, call)]

    def probe_request(self) -> UpstreamRequest | None:
        return self._build("probe_request") if self._defines("probe_request") else None

    def forward_request(self, request: ClientRequest) -> UpstreamRequest:
        return self._build("forward_request", request)

    def _defines(self, name: str) -> bool:
        """Tell whether the class has a method of its own, not the one it inherits from BaseUpstream."""
        is_inherited = getattr(type(self._object), name, None) is getattr(BaseUpstream, name)
        return not is_inherited and find_method(self._object, name) is not None

    def _build(self, name: str, *arguments: Any) -> UpstreamRequest:
        return self._call(name, UpstreamRequest, *arguments, check=_check_request)

    def _call(
        self, name: str, kind: type[ResultT], *arguments: Any, check: Callable[[Any], None] | None = None
    ) -> ResultT:
        """Call a method of the plug-in, else the default, and check what it returns; a tuple counts as a list."""
        with catch_failures(self._path):
            method = find_method(self._object, name) or getattr(super(), name)
            result = method(*arguments)
            if kind is list and isinstance(result, tuple):
                result = list(result)
            if not isinstance(result, kind):
                raise TypeError(f"{name}() returned {type(result).__name__}, not {kind.__name__}")
            if check:
                check(result)
            return result


class _CheckedFilter:
    """A filter of the plug-in's; its results are checked, its failures caught."""

    def __init__(self, path: str, step: Filter) -> None:
        self._path = path
        self._step = step

    def feed(self, batch: Batch) -> Batch:
        with catch_failures(self._path):
            return _check_events(self._step.feed(batch))

    def finish(self) -> Batch:
        with catch_failures(self._path):
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
            raise TypeError(f"embedding_requests() returned {type(request).__name__}, not UpstreamRequest")
        _check_request(request)


def _check_object(document: Document) -> None:
    if not isinstance(document.chunk, dict):
        raise TypeError("a Document does not hold a JSON object")


def _check_entries(entries: list[Any]) -> None:
    if not all(isinstance(entry, dict) and isinstance(entry.get("id"), str) for entry in entries):
        raise TypeError("static_models() returned an entry that is not an object with an `id`")
