from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from argoproxy.cli.doctor.judge.findings import Finding, Status, run_checks
from argoproxy.cli.doctor.judge.observations import Certificate, HttpAnswer, Network, Place, UpstreamFacts
from argoproxy.cli.doctor.judge.surface_verdicts import UPSTREAM_CHECKS

URL = "http://gpu:8000/v1"
LIST = HttpAnswer(f"{URL}/models", 200, body='{"data": [{"id": "m1"}]}')
WAY = Network("gpu", 8000, ("10.0.0.5",), 0.4, peer="10.0.0.5:8000", tcp_ms=0.8)
SOUND = UpstreamFacts(
    name="gpu",
    kind="openai",
    url=URL,
    url_place=Place("TARGET_BASE_URL", ".env"),
    key_place=Place("TARGET_API_KEY", ".env"),
    network=(WAY,),
    listing=LIST,
    models=("m1",),
    asks_no_chat=True,
)
HTML = HttpAnswer(URL, 200, (("Content-Type", "text/html"),), "<html>")


def judge(code: str, **fields: Any) -> Finding:
    facts = replace(SOUND, **fields)
    (found,) = [finding for finding in run_checks(UPSTREAM_CHECKS, facts, "gpu") if finding.code == code]
    return found


def failed(text: str, fix: str, finding: Finding) -> bool:
    return finding.status is Status.FAIL and text in finding.text and fix in finding.fix


def way(**fields: Any) -> tuple[Network, ...]:
    return (replace(WAY, **fields),)


def tls(**fields: Any) -> tuple[Network, ...]:
    return way(port=443, tls=Certificate(**fields))


def test_a_sound_server() -> None:
    findings = list(run_checks(UPSTREAM_CHECKS, SOUND, "gpu"))
    assert [finding.code for finding in findings if finding.status is Status.OK] == [
        "dns",
        "tcp",
        "http",
        "auth",
        "models",
    ]
    assert {finding.subject for finding in findings} == {"gpu"}


def test_a_name_that_can_not_be_resolved() -> None:
    network = way(dns_reason="name not found")
    assert failed(
        "the name gpu can't be resolved: name not found", "TARGET_BASE_URL (.env)", judge("dns", network=network)
    )
    assert judge("tcp", network=network).text == "skipped: because of dns"
    assert judge("models", network=network).text == "skipped: because of dns"


@pytest.mark.parametrize(("code", "fields"), [("dns", {"dns_reason": "x"}), ("tcp", {"tcp_reason": "timed out"})])
def test_argonnes_hosts_want_its_network(code: str, fields: dict[str, str]) -> None:
    assert "VPN" in judge(code, network=way(host="apps.inside.anl.gov", **fields)).fix


def test_a_server_that_is_not_there() -> None:
    network = way(host="localhost", tcp_reason="connection refused", is_refused=True)
    found = judge("tcp", network=network)
    assert failed("nothing listens at localhost:8000", "start the server", found)
    assert "host.docker.internal" not in found.fix
    assert "host.docker.internal" in judge("tcp", network=network, is_container=True).fix


def test_a_firewall() -> None:
    assert failed(
        "does not accept connections: timed out", "firewall", judge("tcp", network=way(tcp_reason="timed out"))
    )


@pytest.mark.parametrize(
    ("fields", "text", "fix"),
    [
        ({"verify_code": 18, "reason": "self-signed certificate"}, "is self-signed", "REQUESTS_CA_BUNDLE"),
        ({"verify_code": 20, "reason": "unable to get"}, "an authority that is not trusted", "REQUESTS_CA_BUNDLE"),
        ({"verify_code": 62, "reason": "Hostname mismatch"}, "another name than gpu", "TARGET_BASE_URL"),
        ({"verify_code": 10, "reason": "expired"}, "has expired", "renew it"),
        ({"verify_code": 9, "reason": "early"}, "is not valid yet", "renew it"),
        ({"reason": "TLS failed: wrong version number"}, "does not speak TLS", "begin the URL with http://"),
        ({"reason": "timed out"}, "TLS with gpu:443 failed: timed out", "TARGET_BASE_URL"),
    ],
)
def test_a_certificate_that_is_refused(fields: dict[str, Any], text: str, fix: str) -> None:
    assert failed(text, fix, judge("tls", network=tls(**fields)))


def test_a_wrong_clock_explains_a_certificate() -> None:
    answer = HttpAnswer(headers=(("Date", "Thu, 01 Jan 1970 00:00:00 GMT"),), at_s=864_000.0)
    found = judge("tls", network=tls(verify_code=10, reason="expired", answer=answer))
    assert failed("this machine's clock is 10 days ahead of the server's", "set this machine's clock", found)


@pytest.mark.parametrize(("days", "status"), [(100.0, Status.OK), (3.0, Status.WARN), (None, Status.INFO)])
def test_days_that_are_left(days: float | None, status: Status) -> None:
    assert judge("tls", network=tls(version="TLSv1.3", days_left=days)).status is status


