from __future__ import annotations

import base64
import struct
from typing import Any

import pytest

from argoproxy.errors import BadRequest, UpstreamProtocolError, UpstreamStatus
from argoproxy.protocol.json_text import dumps
from argoproxy.upstreams.dashscope.embeddings import join_replies, split_texts

Json = dict[str, Any]


@pytest.mark.parametrize(
    ("model", "given", "sizes"),
    [
        ("text-embedding-v4", "one", [1]),
        ("text-embedding-v4", ["x"] * 10, [10]),
        ("text-embedding-v3", ["x"] * 21, [10, 10, 1]),
        ("text-embedding-v2", ["x"] * 26, [25, 1]),
        ("text-embedding-v1", ["x"] * 25, [25]),
        ("another", ["x"] * 11, [10, 1]),
    ],
)
def test_texts_go_up_in_rows(model: str, given: Any, sizes: list[int]) -> None:
    found = split_texts({"input": given}, model)
    assert [len(batch) for batch in found] == sizes
    assert [text for batch in found for text in batch] == (given if isinstance(given, list) else [given])


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "input"),
        ({"input": []}, "input"),
        ({"input": [1, 2]}, "input"),
        ({"input": [[1, 2]]}, "input"),
        ({"input": ["a", 1]}, "input"),
        ({"input": "a", "encoding_format": "hex"}, "encoding_format"),
    ],
)
def test_what_is_refused(body: Json, param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        split_texts(body, "m")
    assert caught.value.param == param


def reply(*rows: Any, **usage: int) -> bytes:
    return dumps({"output": {"embeddings": list(rows)}, "usage": usage, "request_id": "r"})


def row(index: int, *vector: float) -> Json:
    return {"text_index": index, "embedding": list(vector)}


def test_rows_are_joined_in_the_order_of_their_texts() -> None:
    bodies = [reply(row(1, 3, 4), row(0, 1, 2), total_tokens=5), reply({"embedding": [5, 6]}, total_tokens=2)]
    assert join_replies(bodies, [["a", "b"], ["c"]], {}, "m").chunk == {
        "object": "list",
        "data": [
            {"object": "embedding", "index": 0, "embedding": [1, 2]},
            {"object": "embedding", "index": 1, "embedding": [3, 4]},
            {"object": "embedding", "index": 2, "embedding": [5, 6]},
        ],
        "model": "m",
        "usage": {"prompt_tokens": 7, "total_tokens": 7},
    }


@pytest.mark.parametrize("index", [[0], {}, "0", None])
def test_an_odd_index_is_taken_for_the_place(index: Any) -> None:
    told = join_replies([reply({"text_index": index, "embedding": [1]}, row(1, 2))], [["a", "b"]], {}, "m").chunk
    assert [entry["embedding"] for entry in told["data"]] == [[1], [2]]


def test_base64_is_little_endian_floats() -> None:
    document = join_replies([reply(row(0, 0.5, -2.25))], [["a"]], {"encoding_format": "base64"}, "m").chunk
    assert struct.unpack("<2f", base64.b64decode(document["data"][0]["embedding"])) == (0.5, -2.25)
    assert document["usage"] == {"prompt_tokens": 0, "total_tokens": 0}


@pytest.mark.parametrize(
    "body",
    [
        b"<html>",
        b"{}",
        b'{"output": {}}',
        b'{"output": {"embeddings": ["x"]}}',
        reply(),
        reply(row(1, 2.0)),
        reply({"text_index": 0, "embedding": ["a"]}),
    ],
)
def test_replies_without_embeddings(body: bytes) -> None:
    with pytest.raises(UpstreamProtocolError):
        join_replies([body], [["a"]], {}, "m")


def test_an_error_under_a_status_of_success() -> None:
    with pytest.raises(UpstreamStatus) as caught:
        join_replies([dumps({"code": "Throttling", "message": "x"})], [["a"]], {}, "m")
    assert caught.value.status == 429
