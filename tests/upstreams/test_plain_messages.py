from __future__ import annotations

import json

import pytest

from argoproxy.errors import UpstreamStatus
from argoproxy.upstreams.error_replies import LONGEST_MESSAGE, LONGEST_TEXT_BODY, error_from_reply, plain_message

KEPT = {
    "CUDA out of memory": "CUDA out of memory",
    "  model is\tloading \r\n\r\n please wait\nat worker 3\n": "model is loading please wait",
    "\ufeffno healthy upstream": "no healthy upstream",
    "upstream <b>timed</b> out<br/>": "upstream timed out",
    "tokens: 3 < 5 > 2": "tokens: 3 < 5 > 2",
    "over\x1b[2J\u202e \x07": "over\\u001b[2J\\u202e \\u0007",
    "过载": "过载",
    "dial tcp 10.0.0.1:8000: refused": "dial tcp …: refused",
    "can't reach http://vllm.internal:8000/v1?key=x now": "can't reach … now",
    "connect to vllm-0.svc:8000 failed, [::1]:80, fe80::1:2": "connect to … failed, …, …",
    "Rate limit: 20 in 60 s, retry at 12.5": "Rate limit: 20 in 60 s, retry at 12.5",
}
NONE = [
    "",
    " \n ",
    "<html><title>502</title>nginx at 10.0.0.1</html>",
    "<!DOCTYPE html>",
    '{"error": {"message": "cut sh',
    "[1, ",
    "data: words\n\n",
    'Traceback (most recent call last):\n  File "/app/x.py", line 1\n',
    "a" * (LONGEST_TEXT_BODY + 1),
    "a\0b",
]


@pytest.mark.parametrize(("body", "words"), KEPT.items())
def test_words_are_kept(body: str, words: str) -> None:
    assert plain_message(body.encode()) == words


@pytest.mark.parametrize("body", [*(text.encode() for text in NONE), b"\xff\xfe"])
def test_what_is_not_for_a_person_is_not(body: bytes) -> None:
    assert plain_message(body) == ""


def test_a_long_message_is_cut() -> None:
    words = plain_message(b"word " * 500)
    assert len(words) == LONGEST_MESSAGE
    assert words.endswith("…")


def test_words_become_the_message_of_an_error() -> None:
    for body in (b"CUDA out of memory\n", b'"CUDA out of memory"'):
        error = error_from_reply(503, (("Content-Type", "text/plain"),), body)
        assert isinstance(error, UpstreamStatus)
        assert error.status == 503
        told = json.loads(error.body)["error"]
        assert told == {"message": "CUDA out of memory", "type": "server_error", "param": None, "code": None}
