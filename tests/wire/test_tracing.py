"""Traces of real requests: what a collector gets, what an upstream gets, and what the log says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.client import Answer, chat
from tests.support.collector import Collector, attributes_of, collector
from tests.support.fixtures import Serve
from tests.support.processes import Proxy, Upstream, eventually, free_port
from tests.support.scripts import DONE, event, reply, stream

SPAN = "b7ad6b7169203331"


@pytest.fixture(scope="module")
def receiver() -> Iterator[Collector]:
    with collector() as running:
        yield running


@pytest.fixture(scope="module")
def scripts(upstream: Upstream) -> dict[str, str]:
    """What two of the upstreams play: one fails, one streams."""
    streamed = stream(event("a"), event("", "stop"), DONE)
    return {"failing": upstream.script(reply("500 Failed", b"{}")), "streaming": upstream.script(*streamed)}


@pytest.fixture(params=["gthread", "gevent"], scope="module")
def proxy(
    request: pytest.FixtureRequest,
    serve: Serve,
    upstream: Upstream,
    scripts: dict[str, str],
    receiver: Collector,
    tmp_path_factory: pytest.TempPathFactory,
) -> Proxy:
    """Upstreams behind models, and a collector."""
    bases = {name: {"base_url": f"{upstream.url}/s/{script}"} for name, script in scripts.items()}
    models = {"m1": {"upstream": ["failing", "plain"]}, "streamed": {"upstream": "streaming"}}
    document = {"upstreams": {**bases, "plain": {"base_url": upstream.url}}, "models": models}
    document |= {"otlp_endpoint": receiver.url, "otlp_headers": "X-Key=secret-of-collector", "log_format": "json"}
    file = tmp_path_factory.mktemp("tracing") / "config.yaml"
    file.write_text(json.dumps(document))
    return serve(CONFIG_PATH=str(file), WORKER_CLASS=request.param)


def ask(proxy: Proxy, trace_id: str, flags: str = "01", **body: Any) -> Answer:
    headers = {"traceparent": f"00-{trace_id}-{SPAN}-{flags}", "tracestate": "a=b"}
    return chat(proxy.port, headers=headers, **body)


def received(upstream: Upstream, script: str = "") -> dict[str, str]:
    """Return the headers of the last request that an upstream got."""
    return {name.lower(): value for name, value in upstream.last(script)["headers"]}


def logged(proxy: Proxy, trace_id: str) -> dict[str, Any]:
    """Wait for the log line of a request: an object."""

    def find() -> Any:
        objects = [json.loads(line) for line in proxy.log().splitlines() if line.startswith("{")]
        return [one for one in objects if one.get("trace_id") == trace_id]

    (found,) = eventually(find)
    return dict(found)


def test_a_fallback_shows_two_attempts_with_their_causes(
    proxy: Proxy, upstream: Upstream, scripts: dict[str, str], receiver: Collector
) -> None:
    trace_id = f"{proxy.port:032x}"
    answer = ask(proxy, trace_id)
    assert (answer.status, answer.header("X-Upstream")) == (200, "plain")
    request, first, second = receiver.trace(trace_id, 3)
    assert (request["parentSpanId"], request["kind"], request["status"]) == (SPAN, 2, {})
    assert {first["parentSpanId"], second["parentSpanId"]} == {request["spanId"]}
    assert (first["name"], first["status"]["code"]) == ("chat m1", 2)
    assert int(first["endTimeUnixNano"]) <= int(second["startTimeUnixNano"])
    told = attributes_of(first)
    assert (told["gen_ai.provider.name"], told["http.response.status_code"]) == ("failing", 500)
    assert told["error.type"]
    told = attributes_of(second)
    assert (told["gen_ai.provider.name"], told["gen_ai.usage.output_tokens"]) == ("plain", 7)
    assert (told["server.address"], told["server.port"]) == ("localhost", upstream.port)
    told = attributes_of(request)
    assert (told["argoproxy.request.id"], told["http.response.status_code"]) == (answer.id, 200)
    headers = received(upstream, scripts["failing"])
    assert [name.lower() for name, _ in upstream.last(scripts["failing"])["headers"]].count("traceparent") == 1
    assert headers["traceparent"] == f"00-{trace_id}-{first['spanId']}-01"
    assert headers["tracestate"] == "a=b"
    line = logged(proxy, trace_id)
    assert (line["message"], line["id"], line["upstream"]) == ("request", answer.id, "plain")
    assert "secret-of-collector" not in proxy.log()


def test_what_a_client_does_not_record_is_not_recorded(
    proxy: Proxy, upstream: Upstream, scripts: dict[str, str], receiver: Collector
) -> None:
    trace_id, later = f"{proxy.port:031x}2", f"{proxy.port:031x}3"
    assert ask(proxy, trace_id, "00", model="streamed", stream=True).whole
    headers = received(upstream, scripts["streaming"])
    assert headers["traceparent"] == f"00-{trace_id}-{SPAN}-00"
    assert ask(proxy, later, model="streamed", stream=True).whole
    request, attempt = receiver.trace(later, 2)
    assert attributes_of(attempt)["gen_ai.request.stream"] is True
    assert attributes_of(request)["gen_ai.response.time_to_first_chunk"] > 0
    assert not [span for span in receiver.spans if span["traceId"] == trace_id]
    assert logged(proxy, trace_id)["status"] == 200


def test_a_refused_request_has_a_trace_of_its_own(proxy: Proxy, receiver: Collector) -> None:
    answer = chat(proxy.port, messages=1)
    assert answer.status == 400
    found = eventually(
        lambda: [span for span in receiver.spans if attributes_of(span).get("argoproxy.request.id") == answer.id]
    )
    (span,) = found
    assert "parentSpanId" not in span
    assert attributes_of(span)["http.response.status_code"] == 400


def test_without_a_collector_nothing_changes(start: Serve, upstream: Upstream, tmp_path: Path) -> None:
    """What a client sends of a trace goes through; spans that nobody takes are dropped."""
    plain = start(TARGET_BASE_URL=upstream.url)
    answer = chat(plain.port, headers={"traceparent": "anything"})
    assert answer.status == 200
    assert received(upstream)["traceparent"] == "anything"
    away = start(TARGET_BASE_URL=upstream.url, OTLP_ENDPOINT=f"http://127.0.0.1:{free_port()}")
    answer = chat(away.port)
    assert answer.status == 200
    assert len(away.line(answer.id)["trace_id"]) == 32
    assert len(eventually(lambda: away.coded("spans_not_sent"))) == 1
    assert away.stop() == 0
