"""Embeddings: split the texts into requests of the size that DashScope accepts, and join the replies.

The reply to `{"input": {"texts": […]}}` is `{"output": {"embeddings": [{"text_index", "embedding"}]}, "usage"}`.
Source: "Text embedding", Alibaba Cloud Model Studio, September 2026.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from argoproxy.errors import UpstreamProtocolError
from argoproxy.protocol.json_text import Json, as_dicts
from argoproxy.protocol.stream.chunks import choice_index
from argoproxy.protocol.stream.sse import Document
from argoproxy.upstreams.dashscope.error_codes import check_reply
from argoproxy.upstreams.dashscope.replies import convert_usage
from argoproxy.upstreams.vectors import check_encoding, is_vector, make_entries, read_texts

#: The most texts in one request, for these models and for all others.
MODEL_BATCH_SIZES: Mapping[str, int] = {"text-embedding-v1": 25, "text-embedding-v2": 25}
BATCH_SIZE = 10


def split_texts(body: Json, model: str) -> list[list[str]]:
    """Return the texts of a request in batches. Raises BadRequest for an input or encoding that is not supported."""
    texts = read_texts(body.get("input"), "DashScope")
    check_encoding(body)
    size = MODEL_BATCH_SIZES.get(model, BATCH_SIZE)
    return [texts[at : at + size] for at in range(0, len(texts), size)]


def join_replies(bodies: Sequence[bytes], batches: Sequence[Sequence[str]], body: Json, model: str) -> Document:
    """Join the replies to all batches into OpenAI's list. Raises ProxyError."""
    replies = [Document(reply).chunk for reply in bodies]
    vectors = [
        vector for reply, batch in zip(replies, batches, strict=True) for vector in _read_vectors(reply, len(batch))
    ]
    tokens = sum(convert_usage(reply.get("usage")).get("total_tokens", 0) for reply in replies)
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return Document.of({"object": "list", "data": make_entries(vectors, body), "model": model, "usage": usage})


def _read_vectors(reply: Json, count: int) -> list[list[float]]:
    """Return the vectors of one batch in the order of its texts. Raises ProxyError."""
    check_reply(reply)
    output = reply.get("output")
    items = output.get("embeddings") if isinstance(output, dict) else None
    rows = as_dicts(items)
    placed = {
        choice_index({"index": row.get("text_index")}, place): row.get("embedding") for place, row in enumerate(rows)
    }
    vectors = [placed.get(place) for place in range(count)]
    if not all(map(is_vector, vectors)):
        raise UpstreamProtocolError("The upstream's reply does not contain an embedding for each text.")
    return [vector for vector in vectors if vector is not None]
