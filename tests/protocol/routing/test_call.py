from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from argoproxy.errors import BadRequest
from argoproxy.protocol.api.endpoints import CHAT
from argoproxy.protocol.http_messages import ClientRequest
from argoproxy.protocol.routing.call import Call, parse_call
from tests.support.doubles import WholeBody


def request(text: bytes = b"", **headers: str) -> ClientRequest:
    listed = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return ClientRequest("id", 7, "POST", "/v1/chat/completions", "q=1", listed, WholeBody(text))


def parsed(text: bytes) -> Call:
    return parse_call(request(), text, "/v1/chat/completions")


def test_a_call_keeps_the_bytes_it_came_in() -> None:
    text = b'{"model": "m", "stream": true, "n": 1.0}'
    call = parsed(text)
    assert (call.id, call.created, call.path, call.query) == ("id", 7, "/v1/chat/completions", "q=1")
    assert (call.model, call.stream, call.include_usage, call.timeout_s) == ("m", True, False, None)
    assert call.payload() is text
    assert call.with_body({**call.body}) is call
    changed = call.with_body({**call.body, "model": "ü"}).with_body({"model": "ä", "n": 1.0})
    assert changed.payload() == '{"model": "ä", "n": 1.0}'.encode()
    assert changed.with_body(call.body).payload() == text
    assert parsed(b'{"seed": true, "n": 1.0}').with_body({"seed": 1, "n": 1}).payload() == b'{"seed": 1, "n": 1}'


@pytest.mark.parametrize(
    ("text", "is_whole"), [(b'{"stream": true}', False), (b'{"stream": false}', True), (b"{}", True)]
)
@pytest.mark.parametrize("asked", [True, False])
def test_how_the_upstream_is_asked_changes_nothing_of_what_the_client_gets(
    text: bytes, is_whole: bool, asked: bool
) -> None:
    call = parsed(text)
    assert call.wants_document is is_whole
    turned = call.with_body({**call.body, "stream": asked})
    assert (turned.stream, turned.wants_document) == (asked, is_whole)


@pytest.mark.parametrize(
    ("text", "kind"),
    [(b"[]", "an array"), (b"3", "a number"), (b'"x"', "a string"), (b"null", "null"), (b"true", "a boolean")],
)
def test_a_body_that_is_no_object_is_refused(text: bytes, kind: str) -> None:
    with pytest.raises(BadRequest, match=f"must be a JSON object, not {kind}"):
        parsed(text)


@pytest.mark.parametrize("text", [b"{", b"", b"\xff", b'{"a": NaN}', b'{"a":' * 10_000])
def test_a_body_that_is_no_json_is_refused(text: bytes) -> None:
    with pytest.raises(BadRequest, match="not valid JSON"):
        parsed(text)


def test_a_body_of_too_many_values_is_refused() -> None:
    with pytest.raises(BadRequest):
        parsed(b'{"a": [' + b"[]," * 300_000 + b"[]]}")


def test_what_was_checked_is_what_is_sent() -> None:
    assert parsed(b'{"model": "a", "model": "b"}').payload() == b'{"model":"b"}'
    assert parsed('{"model": "ü"}'.encode("utf-16")).payload() == '{"model":"ü"}'.encode()


def test_a_body_too_deep_to_be_written_again_is_refused() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(BadRequest):
        parsed(b"{}").with_body({"a": deep}).payload()


@pytest.mark.parametrize(("text", "seconds"), [(b'{"timeout": 5}', 5.0), (b'{"timeout": 0.5, "a": 1}', 0.5)])
def test_a_time_out_is_taken_out(text: bytes, seconds: float) -> None:
    call = parsed(text)
    assert call.timeout_s == seconds
    assert "timeout" not in call.body
    assert b"timeout" not in call.payload()


@pytest.mark.parametrize("value", [b"0", b"-1", b'"5"', b"true", b"null", b"[]", b"1" + b"0" * 400])
def test_a_time_out_that_is_none_is_refused(value: bytes) -> None:
    with pytest.raises(BadRequest) as caught:
        parsed(b'{"timeout": ' + value + b"}")
    assert caught.value.param == "timeout"


@pytest.mark.parametrize(
    ("text", "model", "stream", "usage", "choices"),
    [
        (b"{}", "", False, False, 1),
        (b'{"model": 5, "stream": "true", "stream_options": 1, "n": "2"}', "", False, False, 1),
        (b'{"stream_options": {"include_usage": true}, "n": 3}', "", False, True, 3),
        (b'{"n": null, "prompt": ["a", "b"]}', "", False, False, 2),
        (b'{"n": 2, "prompt": ["a", "b"]}', "", False, False, 4),
        (b'{"n": 0, "prompt": [1, 2, 3]}', "", False, False, 1),
        (b'{"prompt": []}', "", False, False, 1),
    ],
)
def test_what_was_asked(text: bytes, model: str, stream: bool, usage: bool, choices: int) -> None:
    call = parsed(text)
    assert (call.model, call.stream, call.include_usage, call.max_choices) == (model, stream, usage, choices)


def test_a_compressed_body_is_refused() -> None:
    with pytest.raises(BadRequest) as caught:
        CHAT.parse(request(b"{}", Content_Encoding="gzip"))
    assert caught.value.code == "unsupported_content_encoding"
    assert CHAT.parse(request(b"{}", Content_Encoding="identity")).body == {}


def test_a_model_name_has_a_length() -> None:
    assert parsed(b'{"model":"%b"}' % (b"x" * 1000)).model == "x" * 1000
    with pytest.raises(BadRequest, match="longer than 1000") as refused:
        parsed(b'{"model":"%b"}' % (b"x" * 1001))
    assert refused.value.param == "model"


@pytest.mark.parametrize(
    ("param", "message", "named", "shown"),
    [
        ("messages[3].content[0]", "Invalid 'messages[3].content[0]'.", "input", "Invalid 'input'."),
        (
            "reasoning_effort",
            "`reasoning_effort` is low or high.",
            "reasoning.effort",
            "`reasoning.effort` is low or high.",
        ),
        ("max_tokens", "Too many.", "max_output_tokens", "Too many."),
        ("max_tokens_of_another", "No.", "max_tokens_of_another", "No."),
        (None, "No.", None, "No."),
    ],
)
def test_an_error_about_a_converted_call_names_the_clients_own_field(
    param: str | None, message: str, named: str | None, shown: str
) -> None:
    names = (("messages", "input"), ("max_tokens", "max_output_tokens"), ("reasoning_effort", "reasoning.effort"))
    call = replace(parsed(b"{}"), field_names=names)
    with pytest.raises(BadRequest) as refused, call.name_client_fields():
        raise BadRequest(message, param=param)
    assert (refused.value.param, refused.value.message) == (named, shown)
