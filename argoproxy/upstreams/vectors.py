"""Read the texts of an embeddings request and write vectors as OpenAI does, for upstreams with their own format."""

from __future__ import annotations

import struct
from base64 import b64encode
from collections.abc import Sequence
from typing import Any

from argoproxy.errors import BadRequest
from argoproxy.protocol.json_text import Json

#: The largest 32-bit float.
_MAX_FLOAT32 = 3.4028234e38
_ENCODINGS = (None, "float", "base64")


def check_encoding(body: Json) -> None:
    """Raise BadRequest if a request wants an encoding that does not exist."""
    if body.get("encoding_format") not in _ENCODINGS:
        raise BadRequest("`encoding_format` must be `float` or `base64`.", param="encoding_format")


def read_texts(value: Any, server: str) -> list[str]:
    """Return the texts of an `input`. Raises BadRequest for anything but strings: lists of tokens need OpenAI's
    tokenizer."""
    texts: list[Any] = value if isinstance(value, list) else [value]
    if not texts or not all(isinstance(text, str) for text in texts):
        raise BadRequest(
            f"`input` must be a string or a list of strings; {server} does not accept tokens.", param="input"
        )
    return texts


def is_vector(value: Any) -> bool:
    """Tell whether a value is a list of numbers in the range of 32-bit floats."""
    return isinstance(value, list) and all(
        isinstance(number, int | float) and -_MAX_FLOAT32 <= number <= _MAX_FLOAT32 for number in value
    )


def make_entries(vectors: Sequence[list[float]], body: Json) -> list[Json]:
    """Return the `data` of OpenAI's list, the vectors in the encoding of the request."""
    wants_base64 = body.get("encoding_format") == "base64"
    embeddings: Sequence[Any] = [_to_base64(vector) for vector in vectors] if wants_base64 else vectors
    return [{"object": "embedding", "index": index, "embedding": item} for index, item in enumerate(embeddings)]


def _to_base64(vector: list[float]) -> str:
    """Return a vector as OpenAI encodes it: 32-bit floats, little-endian."""
    return b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
