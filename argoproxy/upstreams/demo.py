"""The embedded demo: a small model that thinks aloud and answers word by word, with no key and no network.

It speaks OpenAI's dialect to the rest of the house. Its requests go to `demo:`, where the transport plays the
script that `perform` writes; pauses are data here, so that this room needs no clock.
"""

from __future__ import annotations

import hashlib
import math
import re
import struct
from base64 import b64encode
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from argoproxy.errors import BadRequest, NotFound, ProxyError, to_openai
from argoproxy.protocol.http_messages import ClientRequest, Headers
from argoproxy.protocol.json_text import Json, JsonError, as_dict, as_text, dumps, loads
from argoproxy.protocol.stream.chunks import split_completion
from argoproxy.protocol.stream.sse import DONE, Event
from argoproxy.upstreams import UpstreamRequest
from argoproxy.upstreams.base import SERVED_PATHS, refuse_path
from argoproxy.upstreams.base_url import BaseUrl
from argoproxy.upstreams.openai import OpenAIUpstream

MODEL = "demo"
SCHEME = "demo:"
CREATED = 1_790_000_000
DIMENSIONS = 64
PAUSE_S = 0.04

_WORD = re.compile(r"(?<!\s)\s*\S+")
_QUOTED_CHARACTERS = 300
_MOST_CHOICES = 8
_MOST_DIMENSIONS = 4096
_JSON = (("Content-Type", "application/json"),)
_EVENTS = (("Content-Type", "text/event-stream; charset=utf-8"),)


@dataclass(frozen=True, slots=True)
class Script:
    """A reply to play: pieces of the body, each with the seconds to wait before it."""

    status: int
    headers: Headers
    steps: Iterable[tuple[float, bytes]]


class Demo(OpenAIUpstream):
    """The upstream behind `--demo`; nothing stands behind other paths than ours."""

    def __init__(self, name: str = MODEL) -> None:
        super().__init__(base=BaseUrl(root=SCHEME, query="", stands_for_v1=False), name=name, served_paths=SERVED_PATHS)

    def forward_request(self, request: ClientRequest) -> UpstreamRequest:
        """Refuse: there is nothing to pass a request on to."""
        refuse_path(request, self.served_paths)


def perform(path: str, body: bytes) -> Script:
    """Write the reply of the demo model to a request for a path under `/v1`."""
    try:
        if path.startswith("/v1/models"):
            return _whole(_models(path.removeprefix("/v1/models").strip("/")))
        asked = _asked(body)
        if path == "/v1/embeddings":
            return _whole(_embeddings(asked))
        document = _chat(asked) if path == "/v1/chat/completions" else _completion(asked)
        return Script(200, _EVENTS, _spoken(document, asked)) if asked.get("stream") is True else _whole(document)
    except ProxyError as error:
        return Script(error.status, _JSON, [(0.0, dumps(to_openai(error)))])


def _asked(body: bytes) -> Json:
    try:
        asked = loads(body)
    except JsonError as error:
        raise BadRequest(f"The request body is not valid JSON: {error}.") from None
    return as_dict(asked)


def _models(name: str) -> Json:
    entry = {"id": MODEL, "object": "model", "created": CREATED, "owned_by": "argoproxy"}
    if name not in ("", MODEL):
        raise NotFound(f"The demo has one model, {MODEL!r}.", param="model", code="model_not_found")
    return entry if name else {"object": "list", "data": [entry]}


def _chat(asked: Json) -> Json:
    messages = asked.get("messages")
    if not isinstance(messages, list) or not messages:
        raise BadRequest("`messages` must be a list of at least one message.", param="messages")
    said = next((_text(turn.get("content")) for turn in reversed(messages) if _is_of_the_user(turn)), "")
    document = _answer(said, asked, "chat.completion")
    for choice in document["choices"]:
        choice["message"] = {"role": "assistant", "content": choice.pop("text"), "refusal": None}
    return document


