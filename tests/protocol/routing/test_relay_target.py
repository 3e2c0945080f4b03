from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from argoproxy.errors import ModelNotAllowed, PayloadTooLarge
from argoproxy.protocol.access.allow_list import JSON_LIMIT, AllowList
from argoproxy.protocol.http_messages import Body, BytesBody, ClientRequest, PartlyReadBody, read_up_to
from argoproxy.protocol.routing.relay_target import find_relay_target, read_relayed_call
from argoproxy.protocol.routing.route import Provider
from argoproxy.protocol.routing.router import Models
from argoproxy.protocol.routing.rules import Rule, Rules, RuleSet
from argoproxy.upstreams.demo import DemoUpstream
from tests.support.doubles import BodyInPieces

RULES = Rules((RuleSet("models", (Rule("b*", upstreams=("two",)), Rule("*", upstreams=("two",)))),))


def models(**options: Any) -> Models[DemoUpstream]:
    return Models([Provider(DemoUpstream("one")), Provider(DemoUpstream("two"))], RULES, **options)


def request(body: Body, content_type: str = "application/json", coding: str = "") -> ClientRequest:
    headers = (("Content-Type", content_type), *((("Content-Encoding", coding),) if coding else ()))
    return ClientRequest("id", 1, "POST", "/v1/responses", "", headers, body)


SENT = [
    (b'{"model": "b1"}', "application/json", "", "two"),
    (b' {"model": "b1"}', "application/x-www-form-urlencoded; charset=x", "", "two"),
    (b'{"model": "b1"}', "", "", "two"),
    (b'{"model": "b1"}', "text/plain", "", "one"),
    (b'{"model": "b1"}', "application/json", "gzip", "one"),
    (b'{"model": 5}', "application/json", "", "one"),
    (b'["b1"]', "application/json", "", "one"),
    (b'{"model": "b1"', "application/json", "", "one"),
    (b"model=b1", "application/x-www-form-urlencoded", "", "one"),
    (b"", "application/json", "", "one"),
]


@pytest.mark.parametrize(("text", "content_type", "coding", "name"), SENT)
def test_who_gets_a_request(text: bytes, content_type: str, coding: str, name: str) -> None:
    came = request(BodyInPieces(text[:3], text[3:], length=len(text)), content_type, coding)
    going, provider = find_relay_target(came, models())
    assert provider.upstream.name == name
    assert b"".join(going.body.iter_bytes()) == text


def test_what_is_long_goes_to_the_default_upstream_as_it_comes() -> None:
    head, rest = b'{"model": "b1", "x": "' + b"x" * JSON_LIMIT, b'"}'
    for length in (None, len(head + rest)):
        going, provider = find_relay_target(request(BodyInPieces(head, rest, length=length)), models())
        assert provider.upstream.name == "one"
        assert not isinstance(going.body, BytesBody)
        assert going.body.length == length
        assert b"".join(going.body.iter_bytes()) == head + rest


def test_what_the_allow_list_has_read_goes_by_rule_too() -> None:
    allowed = models(allowed=AllowList(("b*",)))
    going, provider = find_relay_target(request(BodyInPieces(b'{"model": "b1"}')), allowed)
    assert (provider.upstream.name, going.body.read(99)) == ("two", b'{"model": "b1"}')
    with pytest.raises(ModelNotAllowed):
        find_relay_target(request(BodyInPieces(json.dumps({"model": "c"}).encode())), allowed)


def test_without_rules_nothing_is_read() -> None:
    body = BodyInPieces(b'{"model": "b1"}')
    going, provider = find_relay_target(request(body), Models([Provider(DemoUpstream("one"))], RULES))
    assert (going.body, provider.upstream.name) == (body, "one")


def test_a_begun_body_is_read_on_within_limits() -> None:
    for limit, fits in ((6, True), (5, False)):
        body = read_up_to(BodyInPieces(b"abcd", b"ef"), 3)
        assert isinstance(body, PartlyReadBody)
        if fits:
            assert body.read(limit) == b"abcdef"
        else:
            with pytest.raises(PayloadTooLarge):
                body.read(limit)


@pytest.mark.parametrize(
    ("method", "body", "content_type", "read"),
    [
        ("POST", b'{"model": "b1", "input": "x"}', "application/json", {"model": "b1", "input": "x"}),
        ("PATCH", b'{"model": "b1"}', "", {"model": "b1"}),
        ("POST", b'{"model": "b1"}', "multipart/form-data; boundary=x", {"model": ""}),
        ("POST", b"[1]", "application/json", {"model": ""}),
        ("PUT", b"{", "application/json", {"model": ""}),
        ("POST", b"", "application/json", {"model": ""}),
        ("GET", b"", "", {}),
        ("DELETE", b'{"model": "b1"}', "application/json", {}),
    ],
)
def test_what_a_relayed_request_asks_of_a_model(method: str, body: bytes, content_type: str, read: Any) -> None:
    sent = replace(request(BodyInPieces(body), content_type), method=method)
    relayed, call = read_relayed_call(sent)
    assert (call.body, call.model, call.path) == (read, read.get("model", ""), "/v1/responses")
    assert relayed.body.read(JSON_LIMIT) == body


def test_a_relayed_body_that_is_too_long_to_keep_is_not_read() -> None:
    relayed, call = read_relayed_call(request(BodyInPieces(b"{", b" " * JSON_LIMIT, b"}")))
    assert call.body == {"model": ""}
    assert isinstance(relayed.body, PartlyReadBody)
