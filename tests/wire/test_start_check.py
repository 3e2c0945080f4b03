"""One look at the start whether the endpoints answer: a warning where one does not, and no request."""

from __future__ import annotations

import logging
import socket
from collections.abc import Sequence
from pathlib import Path

import certifi
import pytest

from argoproxy.server.start_check import EndpointServer, distinct, warn_if_unreachable
from tests.support.client import ask
from tests.support.fixtures import Serve
from tests.support.processes import Proxy, Upstream, eventually, free_port

LOOKS = {"SKIP_URL_VALIDATION": "false"}


def warnings_of(proxy: Proxy, times: int) -> Sequence[dict[str, str]]:
    """Wait for so many warnings of endpoints that do not answer, and return their fields."""

    def found() -> list[dict[str, str]]:
        warnings = proxy.coded("upstream_unreachable")
        return warnings if len(warnings) >= times else []

    warnings: list[dict[str, str]] = eventually(found, 10)
    return warnings


@pytest.mark.parametrize("worker_class", ["gthread", "gevent"])
def test_an_endpoint_that_does_not_answer_is_warned_of_once(start: Serve, worker_class: str) -> None:
    port = free_port()
    url = f"http://me:very-secret@localhost:{port}/v1"
    proxy = start(TARGET_BASE_URL=url, WORKERS="3", WORKER_CLASS=worker_class, **LOOKS)
    eventually(lambda: len(proxy.workers()) == 3, 10)
    (warning,) = warnings_of(proxy, 1)
    assert warning["address"] == f"localhost:{port}"
    assert warning["reason"] == '"connection refused"'
    assert ask(proxy.port, "GET", "/health/live").status == 200
    assert "very-secret" not in proxy.log()
    assert len(warnings_of(proxy, 1)) == 1


def test_a_certificate_nobody_vouches_for_is_warned_of(start: Serve, tls_upstream: Upstream) -> None:
    (warning,) = warnings_of(start(TARGET_BASE_URL=tls_upstream.url, **LOOKS), 1)
    assert warning["address"] == f"localhost:{tls_upstream.port}"
    assert "certificate verify failed" in warning["reason"]
    assert "REQUESTS_CA_BUNDLE" in warning["reason"]


def test_every_url_of_the_gateway_is_looked_at(start: Serve) -> None:
    ports = [free_port(), free_port()]
    urls = {"ARGO_URL": f"http://localhost:{ports[0]}/c/", "ARGO_STREAM_URL": f"http://localhost:{ports[0]}/s/"}
    proxy = start(**urls, ARGO_EMBEDDING_URL=f"http://localhost:{ports[1]}/e/", ARGO_USER="me", **LOOKS)
    assert {warning["address"] for warning in warnings_of(proxy, 2)} == {f"localhost:{port}" for port in ports}


def test_an_endpoint_that_answers_is_connected_to_and_asked_nothing(start: Serve) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(20)
        start(TARGET_BASE_URL=f"http://127.0.0.1:{listener.getsockname()[1]}", **LOOKS)
        connection, _ = listener.accept()
        with connection:
            connection.settimeout(20)
            assert connection.recv(1) == b""


@pytest.mark.parametrize(("trusts_it", "warnings"), [(True, 0), (False, 1)])
def test_tls_is_trusted_as_for_requests(
    tls_upstream: Upstream, ca_file: Path, caplog: pytest.LogCaptureFixture, trusts_it: bool, warnings: int
) -> None:
    logger = logging.getLogger("argoproxy")
    logger.addHandler(caplog.handler)
    warn_if_unreachable(EndpointServer("up", tls_upstream.url, str(ca_file) if trusts_it else certifi.where()))
    logger.removeHandler(caplog.handler)
    assert len({record.getMessage() for record in caplog.records}) == warnings


def test_what_is_no_url_is_not_looked_at() -> None:
    urls = ["", "demo://x", "http://", "http://a:b/", "http://a", "http://a:80/v1", "https://[::1]/"]
    assert [one.address for one in distinct(EndpointServer("up", url, "") for url in urls)] == ["a:80", "[::1]:443"]


def test_the_look_can_be_left_out(start: Serve) -> None:
    proxy = start(TARGET_BASE_URL=f"http://localhost:{free_port()}", SKIP_URL_VALIDATION="true")
    answer = ask(proxy.port, "GET", "/v1/models")
    assert proxy.line(answer.id)["code"] == "upstream_unreachable"
    assert " WARNING " not in proxy.log()
