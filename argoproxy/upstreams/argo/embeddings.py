"""Embeddings: the texts in batches the gateway takes, its vectors as OpenAI's clients want them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from argoproxy.errors import BadRequest, UpstreamProtocolError
from argoproxy.protocol.json_text import Json
from argoproxy.upstreams.argo.token_estimate import estimated_tokens
from argoproxy.upstreams.error_replies import loads_or_none
from argoproxy.upstreams.vectors import check_encoding, entries, is_vector

#: Texts the gateway takes in one request.
BATCH = 16

#: Vectors of these models stay good when they are cut short (OpenAI, "New embedding models", 25 January 2024).
_TO_BE_CUT = "v3"


def batches_of(body: Json, model_id: str) -> Iterator[list[str]]:
    """Give the texts to embed in batches. Raises BadRequest for what can't be embedded as it was asked."""
    texts, dimensions = _texts(body), body.get("dimensions")
    if dimensions is not None and not (model_id.startswith(_TO_BE_CUT) and _is_count(dimensions)):
        raise BadRequest("This model's embeddings can't be given in these dimensions.", param="dimensions")
    check_encoding(body)
    yield from (texts[at : at + BATCH] for at in range(0, len(texts), BATCH))


def joined(bodies: Sequence[bytes], body: Json, model: str) -> Json:
    """Join the replies to all batches. Raises UpstreamProtocolError, BadRequest for too many dimensions."""
    texts = _texts(body)
    vectors = [vector for reply in bodies for vector in _vectors(reply)]
    if len(vectors) != len(texts):
        raise UpstreamProtocolError(f"The Argo gateway gave {len(vectors)} embeddings for {len(texts)} texts.")
    if dimensions := body.get("dimensions"):
        vectors = [_cut(vector, dimensions) for vector in vectors]
    tokens = sum(map(estimated_tokens, texts))
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "data": entries(vectors, body), "model": model, "usage": usage}


def _texts(body: Json) -> list[str]:
    given = body.get("input", body.get("prompt"))
    texts: list[Any] = given if isinstance(given, list) else [given]
    if not texts or not all(isinstance(text, str) for text in texts):
        raise BadRequest("`input` must be a string or a list of strings; this gateway takes no tokens.", param="input")
    return texts


def _vectors(body: bytes) -> list[list[float]]:
    document = loads_or_none(body)
    vectors = document.get("embedding") if isinstance(document, dict) else None
    if not isinstance(vectors, list) or not all(map(is_vector, vectors)):
        raise UpstreamProtocolError("The Argo gateway's reply holds no embeddings.")
    return vectors


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _cut(vector: list[float], dimensions: int) -> list[float]:
    """Cut a vector short and make it a unit vector again."""
    if len(vector) < dimensions:
        raise BadRequest(f"This model's embeddings have {len(vector)} dimensions.", param="dimensions")
    length = math.hypot(*vector[:dimensions]) or 1.0
    return [number / length for number in vector[:dimensions]]
