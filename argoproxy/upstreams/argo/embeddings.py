"""Embeddings: split the texts into requests of the size that the gateway accepts, and join the replies.

The reply to `{"prompt": […]}` is `{"embedding": [vector, …]}`, without usage. The gateway supports neither `dimensions`
nor `encoding_format`. Source: "Argo API Documentation", 20 October 2025.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from argoproxy.errors import BadRequest, UpstreamProtocolError
from argoproxy.protocol.json_text import Json
from argoproxy.upstreams.argo.completions import estimate_tokens
from argoproxy.upstreams.error_replies import loads_or_none
from argoproxy.upstreams.vectors import check_encoding, is_vector, make_entries, read_texts

#: The most texts in one request.
BATCH_SIZE = 16

#: Vectors of these models keep their meaning when they are shortened (OpenAI, "New embedding models", 25 January 2024).
_CAN_BE_SHORTENED = "v3"


def split_texts(body: Json, model_id: str) -> Iterator[list[str]]:
    """Yield the texts of a request in batches. Raises BadRequest for an input, encoding or number of dimensions that is
    not supported."""
    texts, dimensions = _read_texts(body), body.get("dimensions")
    if dimensions is not None and not (model_id.startswith(_CAN_BE_SHORTENED) and _is_count(dimensions)):
        raise BadRequest("This model does not support `dimensions`.", param="dimensions")
    check_encoding(body)
    yield from (texts[at : at + BATCH_SIZE] for at in range(0, len(texts), BATCH_SIZE))


def join_replies(bodies: Sequence[bytes], body: Json, model: str) -> Json:
    """Join the replies to all batches into OpenAI's list. Raises UpstreamProtocolError, and BadRequest for more
    dimensions than the vectors have."""
    texts = _read_texts(body)
    vectors = [vector for reply in bodies for vector in _read_vectors(reply)]
    if len(vectors) != len(texts):
        raise UpstreamProtocolError(f"The Argo gateway returned {len(vectors)} embeddings for {len(texts)} texts.")
    if dimensions := body.get("dimensions"):
        vectors = [_shorten(vector, dimensions) for vector in vectors]
    tokens = sum(map(estimate_tokens, texts))
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "data": make_entries(vectors, body), "model": model, "usage": usage}


def _read_texts(body: Json) -> list[str]:
    return read_texts(body.get("input", body.get("prompt")), "the Argo gateway")


def _read_vectors(body: bytes) -> list[list[float]]:
    document = loads_or_none(body)
    vectors = document.get("embedding") if isinstance(document, dict) else None
    if not isinstance(vectors, list) or not all(map(is_vector, vectors)):
        raise UpstreamProtocolError("The Argo gateway's reply contains no embeddings.")
    return vectors


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _shorten(vector: list[float], dimensions: int) -> list[float]:
    """Return the first dimensions of a vector, scaled to unit length. Raises BadRequest if it has fewer."""
    if len(vector) < dimensions:
        raise BadRequest(f"This model's embeddings have only {len(vector)} dimensions.", param="dimensions")
    length = math.hypot(*vector[:dimensions]) or 1.0
    return [number / length for number in vector[:dimensions]]
