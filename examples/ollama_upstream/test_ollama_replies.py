"""Replies become chunks, however they are cut. Lists of bytes are enough: reading does no I/O."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ollama_replies import read_replies

from argoproxy.api import (
    DONE,
    BytesBody,
    Call,
    ClientRequest,
    Json,
    ProxyError,
    UpstreamProtocolError,
    UpstreamStatus,
    assemble_completion,
    make_call,
)

CHAT = "/v1/chat/completions"


def call(**body: Any) -> Call:
    request = ClientRequest("id", 7, "POST", CHAT, "", (), BytesBody(b""))
    return make_call(request, {"model": "llama", "messages": [], **body}, CHAT)


STREAM = call(stream=True, stream_options={"include_usage": True})


def line(message: Json, **fields: Any) -> bytes:
    return json.dumps({"model": "llama", "message": message, "done": False, **fields}).encode() + b"\n"


END = line({"role": "assistant", "content": ""}, done=True, done_reason="stop", prompt_eval_count=4, eval_count=2)
SAID = b"".join([line({"thinking": "Hm."}), line({"content": "Héllo"}), b"\n", line({"content": " you"}), END])
CALL = {"function": {"name": "weather", "arguments": {"city": "Paris"}}}


def read(pieces: list[bytes], asked: Call = STREAM) -> list[Any]:
    return [event if event is DONE else event.chunk for batch in read_replies(pieces, asked) for event in batch]


def test_a_stream_is_the_same_at_every_cut() -> None:
    whole = read([SAID])
    assert all(read([SAID[:cut], b"", SAID[cut:]]) == whole for cut in range(len(SAID)))
    *chunks, last = whole
    assert last is DONE
    assert [chunk["choices"][0]["delta"] for chunk in chunks if chunk["choices"]] == [
        {"role": "assistant", "reasoning_content": "Hm."},
        {"content": "Héllo"},
        {"content": " you"},
        {},
    ]
    completion = assemble_completion(chunks)
    assert completion["choices"][0]["finish_reason"] == "stop"
    assert completion["usage"] == {"prompt_tokens": 4, "completion_tokens": 2, "total_tokens": 6}


def test_a_piece_without_bytes_is_a_batch_without_events() -> None:
    assert [len(batch) for batch in read_replies([b"", END[:5], b"", END[5:]], STREAM)] == [0, 0, 0, 3, 0]


def test_a_whole_reply_is_read_as_a_stream_of_one_line() -> None:
    reply = line({"role": "assistant", "content": "Hello"}, done=True, done_reason="length", eval_count=1).rstrip()
    completion = assemble_completion(chunk for chunk in read([reply], call()) if chunk is not DONE)
    (choice,) = completion["choices"]
    assert (choice["message"]["content"], choice["finish_reason"]) == ("Hello", "length")
    assert completion["usage"]["total_tokens"] == 1


def test_calls_get_ids_and_their_arguments_become_text() -> None:
    first, second, *_ = read([line({"tool_calls": [CALL]}), line({"tool_calls": [{**CALL, "id": "own"}]}), END])
    (one,), (two,) = (chunk["choices"][0]["delta"]["tool_calls"] for chunk in (first, second))
    assert (one["index"], one["id"], one["function"]["name"]) == (0, "call_id_0", "weather")
    assert (two["index"], two["id"]) == (1, "own")
    assert json.loads(one["function"]["arguments"]) == {"city": "Paris"}
    assert read([line({"tool_calls": [CALL]}), END])[1]["choices"][0]["finish_reason"] == "tool_calls"


def test_what_comes_after_the_end_is_not_read() -> None:
    assert read([SAID + b"rubbish\n"]) == read([SAID])


def test_chunks_before_an_error_are_kept() -> None:
    batches = read_replies([line({"content": "Hel"}) + b'{"error": "out of memory"}\n'], STREAM)
    assert len(next(batches)) == 1
    with pytest.raises(UpstreamStatus) as raised:
        next(batches)
    assert raised.value.status == 502
    assert json.loads(raised.value.body)["error"]["message"] == "out of memory"


@pytest.mark.parametrize("text", [b"rubbish\n", b"[1]\n", b'{"half'])
def test_what_is_not_a_reply_is_an_error(text: bytes) -> None:
    with pytest.raises(UpstreamProtocolError):
        read([text])


@pytest.mark.parametrize(
    "message",
    [None, "x", {"content": 1, "thinking": []}, {"tool_calls": "x"}, {"tool_calls": [1]}, {"tool_calls": [{}]}],
)
def test_odd_values_do_no_harm(message: Any) -> None:
    try:
        assert read([line(message, prompt_eval_count="x"), END])[-1] is DONE
    except ProxyError:
        pytest.fail("a value of an odd type is left out")
