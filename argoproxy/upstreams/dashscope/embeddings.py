"""Embeddings: the texts in rows as many as a model takes, DashScope's vectors as OpenAI's clients want them.

`{"input": {"texts": […]}}` is answered by `{"output": {"embeddings": [{"text_index", "embedding"}]}, "usage"}`. Source:
"Text embedding", Alibaba Cloud Model Studio, September 2026.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from argoproxy.errors import BadRequest, UpstreamProtocolError
from argoproxy.protocol.json_text import Json, as_dicts
from argoproxy.protocol.stream.chunks import choice_index
from argoproxy.protocol.stream.sse import Document
from argoproxy.upstreams.dashscope.refusals import check
from argoproxy.upstreams.dashscope.tokens import usage_of
from argoproxy.upstreams.vectors import check_encoding, entries, is_vector

#: Texts in one request: of these models, and of all others.
ROWS: Mapping[str, int] = {"text-embedding-v1": 25, "text-embedding-v2": 25}
USUAL_ROWS = 10


def batches_of(body: Json, model: str) -> list[list[str]]:
    """Give the texts to embed in batches. Raises BadRequest for what can't be embedded as it was asked."""
    texts = _texts(body)
    check_encoding(body)
    rows = ROWS.get(model, USUAL_ROWS)
    return [texts[at : at + rows] for at in range(0, len(texts), rows)]


def joined(bodies: Sequence[bytes], batches: Sequence[Sequence[str]], body: Json, model: str) -> Document:
    """Join the replies to all batches. Raises ProxyError."""
    replies = [Document(reply).chunk for reply in bodies]
    vectors = [vector for told, batch in zip(replies, batches, strict=True) for vector in _vectors(told, len(batch))]
    tokens = sum(usage_of(told.get("usage")).get("total_tokens", 0) for told in replies)
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return Document.of({"object": "list", "data": entries(vectors, body), "model": model, "usage": usage})


def _texts(body: Json) -> list[str]:
    given = body.get("input")
    texts: list[Any] = given if isinstance(given, list) else [given]
    if not texts or not all(isinstance(text, str) for text in texts):
        raise BadRequest("`input` must be a string or a list of strings; DashScope takes no tokens.", param="input")
    return texts


def _vectors(told: Json, count: int) -> list[list[float]]:
    """Give the vectors of one batch in the order of its texts. Raises ProxyError."""
    check(told)
    output = told.get("output")
    items = output.get("embeddings") if isinstance(output, dict) else None
    rows = as_dicts(items)
    placed = {
        choice_index({"index": row.get("text_index")}, place): row.get("embedding") for place, row in enumerate(rows)
    }
    vectors = [placed.get(place) for place in range(count)]
    if not all(map(is_vector, vectors)):
        raise UpstreamProtocolError("The upstream's reply does not hold an embedding of each text.")
    return [vector for vector in vectors if vector is not None]