def test_tls_through_a_proxy_is_seen_by_a_request() -> None:
    listing = HttpAnswer(URL, failure="tls_verification_failed", reason="certificate verify failed")
    assert failed("certificate verify failed", "reason", judge("tls", network=way(hop="http://p"), listing=listing))


@pytest.mark.parametrize(
    ("fields", "text", "fix"),
    [
        (
            {"listing": HttpAnswer(URL, failure="upstream_disconnected", reason="closed")},
            "no HTTP reply: closed",
            "log",
        ),
        ({"listing": HttpAnswer(URL, failure="x"), "speaks_tls": True}, "is a server for TLS", "https://"),
        (
            {"listing": HttpAnswer(URL, 502, (("Server", "nginx"),), "<html>")},
            "nginx answers 502",
            "start the model server",
        ),
        (
            {"listing": HttpAnswer(URL, 400, (), "The plain HTTP request was sent to HTTPS port")},
            "is a server for TLS",
            "https://",
        ),
        (
            {"listing": HttpAnswer(URL, 301, (("Location", "https://gpu/v1/models"),))},
            "redirects to https://gpu/v1/models",
            "TARGET_BASE_URL=https://gpu/v1 ",
        ),
        ({"listing": HTML}, "answers with a web page", "TARGET_BASE_URL="),
        ({"listing": HttpAnswer(URL, 404)}, "neither a list of models nor chats", "TARGET_BASE_URL="),
        (
            {"listing": HTML, "url": "http://gpu/v1/v1", "candidates": [("http://gpu/v1", LIST)]},
            "`/v1` is doubled in http://gpu/v1/v1",
            "TARGET_BASE_URL=http://gpu/v1 ",
        ),
        (
            {"listing": HTML, "url": "http://gpu/v2", "candidates": [("http://gpu/v2/v1", LIST)]},
            "`/v1` is missing in http://gpu/v2",
            "TARGET_BASE_URL=http://gpu/v2/v1 ",
        ),
        (
            {"listing": HTML, "url": "http://gpu", "candidates": [("http://gpu/api/v1", LIST)]},
            "http://gpu is not the base of the API",
            "TARGET_BASE_URL=http://gpu/api/v1 ",
        ),
    ],
)
def test_what_is_no_api(fields: dict[str, Any], text: str, fix: str) -> None:
    assert failed(text, fix, judge("http", **fields))


def test_the_key_of_a_file_is_shown_as_in_the_file() -> None:
    place = Place("upstreams.gpu.base_url", "config.yaml, line 3")
    found = judge("http", listing=HTML, candidates=[("http://gpu/api/v1", LIST)], url_place=place)
    assert found.fix == "upstreams.gpu.base_url: http://gpu/api/v1   (config.yaml, line 3)"


def test_a_server_with_chats_and_no_list() -> None:
    fields = {"listing": HttpAnswer(URL, 404), "empty_chat": HttpAnswer(URL, 400, body='{"error": "no messages"}')}
    assert judge("http", **fields).status is Status.OK
    assert judge("models", **fields, whole=None).status is Status.INFO


@pytest.mark.parametrize("status", [401, 403])
def test_a_key_that_is_refused(status: int) -> None:
    denied = HttpAnswer(URL, status, body='{"error": {"message": "no"}}')
    found = judge("auth", listing=denied, key="a key of 20 characters, it ends with zz")
    assert failed(f"refuses the configured key ({status}; a key of 20", "TARGET_API_KEY (.env)", found)


def test_a_key_that_is_not_needed() -> None:
    found = judge("auth", listing=HttpAnswer(URL, 401), key="a key", keyless=LIST)
    assert failed("but answers without one", "remove TARGET_API_KEY", found)


@pytest.mark.parametrize(("forwards", "fix"), [(True, "have each client send its own"), (False, "set TARGET_API_KEY")])
def test_a_key_that_is_missing(forwards: bool, fix: str) -> None:
    assert failed("wants an API key", fix, judge("auth", listing=HttpAnswer(URL, 401), takes_clients_keys=forwards))


def test_a_key_that_no_answer_shows() -> None:
    assert judge("auth", kind="dashscope", listing=HttpAnswer(URL, 405)).status is Status.SKIPPED


def test_models_of_the_settings_that_the_server_does_not_have() -> None:
    found = judge("models", models=("qwen3-8b", "llama"), named_models=("qwen3-8B-instruct",))
    assert found.status is Status.WARN
    assert "did you mean 'qwen3-8b'?" in found.text
    assert "it has a" in judge("models", models=("a",), named_models=("zzz",)).text


def test_an_empty_list() -> None:
    assert judge("models", models=(), listing=replace(LIST, body='{"data": []}')).status is Status.WARN
