from __future__ import annotations

from typing import Any

import pytest

from argoproxy.errors import UpstreamProtocolError
from argoproxy.protocol.http_messages import ClientRequest, get_header
from argoproxy.protocol.json_text import dumps
from argoproxy.protocol.routing.call import Call, Identity, parse_call
from argoproxy.upstreams.argo.adapter import ArgoNativeUpstream
from argoproxy.upstreams.base_url import BaseUrl
from tests.support.doubles import WholeBody

BASE = BaseUrl.parse("http://gateway/argoapi/v1")
TEXT = b'{ "model" : "argo:gpt-4o","user":"ann",  "n": 1.50, "odd": [1e2 , null], "messages": "\\u00e9" }'


def call(text: bytes, *headers: tuple[str, str]) -> Call:
    request = ClientRequest("id", 1, "POST", "/v1/chat/completions", "", headers, WholeBody(text))
    return parse_call(request, text, "/v1/chat/completions")


def sent(native: ArgoNativeUpstream, text: bytes, *headers: tuple[str, str]) -> Any:
    return native.completion_request(call(text, *headers)).body


KEY = ("Authorization", "Bearer bob")


@pytest.mark.parametrize(
    ("identity", "headers", "user"),
    [
        (Identity(), [], b'"ann"'),
        (Identity("me"), [], b'"ann"'),
        (Identity("me"), [KEY], b'"ann"'),
        (Identity("me", passes_callers=True), [], b'"ann"'),
        (Identity("me", passes_callers=True), [KEY], b'"bob"'),
    ],
)
def test_a_request_differs_in_model_and_user_alone(identity: Identity, headers: Any, user: bytes) -> None:
    wanted = TEXT.replace(b'"argo:gpt-4o"', b'"gpt4o"').replace(b'"ann"', user)
    assert sent(ArgoNativeUpstream(BASE, identity=identity), TEXT, *headers) == wanted


@pytest.mark.parametrize(
    ("identity", "user"), [(Identity(), b""), (Identity("me"), b',"user":"me"'), (Identity("", True), b',"user":"bob"')]
)
def test_a_missing_user(identity: Identity, user: bytes) -> None:
    assert (
        sent(ArgoNativeUpstream(BASE, identity=identity), b'{"model": "x-1"}', KEY) == b'{"model": "x-1"' + user + b"}"
    )


@pytest.mark.parametrize("model", ["gpt4o", "Some/Model", "gpt4o-new"])
def test_a_direct_id_and_an_unknown_name_pass_untouched(model: str) -> None:
    text = b'{"model": "%b" }' % model.encode()
    assert sent(ArgoNativeUpstream(BASE), text) == text


def test_the_clients_key_goes_up() -> None:
    asked = ArgoNativeUpstream(BASE).completion_request(call(TEXT, KEY))
    assert asked.url == "http://gateway/argoapi/v1/chat/completions"
    assert get_header(asked.headers, "authorization") == "Bearer bob"


def test_the_aliases_of_listed_models_are_added() -> None:
    native = ArgoNativeUpstream(BASE)
    listed = {
        "object": "list",
        "data": [{"id": "gpt4o"}, {"id": "GPT-3.5 Turbo", "internal_id": "gpt35"}, "odd"],
        "x": 1,
    }
    shown = native.read_model_list(dumps(listed), "", 7).chunk
    assert (shown["data"][:3], shown["x"]) == (listed["data"], 1)
    assert [entry["id"] for entry in shown["data"][3:]] == ["argo:gpt-3.5-turbo", "argo:gpt-4o"]


@pytest.mark.parametrize("body", [b'{"data": [{"id": "other"}]}', b'{"data": 5}', b'{"data":[{"id":"argo:gpt-4o"}]}'])
def test_where_there_is_nothing_to_add_the_list_stays_as_it_is(body: bytes) -> None:
    assert ArgoNativeUpstream(BASE).read_model_list(body, "", 7).raw == body
    assert ArgoNativeUpstream(BASE).read_model_list(body, "one", 7).raw == body
    with pytest.raises(UpstreamProtocolError):
        ArgoNativeUpstream(BASE).read_model_list(b"<html>", "", 7)


def test_rules_may_call_a_model_by_any_of_its_names() -> None:
    assert ArgoNativeUpstream(BASE).aliases("GPT-4o") == ("GPT-4o", "argo:gpt-4o", "gpt4o")
