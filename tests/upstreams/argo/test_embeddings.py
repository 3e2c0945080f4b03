from __future__ import annotations

import base64
import struct
from typing import Any

import pytest

from argoproxy.errors import BadRequest, UpstreamProtocolError
from argoproxy.protocol.json_text import dumps
from argoproxy.upstreams.argo.embeddings import join_replies, split_texts

Json = dict[str, Any]


@pytest.mark.parametrize(
    ("given", "sizes"),
    [("one", [1]), (["one"], [1]), (["x"] * 16, [16]), (["x"] * 17, [16, 1]), (["x"] * 40, [16, 16, 8]), ("", [1])],
)
def test_texts_go_up_in_batches(given: Any, sizes: list[int]) -> None:
    for key in ("input", "prompt"):
        found = list(split_texts({key: given}, "ada002"))
        assert [len(batch) for batch in found] == sizes
        assert [text for batch in found for text in batch] == (given if isinstance(given, list) else [given])


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "input"),
        ({"input": []}, "input"),
        ({"input": None}, "input"),
        ({"input": [1, 2]}, "input"),
        ({"input": [[1, 2]]}, "input"),
        ({"input": ["a", 1]}, "input"),
        ({"input": {"a": 1}}, "input"),
        ({"input": "a", "encoding_format": "hex"}, "encoding_format"),
        ({"input": "a", "dimensions": 0}, "dimensions"),
        ({"input": "a", "dimensions": True}, "dimensions"),
        ({"input": "a", "dimensions": "2"}, "dimensions"),
    ],
)
def test_what_is_refused(body: Json, param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        list(split_texts(body, "v3small"))
    assert caught.value.param == param


def test_old_models_have_the_dimensions_they_have() -> None:
    with pytest.raises(BadRequest, match="dimensions"):
        list(split_texts({"input": "a", "dimensions": 2}, "ada002"))


def reply(*vectors: list[float]) -> bytes:
    return dumps({"embedding": list(vectors)})


def test_batches_are_joined_in_order() -> None:
    document = join_replies([reply([1, 2], [3, 4]), reply([5, 6])], {"input": ["a", "b c", "d"]}, "argo:x")
    assert document == {
        "object": "list",
        "data": [
            {"object": "embedding", "index": 0, "embedding": [1, 2]},
            {"object": "embedding", "index": 1, "embedding": [3, 4]},
            {"object": "embedding", "index": 2, "embedding": [5, 6]},
        ],
        "model": "argo:x",
        "usage": {"prompt_tokens": 4, "total_tokens": 4},
    }


def test_base64_is_little_endian_floats() -> None:
    document = join_replies([reply([0.5, -2.25, 1e38])], {"input": "a", "encoding_format": "base64"}, "x")
    data = base64.b64decode(document["data"][0]["embedding"])
    assert struct.unpack("<3f", data) == (0.5, -2.25, pytest.approx(1e38))


def test_dimensions_cut_and_normalise() -> None:
    document = join_replies([reply([3, 4, 12], [0, 0, 1])], {"input": ["a", "b"], "dimensions": 2}, "x")
    assert [entry["embedding"] for entry in document["data"]] == [[0.6, 0.8], [0, 0]]
    with pytest.raises(BadRequest, match="3 dimensions"):
        join_replies([reply([3, 4, 12])], {"input": "a", "dimensions": 4}, "x")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b"{}",
        b'{"embedding": null}',
        b'{"embedding": [1]}',
        b'{"embedding": [["a"]]}',
        reply(),
        b'{"embedding": [[NaN]]}',
        b'{"embedding": [[Infinity]]}',
        b'{"embedding": [[1%b]]}' % (b"0" * 400),
    ],
)
def test_replies_without_embeddings(body: bytes) -> None:
    with pytest.raises(UpstreamProtocolError):
        join_replies([body], {"input": "a"}, "x")
