"""The embedded demo: a small model that shows its reasoning and answers word by word, with no key and no network.

It is an OpenAI upstream whose requests go to `demo:`. For that scheme the transport sends what `make_script` returns.
Pauses are data in the script, because this package must not use a clock.
"""

from __future__ import annotations

import hashlib
import math
import re
import struct
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
from argoproxy.upstreams.vectors import make_entries

MODEL = "demo"
SCHEME = "demo:"
CREATED = 1_790_000_000
DIMENSIONS = 64
PAUSE_S = 0.04

_WORD = re.compile(r"(?<!\s)\s*\S+")
_QUOTED_CHARACTERS = 300
_MAX_CHOICES = 8
_MAX_DIMENSIONS = 4096
_JSON_HEADERS = (("Content-Type", "application/json"),)
_STREAM_HEADERS = (("Content-Type", "text/event-stream; charset=utf-8"),)


@dataclass(frozen=True, slots=True)
class Script:
    """A reply: pieces of its body, each with the seconds to wait before it is sent."""

    status: int
    headers: Headers
    steps: Iterable[tuple[float, bytes]]


class DemoUpstream(OpenAIUpstream):
    """The upstream of `--demo`."""

    def __init__(self, name: str = MODEL) -> None:
        super().__init__(base=BaseUrl(root=SCHEME, query="", stands_for_v1=False), name=name, served_paths=SERVED_PATHS)

    def forward_request(self, request: ClientRequest) -> UpstreamRequest:
        """Raise NotFound or MethodNotAllowed: there is no server to forward to."""
        refuse_path(request, self.served_paths)


def make_script(path: str, body: bytes) -> Script:
    """Return the demo model's reply to a request for a path below `/v1`."""
    try:
        if path.startswith("/v1/models"):
            return _whole(_make_model_list(path.removeprefix("/v1/models").strip("/")))
        fields = _parse(body)
        if path == "/v1/embeddings":
            return _whole(_make_embeddings(fields))
        document = _make_chat(fields) if path == "/v1/chat/completions" else _make_completion(fields)
        if fields.get("stream") is True:
            return Script(200, _STREAM_HEADERS, _make_stream(document, fields))
        return _whole(document)
    except ProxyError as error:
        return Script(error.status, _JSON_HEADERS, [(0.0, dumps(to_openai(error)))])


def _parse(body: bytes) -> Json:
    try:
        return as_dict(loads(body))
    except JsonError as error:
        raise BadRequest(f"The request body is not valid JSON: {error}.") from None


def _make_model_list(name: str) -> Json:
    entry = {"id": MODEL, "object": "model", "created": CREATED, "owned_by": "argoproxy"}
    if name not in ("", MODEL):
        raise NotFound(f"The demo has only the model {MODEL!r}.", param="model", code="model_not_found")
    return entry if name else {"object": "list", "data": [entry]}


def _make_chat(fields: Json) -> Json:
    messages = fields.get("messages")
    if not isinstance(messages, list) or not messages:
        raise BadRequest("`messages` must be a list of at least one message.", param="messages")
    prompt = next((_text(turn.get("content")) for turn in reversed(messages) if _is_from_user(turn)), "")
    document = _make_document(prompt, fields, "chat.completion")
    for choice in document["choices"]:
        choice["message"] = {"role": "assistant", "content": choice.pop("text"), "refusal": None}
    return document


def _make_completion(fields: Json) -> Json:
    return _make_document(_text(fields.get("prompt")), fields, "text_completion")


def _make_document(prompt: str, fields: Json, kind: str) -> Json:
    words = _WORD.findall(
        "Hello! I am the demo model inside this proxy: no key, no network. "
        f"You wrote: {prompt[:_QUOTED_CHARACTERS]!r}. "
        "Point the proxy at a real endpoint and everything else stays as it is."
    )
    limit = _count(fields.get("max_completion_tokens") or fields.get("max_tokens"), len(words), len(words))
    words_asked = len(prompt.split())
    reasoning = (
        f"<think>The user wrote {words_asked} word{'s' * (words_asked != 1)}; a short answer will do.</think>\n\n"
    )
    choice = {
        "text": reasoning + "".join(words[:limit]),
        "logprobs": None,
        "finish_reason": "length" if limit < len(words) else "stop",
    }
    choices = [{"index": index, **choice} for index in range(_count(fields.get("n"), 1, _MAX_CHOICES))]
    return {
        "id": "demo-" + hashlib.sha256(prompt.encode("utf-8", "replace")).hexdigest()[:24],
        "object": kind,
        "created": CREATED,
        "model": MODEL,
        "choices": choices,
        "usage": _make_usage(len(prompt.split()), len(choices) * (len(reasoning.split()) + limit)),
    }


def _make_stream(document: Json, fields: Json) -> Iterator[tuple[float, bytes]]:
    """Yield a completion as a stream, with a pause before each word."""
    options = fields.get("stream_options")
    include_usage = isinstance(options, dict) and options.get("include_usage") is True
    for chunk in split_completion(document):
        if not chunk["choices"] and not include_usage:
            continue
        for part in _split_words(chunk):
            yield PAUSE_S, Event.of(part).raw
    yield 0.0, DONE.raw


def _split_words(chunk: Json) -> Iterator[Json]:
    choice = chunk["choices"][0] if chunk["choices"] else {}
    text = choice.get("text") or choice.get("delta", {}).get("content")
    if not text:
        yield chunk
        return
    for word in _WORD.findall(text):
        piece = {"text": word} if "text" in choice else {"delta": {"content": word}}
        yield {**chunk, "choices": [{**choice, **piece}]}


def _make_embeddings(fields: Json) -> Json:
    value = fields.get("input")
    texts = value if isinstance(value, list) and value and not isinstance(value[0], int) else [value]
    size = _count(fields.get("dimensions"), DIMENSIONS, _MAX_DIMENSIONS)
    entries = make_entries([_make_vector(text, size) for text in texts], fields)
    tokens = sum(len(_text(text).split()) or 1 for text in texts)
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "data": entries, "model": MODEL, "usage": usage}


def _make_vector(value: Any, size: int) -> list[float]:
    """Return a unit vector that depends on the text alone."""
    seed = hashlib.shake_256(dumps(value)).digest(2 * size)
    numbers = [number - 32768.0 for number in struct.unpack(f"<{size}H", seed)]
    length = math.sqrt(sum(number * number for number in numbers)) or 1.0
    return [number / length for number in numbers]


def _whole(document: Json) -> Script:
    return Script(200, _JSON_HEADERS, [(PAUSE_S, dumps(document))])


def _make_usage(prompt: int, completion: int) -> Json:
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def _is_from_user(turn: Any) -> bool:
    return isinstance(turn, dict) and turn.get("role") == "user"


def _text(content: Any) -> str:
    if isinstance(content, list):
        parts = (part.get("text") if isinstance(part, dict) else part for part in content)
        return " ".join(part for part in parts if isinstance(part, str))
    return as_text(content)


def _count(value: Any, default: int, maximum: int) -> int:
    is_count = isinstance(value, int) and not isinstance(value, bool) and value > 0
    return min(value, maximum) if is_count else default
