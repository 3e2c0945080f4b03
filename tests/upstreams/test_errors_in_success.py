from __future__ import annotations

import json
from typing import Any

import pytest

from argoproxy.errors import UpstreamProtocolError, UpstreamStatus
from argoproxy.protocol.stream.sse import Event
from argoproxy.upstreams.error_replies import error_in_document, error_in_event

FLAT = b'{"message": "no", "code": "InvalidApiKey", "type": "t", "param": "p"}'


@pytest.mark.parametrize(
    ("raw", "status", "told"),
    [
        (b'data: {"error": {"message": "no", "code": 429}}', 429, {"message": "no", "code": 429}),
        (b'data: {"error": {"message": "no", "type": "rate_limit_error"}}', 429, {"type": "rate_limit_error"}),
        (b'data: {"error": {"message": "no", "type": "server_error"}}', 502, {"code": None}),
        (b'data: {"error": {"message": "no", "type": 5, "code": 200}}', 502, {"code": 200}),
        (b'data: {"choices": [], "error": {"message": "no", "code": 503}}', 503, {"message": "no"}),
        (b'event: x\ndata: {"choices": [], "error": "words"}', 502, {"message": "words"}),
        (b"event: error\ndata: " + FLAT, 502, {"message": "no", "code": "InvalidApiKey", "param": "p"}),
        (b"data: " + FLAT + b"\r\nevent:error", 502, {"message": "no"}),
        (b'event: error\ndata: {"detail": "words", "code": 422}', 422, {"message": "words"}),
        (b'event: error\ndata: {"choices": [], "error": {"message": "no"}}', 502, {"message": "no"}),
        (b'event: error\ndata: {"type": "error"}', 502, {"message": "The upstream failed.", "type": "upstream_error"}),
        (b"event: error\ndata: {}", 502, {"message": "The upstream failed."}),
        (b"event: error\ndata: words \xff", 502, {"message": "words \ufffd"}),
        (b"event: error", 502, {"message": "The upstream failed."}),
        (b'error: {"code": 500, "message": "no"}', 500, {"message": "no"}),
        (b"error: words", 502, {"message": "The upstream failed."}),
    ],
)
def test_an_event_tells_of_an_error(raw: bytes, status: int, told: dict[str, Any]) -> None:
    error = error_in_event(Event(raw + b"\n\n"))
    assert isinstance(error, UpstreamStatus)
    assert error.status == status
    said = json.loads(error.body)["error"]
    assert set(said) >= {"message", "type", "param", "code"}
    assert said == {**said, **told}


@pytest.mark.parametrize(
    "raw",
    [
        b'data: {"choices": [], "error": null}',
        b'event: error\ndata: {"choices": []}',
        b'data: {"choices": [{"delta": {"content": "event: error"}}]}',
        b"data: " + FLAT,
        b"data: error",
        b"event: errors\ndata: x",
        b": error",
    ],
)
def test_an_event_tells_of_none(raw: bytes) -> None:
    assert error_in_event(Event(raw + b"\n\n")) is None


def test_broken_json_is_an_error() -> None:
    assert isinstance(error_in_event(Event(b'data: {"error\n\n')), UpstreamProtocolError)


@pytest.mark.parametrize(
    ("document", "status", "told"),
    [
        ({"error": {"message": "no"}, "choices": None}, 502, {"message": "no"}),
        (
            {"code": "InvalidApiKey", "message": "no", "request_id": "x"},
            502,
            {"message": "no", "code": "InvalidApiKey"},
        ),
        ({"detail": [{"loc": ["body"]}], "code": 422}, 422, {"message": '[{"loc":["body"]}]', "code": 422}),
    ],
)
def test_a_document_tells_of_an_error(document: dict[str, Any], status: int, told: dict[str, Any]) -> None:
    error = error_in_document(document)
    assert isinstance(error, UpstreamStatus)
    assert error.status == status
    assert "request_id" not in json.loads(error.body)["error"]
    assert json.loads(error.body)["error"] == {"type": "upstream_error", "param": None, "code": None, **told}


@pytest.mark.parametrize("document", [{}, {"other": 1}, {"error": None, "message": ""}])
def test_a_document_tells_of_none(document: dict[str, Any]) -> None:
    assert error_in_document(document) is None
