"""The door in this very process, where a test can hand in what breaks."""

from __future__ import annotations

import logging
import re
from typing import Any

import pytest
from flask import Response
from flask.testing import FlaskClient
from werkzeug.routing import Map
from werkzeug.test import EnvironBuilder

from argoproxy.errors import Ending, UpstreamStatus
from argoproxy.images.image_workers import ImageWorkers
from argoproxy.images.inline import Images
from argoproxy.pipeline.proxy import Proxy, UpstreamLink
from argoproxy.pipeline.shared.caches import CachedResult, RefusedModes
from argoproxy.pipeline.shared.health import Probe
from argoproxy.protocol.content import ImageSettings
from argoproxy.protocol.routing.route import Provider
from argoproxy.protocol.routing.router import Models
from argoproxy.protocol.routing.timeouts import Heartbeat
from argoproxy.shared_state.upstream_memory import SharedMemory
from argoproxy.shared_state.upstream_state import UpstreamState, UpstreamStates
from argoproxy.telemetry.outcome import Outcome
from argoproxy.transport.watch import Poller, Watch
from argoproxy.upstreams import Upstream
from argoproxy.upstreams.demo import DemoUpstream
from argoproxy.web.app import create_app
from argoproxy.web.flask_app import LONGEST_TARGET, MAX_TARGETS, ExactRule

ASKED = b'{"model": "m", "messages": [{"role": "user", "content": "x"}]}'


class Crashing:
    """A transport with a fault of ours in it."""

    def open(self, *_: Any) -> Any:
        raise ValueError("secret words")


class CrashingLater(DemoUpstream):
    """An upstream with a fault of ours in it."""

    def read_completion(self, reply: Any, call: Any) -> Any:
        yield []
        raise ValueError("secret words")


class Reply:
    status, headers = 200, ()

    def release_when_done(self) -> None:
        pass

    close = release_when_done


class Opening:
    def open(self, *_: Any) -> Any:
        return Reply()


def door(upstream: Upstream, transport: Any) -> tuple[FlaskClient, list[Outcome]]:
    outcomes: list[Outcome] = []

    def unwatched() -> Watch:
        return Watch(None, Poller())

    proxy = Proxy(
        models=Models([Provider(upstream)]),
        gateway=None,
        links={
            upstream.name: UpstreamLink(
                transport, Images(ImageSettings(), "", ImageWorkers()), CachedResult(0.0, 0.0), unwatched
            )
        },
        listeners=[outcomes.append],
        heartbeat=Heartbeat(15.0),
        refused_modes=RefusedModes(60.0),
        states=UpstreamStates({upstream.name: UpstreamState(upstream.name, SharedMemory(None).of(upstream.name, ()))}),
        probe=Probe([(upstream, transport)], unwatched),
    )
    return create_app(lambda: proxy, Poller()).test_client(), outcomes


def test_a_fault_of_ours_is_told_without_a_trace(caplog: pytest.LogCaptureFixture) -> None:
    client, outcomes = door(DemoUpstream(), Crashing())
    with caplog.at_level(logging.ERROR, "argoproxy"):
        response = client.post("/v1/chat/completions", data=b'{"model": "m", "prompt": "x"}')
    assert response.status_code == 500
    assert response.json
    assert response.json["error"]["code"] == "internal_error"
    assert response.headers["X-Logging-Id"] in response.json["error"]["message"]
    assert b"secret words" not in response.data
    response.close()
    assert outcomes[0].ending == "internal"


def test_a_fault_of_ours_in_a_stream_is_its_last_event() -> None:
    client, outcomes = door(CrashingLater(), Opening())
    response = client.post("/v1/chat/completions", data=b'{"model": "m", "prompt": "x", "stream": true}')
    assert response.status_code == 200
    assert response.data.startswith(b'data: {"error":')
    assert b"secret words" not in response.data
    response.close()
    assert outcomes[0].ending == "internal"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_hooks_of_flask_can_change_a_response(method: str) -> None:
    client, _ = door(DemoUpstream(), Opening())

    @client.application.after_request
    def change(response: Response) -> Response:
        response.headers["X-Added"] = response.headers["X-Logging-Id"]
        response.set_data(b"other")
        response.status_code = 203
        return response

    response = client.open("/health/live", method=method)
    assert response.status_code == 203
    assert response.headers["X-Added"] == response.headers["X-Logging-Id"]
    assert (response.headers["Content-Length"], response.data) == ("5", b"" if method == "HEAD" else b"other")
    response.close()


