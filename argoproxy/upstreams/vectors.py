"""Vectors as OpenAI's clients want them, for upstreams that give bare numbers."""

from __future__ import annotations

import struct
from base64 import b64encode
from collections.abc import Sequence
from typing import Any

from argoproxy.errors import BadRequest
from argoproxy.protocol.json_text import Json

#: What a 32-bit float can hold.
_LARGEST = 3.4028234e38
_ENCODINGS = (None, "float", "base64")


def check_encoding(body: Json) -> None:
    """See that vectors can be written as a request for embeddings asks. Raises BadRequest."""
    if body.get("encoding_format") not in _ENCODINGS:
        raise BadRequest("`encoding_format` must be `float` or `base64`.", param="encoding_format")


def is_vector(value: Any) -> bool:
    """Tell whether a value is a list of numbers that 32-bit floats can hold."""
    return isinstance(value, list) and all(
        isinstance(number, int | float) and -_LARGEST <= number <= _LARGEST for number in value
    )


def entries(vectors: Sequence[list[float]], body: Json) -> list[Json]:
    """Give the `data` of OpenAI's list, each vector written as the request asks."""
    written: Sequence[Any] = [_base64(vector) for vector in vectors] if _wants_base64(body) else vectors
    return [{"object": "embedding", "index": index, "embedding": vector} for index, vector in enumerate(written)]


def _wants_base64(body: Json) -> bool:
    return body.get("encoding_format") == "base64"


def _base64(vector: list[float]) -> str:
    """Write a vector as OpenAI does: 32-bit floats, little end first."""
    return b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