def _completion(asked: Json) -> Json:
    return _answer(_text(asked.get("prompt")), asked, "text_completion")


def _answer(said: str, asked: Json, kind: str) -> Json:
    words = _WORD.findall(
        "Hello! I am the demo model inside this proxy: no key, no network. "
        f"You wrote: {said[:_QUOTED_CHARACTERS]!r}. "
        "Point the proxy at a real endpoint and everything else stays as it is."
    )
    most = _count(asked.get("max_completion_tokens") or asked.get("max_tokens"), len(words), len(words))
    thought = f"<think>The user wrote {len(said.split())} words; a short answer will do.</think>\n\n"
    choice = {
        "text": thought + "".join(words[:most]),
        "logprobs": None,
        "finish_reason": "length" if most < len(words) else "stop",
    }
    choices = [{"index": index, **choice} for index in range(_count(asked.get("n"), 1, _MOST_CHOICES))]
    return {
        "id": "demo-" + hashlib.sha256(said.encode("utf-8", "replace")).hexdigest()[:24],
        "object": kind,
        "created": CREATED,
        "model": MODEL,
        "choices": choices,
        "usage": _usage(len(said.split()), len(choices) * (len(thought.split()) + most)),
    }


def _spoken(document: Json, asked: Json) -> Iterator[tuple[float, bytes]]:
    """Give a completion as a stream: a pause before each word."""
    options = asked.get("stream_options")
    include_usage = isinstance(options, dict) and options.get("include_usage") is True
    for chunk in split_completion(document):
        if not chunk["choices"] and not include_usage:
            continue
        for part in _word_by_word(chunk):
            yield PAUSE_S, Event.of(part).raw
    yield 0.0, DONE.raw


def _word_by_word(chunk: Json) -> Iterator[Json]:
    choice = chunk["choices"][0] if chunk["choices"] else {}
    text = choice.get("text") or choice.get("delta", {}).get("content")
    if not text:
        yield chunk
        return
    for word in _WORD.findall(text):
        piece = {"text": word} if "text" in choice else {"delta": {"content": word}}
        yield {**chunk, "choices": [{**choice, **piece}]}


def _embeddings(asked: Json) -> Json:
    given = asked.get("input")
    texts = given if isinstance(given, list) and given and not isinstance(given[0], int) else [given]
    size = _count(asked.get("dimensions"), DIMENSIONS, _MOST_DIMENSIONS)
    vectors = [_vector(text, size) for text in texts]
    if asked.get("encoding_format") == "base64":
        encoded: list[Any] = [b64encode(struct.pack(f"<{size}f", *vector)).decode() for vector in vectors]
    else:
        encoded = list(vectors)
    data = [{"object": "embedding", "index": index, "embedding": vector} for index, vector in enumerate(encoded)]
    tokens = sum(len(_text(text).split()) or 1 for text in texts)
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "data": data, "model": MODEL, "usage": usage}


def _vector(value: Any, size: int) -> list[float]:
    """Give a unit vector that only the text decides."""
    seed = hashlib.shake_256(dumps(value)).digest(2 * size)
    numbers = [number - 32768.0 for number in struct.unpack(f"<{size}H", seed)]
    length = math.sqrt(sum(number * number for number in numbers)) or 1.0
    return [number / length for number in numbers]


def _whole(document: Json) -> Script:
    return Script(200, _JSON, [(PAUSE_S, dumps(document))])


def _usage(prompt: int, completion: int) -> Json:
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def _is_of_the_user(turn: Any) -> bool:
    return isinstance(turn, dict) and turn.get("role") == "user"


def _text(content: Any) -> str:
    if isinstance(content, list):
        parts = (part.get("text") if isinstance(part, dict) else part for part in content)
        return " ".join(part for part in parts if isinstance(part, str))
    return as_text(content)


def _count(value: Any, usual: int, most: int) -> int:
    is_count = isinstance(value, int) and not isinstance(value, bool) and value > 0
    return min(value, most) if is_count else usual
