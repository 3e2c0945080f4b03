from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from argoproxy.errors import BadRequest, NotFound, PluginFailed, ProxyError, UpstreamProtocolError, UpstreamStatus
from argoproxy.plugins.upstream import PluginUpstream
from argoproxy.protocol.http_messages import BytesBody, ClientRequest
from argoproxy.protocol.routing.call import Call
from argoproxy.protocol.stream.sse import DONE, Batch, Document, Event
from argoproxy.upstreams import UpstreamRequest
from argoproxy.upstreams.access import PluginSpec
from argoproxy.upstreams.base import SERVED_PATHS

REQUEST = ClientRequest("id", 1, "GET", "/v1/files", "", (), BytesBody(b""))
NO_MODE: ProxyError = UpstreamStatus(400, (), b'{"error": {"message": "This model only supports streaming."}}')


def upstream(name: str, **options: Any) -> PluginUpstream:
    return PluginUpstream("mine", PluginSpec(f"plugins_of_a_test:{name}", options))


def call(model: str) -> Call:
    return Call("id", 1, "/v1/chat/completions", "", (), {"model": model}, b"")


@pytest.mark.parametrize("name", ["Minimal", "Derived"])
def test_methods_that_a_class_lacks_have_defaults(name: str) -> None:
    minimal = upstream(name)
    assert (minimal.name, minimal.is_passthrough, minimal.served_paths) == ("mine", False, SERVED_PATHS)
    assert minimal.resolves("x")
    assert minimal.with_model_list(b"") is minimal
    assert minimal.aliases("m") == ["m"]
    assert (minimal.filters(call("m")), minimal.static_models(1)) == ([], [])
    assert (minimal.shared_model_list_request(), minimal.probe_request()) == (None, None)
    assert minimal.refuses_mode(NO_MODE)
    with pytest.raises(BadRequest):
        minimal.embedding_requests(call("m"))
    for build in (minimal.model_list_request, minimal.forward_request):
        with pytest.raises(NotFound):
            build(REQUEST)


def test_methods_of_the_class_are_called() -> None:
    complete = upstream("Complete")
    requests = (
        complete.completion_request(call("m")),
        complete.model_list_request(REQUEST),
        complete.forward_request(REQUEST),
        complete.probe_request(),
        *complete.embedding_requests(call("m")),
    )
    assert all(isinstance(request, UpstreamRequest) for request in requests)
    assert complete.aliases("m") == ["m", "other"]
    assert not complete.refuses_mode(NO_MODE)
    assert complete.read_embeddings([b"{}"], call("m")).chunk == complete.read_model_list(b"{}", "", 1).chunk == {}
    assert complete.static_models(1) == [{"id": "mine"}]
    assert complete.served_paths == {}
    assert complete.read_error(400, (), b"").status == 400


def test_failures_are_logged_with_the_name_of_the_class(caplog: pytest.LogCaptureFixture) -> None:
    complete = upstream("Complete")
    (step,) = complete.filters(call("m"))
    failing: list[Callable[[], object]] = [
        lambda: complete.completion_request(call("bug")),
        lambda: complete.read_error(500, (), b""),
        lambda: list(complete.read_completion(None, call("m"))),  # type: ignore[arg-type]
        lambda: step.feed([Event(b"x")]),
        lambda: step.feed([]),
    ]
    for work in failing:
        with pytest.raises(PluginFailed):
            work()
    assert [record.args for record in caplog.records] == [("plugins_of_a_test:Complete",)] * len(failing)
    assert step.finish() == []


VALID: Any = UpstreamRequest("GET", "http://x", ())
INVALID: dict[str, tuple[str, Any]] = {
    "a URL that is missing": ("probe_request", replace(VALID, url=None)),
    "a URL with a blank": ("forward_request", replace(VALID, url="http://x/a b")),
    "a URL with an umlaut": ("model_list_request", replace(VALID, url="http://x/ä")),
    "a method with a blank": ("probe_request", replace(VALID, method="GE T")),
    "a header of two lines": ("probe_request", replace(VALID, headers=(("X", "a\r\nY: b"),))),
    "a body of text": ("probe_request", replace(VALID, body="text")),
    "a wrong length": ("probe_request", replace(VALID, body=b"text", length=5)),
    "requests that are None": ("embedding_requests", [None]),
    "a model list that is an array": ("read_model_list", Document.of([])),  # type: ignore[arg-type]
    "embeddings that are null": ("read_embeddings", Document.of(None)),  # type: ignore[arg-type]
    "models without a name": ("static_models", ["m"]),
}


@pytest.mark.parametrize(("method", "result"), INVALID.values(), ids=INVALID.keys())
def test_results_that_can_not_be_used_are_failures_of_the_class(method: str, result: object) -> None:
    returning = upstream("Returning", **{method: result})
    arguments = {"probe_request": 0, "read_model_list": 3, "read_embeddings": 2}.get(method, 1)
    with pytest.raises(PluginFailed):
        getattr(returning, method)(*[None] * arguments)


def chunk(text: str, reason: str | None = None) -> Event:
    return Event.of({"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": reason}]})


def read(batches: Sequence[Any]) -> list[Batch]:
    returning = upstream("Returning", batches=batches)
    return list(returning.read_completion(None, call("m")))  # type: ignore[arg-type]


def test_a_batch_may_be_any_iterable_of_events() -> None:
    first, last = chunk("a"), chunk("", "stop")
    document = Document.of({"choices": []})
    for batches in ([(first, last, DONE)], [iter([first, last, DONE])]):
        assert read(batches) == [[first, last, DONE]]
    assert read([[], [document], [document]]) == [[], [document]], "nothing is read after the end"
    assert read([[first], [last]]) == [[first], [last], [DONE]], "a finish reason is an end"


@pytest.mark.parametrize("batches", [[], [[]], [[chunk("a")]]])
def test_a_stream_without_an_end_broke_off(batches: list[Any]) -> None:
    with pytest.raises(UpstreamProtocolError) as broken:
        read(batches)
    assert broken.value.code == "upstream_stream_cut_short"


@pytest.mark.parametrize("batches", [["x"], [5], [[None]], [[Document.of({})]], [[Document.of(None)]]])  # type: ignore[arg-type]
def test_batches_of_something_else_are_failures_of_the_class(batches: list[Any]) -> None:
    with pytest.raises(PluginFailed):
        read(batches)


def test_filters_must_return_events() -> None:
    class Step:
        def feed(self, batch: Batch) -> Any:
            return "no event" if not batch else (event for event in batch)

        def finish(self) -> Any:
            return ["no event"]

    (step,) = upstream("Returning", filters=[Step()]).filters(call("m"))
    assert step.feed([DONE]) == [DONE]
    with pytest.raises(PluginFailed):
        step.feed([])
    with pytest.raises(PluginFailed):
        step.finish()
