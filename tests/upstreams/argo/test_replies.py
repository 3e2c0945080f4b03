from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argoproxy.errors import UpstreamProtocolError, UpstreamStatus
from argoproxy.protocol.json_text import dumps, loads
from argoproxy.upstreams.argo.replies import MAX_HELD_BACK, Answer, parse_reply, read_text_stream
from tests.support.cuts import cut_at, cuts, places
from tests.support.providers.argo import DENIAL, MISBUILT

TEXTS = [
    "Hello",
    "Hello 世界 🌍, é",
    'data: {"choices": []}\n\ndata: [DONE]\n\n',
    '{"response": "text"}',
    "\n\n**bold** start",
    "IMPORTANT news",
    "⚠️ IMPORTANT AUTHENTICATION NOTICE FROM ARGO is what it said",
    "You passed the exam",
    "   ",
]


def said(pieces: list[bytes]) -> str:
    return "".join(read_text_stream(pieces, "replace"))


@pytest.mark.parametrize("text", TEXTS)
def test_any_cut_gives_the_same_text(text: str) -> None:
    for pieces in cuts(text.encode()):
        assert said(pieces) == text


@given(st.text(min_size=1), places)
def test_random_cuts(text: str, at: list[int]) -> None:
    data = text.encode("utf-8", "replace")
    assert said(cut_at(data, at)) == data.decode()


def test_bytes_that_are_no_text() -> None:
    assert said([b"a\xff", b"b\xe4"]) == "a\ufffdb\ufffd"
    raw = b"".join(
        text.encode("utf-8", "surrogateescape") for text in read_text_stream([b"a\xff", b"b\xe4"], "surrogateescape")
    )
    assert raw == b"a\xffb\xe4"


def test_silence_is_passed_on() -> None:
    assert list(read_text_stream([b"", b"a", b"", b"b"], "replace")) == ["", "a", "", "b"]


def test_a_usual_answer_is_not_held_back() -> None:
    assert list(read_text_stream([b"W", b"e", b"ll"], "replace")) == ["W", "e", "ll"]


@pytest.mark.parametrize(("text", "status"), [(DENIAL, 403), (MISBUILT, 400)])
def test_a_refusal_is_an_error_in_every_cut(text: str, status: int) -> None:
    for pieces in cuts(text.encode()):
        with pytest.raises(UpstreamStatus) as caught:
            said(pieces)
        assert caught.value.status == status
    with pytest.raises(UpstreamStatus) as caught:
        parse_reply(dumps({"response": text}), "id")
    assert caught.value.status == status
    error = loads(caught.value.body)["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"].startswith("The Argo gateway refused: ")


def test_what_the_notice_says_is_told_without_its_ornaments_and_addresses() -> None:
    with pytest.raises(UpstreamStatus) as caught:
        said([f"{DENIAL} See https://help.example/x".encode()])
    message = loads(caught.value.body)["error"]["message"]
    assert "The username 'blocked' could not be validated" in message
    assert "*" not in message
    assert "help.example" not in message


def test_what_begins_like_a_refusal_is_held_back_for_a_while_only() -> None:
    long = "AUTHENTICATION NOTICE FROM ARGO" + " x" * MAX_HELD_BACK
    assert list(read_text_stream([long.encode(), b"more"], "replace")) == [long, "more"]


def broken_after(*pieces: bytes) -> Iterator[bytes]:
    yield from pieces
    raise UpstreamProtocolError("broke")


def test_what_was_said_before_a_break_is_given_first() -> None:
    texts = read_text_stream(broken_after(b"Hello", b"\xe4"), "replace")
    assert [next(texts), next(texts)] == ["Hello", "\ufffd"]
    with pytest.raises(UpstreamProtocolError, match="broke"):
        next(texts)
    held = read_text_stream(broken_after(b"\n\nAUTH"), "replace")
    assert next(held) == "\n\nAUTH"


@pytest.mark.parametrize("pieces", [[], [b""]])
def test_an_empty_stream_is_no_answer(pieces: list[bytes]) -> None:
    with pytest.raises(UpstreamProtocolError, match="contains no answer"):
        said(pieces)


CALL = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        ({"response": "Hello"}, Answer("Hello", [])),
        ({"response": ""}, Answer("", [])),
        ({"response": {"content": "Hello", "tool_calls": None}}, Answer("Hello", [])),
        ({"response": {"content": None, "tool_calls": [CALL]}}, Answer("", [CALL])),
        ({"response": {"content": "x", "tool_calls": [CALL]}}, Answer("x", [CALL])),
    ],
)
def test_answers(reply: Any, answer: Answer) -> None:
    assert parse_reply(dumps(reply), "id") == answer


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"", "not a JSON object"),
        (b"<html>", "not a JSON object"),
        (b"[]", "not a JSON object"),
        (b"{}", "contains no answer"),
        (b'{"response": null}', "contains no answer"),
        (b'{"response": 5}', "no answer"),
        (b'{"response": {}}', "no answer"),
        (b'{"response": {"content": null, "tool_calls": []}}', "no answer"),
        (b'{"detail": "too busy"}', "no answer: too busy"),
        (b'{"detail": [{"msg": "odd"}]}', r'no answer: \[\{"msg":"odd"\}\]'),
    ],
)
def test_replies_without_an_answer(body: bytes, told: str) -> None:
    with pytest.raises(UpstreamProtocolError, match=told):
        parse_reply(body, "id")