def test_targets_are_told_apart_however_many_came() -> None:
    client, outcomes = door(DemoUpstream(), Opening())
    names = [f"m{number}" for number in range(MAX_TARGETS + 10)]
    for name in names:
        client.get(f"/v1/models/{name}").close()
    assert [outcome.path for outcome in outcomes] == [f"/v1/models/{name}" for name in names]


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("GET", "/health/live", 200),
        ("POST", "/health/live", 405),
        ("GET", "/health/live?key=a", 200),
        ("GET", "/health/ready", 200),
        ("DELETE", "/health/ready", 405),
        ("GET", f"/health/{'x' * LONGEST_TARGET}", 404),
    ],
)
def test_a_target_has_the_same_rule_each_time(method: str, target: str, status: int) -> None:
    client, _ = door(DemoUpstream(), Opening())
    statuses = []
    for _ in range(3):
        response = client.open(target, method=method)
        statuses.append(response.status_code)
        response.close()
    assert statuses == [status] * 3


def test_an_extension_may_ask_for_the_url_of_a_rule() -> None:
    rule = ExactRule("/v1/models/<path:name>", methods=["GET"], endpoint="model", strict_slashes=False)
    urls = Map([rule]).bind("host")
    assert urls.build("model", {"name": "a/b"}) == "/v1/models/a/b"
    assert urls.build("model", {"name": "a b", "detail": 1}) == "/v1/models/a%20b?detail=1"


def test_without_gunicorn_the_path_is_quoted_anew() -> None:
    client, outcomes = door(DemoUpstream(), Opening())
    response = client.get("/caf%C3%A9 x", environ_overrides={"RAW_URI": ""})
    assert response.status_code == 404
    response.close()
    assert outcomes[0].path == "/caf%C3%A9%20x"


def test_the_root_tells_what_this_is() -> None:
    client, _ = door(DemoUpstream(), Opening())
    response = client.get("/")
    assert response.json
    assert (response.json["name"], response.json["health"]) == ("argoproxy", "/health")
    assert response.json["message"]


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "text/html; charset=utf-8"),
        ("*/*", "application/json"),
        ("application/json", "application/json"),
        ("application/json, text/html;q=0.5", "application/json"),
    ],
)
def test_the_root_is_a_page_for_browsers(accept: str, content_type: str) -> None:
    client, _ = door(DemoUpstream(), Opening())
    response = client.get("/", headers={"Accept": accept})
    assert (response.status_code, response.headers["Content-Type"]) == (200, content_type)
    if content_type.startswith("text/html"):
        assert response.headers["Content-Security-Policy"].startswith("default-src 'none'")
        links = re.findall('href="([^"]+)"', response.text)
        assert [link for link in links if "://" not in link] == ["v1/models", "health", "metrics"]


def refusing(status: Any, *headers: tuple[str, str]) -> Upstream:
    """Return an upstream of an operator's own, whose refusals have this head."""

    class Refusing(DemoUpstream):
        def read_completion(self, reply: Any, call: Any) -> Any:
            raise UpstreamStatus(status, headers, b'{"error": {"message": "odd"}}')

    return Refusing()


def test_headers_that_nobody_can_send_are_left_out_of_a_refusal() -> None:
    headers = (
        ("X-Good", "yes"),
        ("X-Bad", "a\r\nX-Other: b"),
        ("X Bad", "a"),
        ("X-Wide", "\u2028"),
        ("Location", "//["),
    )
    client, outcomes = door(refusing(418, *headers), Opening())
    response = client.post("/v1/chat/completions", data=ASKED)
    assert response.status_code == 418
    kept = {name for name, _ in response.headers}
    assert kept == {"X-Good", "Location", "X-Logging-Id", "X-Request-Id", "Content-Length"}
    response.close()
    assert [outcome.status for outcome in outcomes] == [418]


@pytest.mark.parametrize("status", [0, 99, 600, 1000, -1])
def test_a_status_that_nobody_can_send_is_a_fault_told_once(status: Any) -> None:
    client, outcomes = door(refusing(status), Opening())
    response = client.post("/v1/chat/completions", data=ASKED)
    assert response.status_code == 500
    assert response.json
    assert response.json["error"]["code"] == "internal_error"
    response.close()
    assert [outcome.status for outcome in outcomes] == [500]


def test_a_head_that_the_server_refuses_ends_the_trip() -> None:
    client, outcomes = door(DemoUpstream(), Opening())

    def start_response(*_: Any) -> Any:
        raise ValueError("not by this server")

    with pytest.raises(ValueError, match="not by this server"):
        client.application.wsgi_app(EnvironBuilder("/").get_environ(), start_response)
    assert [outcome.ending for outcome in outcomes] == [Ending.INTERNAL]
