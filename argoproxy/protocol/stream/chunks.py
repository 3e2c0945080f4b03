"""The chunks of a completion, and a whole completion split into them (OpenAI API reference, chat and legacy).

`split_completion` is the inverse of `assembly.assemble_completion`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from argoproxy.protocol.json_text import Json, as_dict, as_dicts, as_list

CHAT, CHAT_CHUNK = "chat.completion", "chat.completion.chunk"

#: Top-level fields that every chunk of a stream repeats.
REPEATED = ("id", "object", "created", "model", "system_fingerprint", "service_tier")

#: Strings that are sent whole, not in pieces. Servers that repeat them in every delta mean the same value.
ATOMIC_STRINGS = frozenset(("role", "name", "id", "type"))

#: Longer strings are not repeated in every chunk: a document of a megabyte must not become a stream of gigabytes.
_LONGEST_REPEATED = 1000


def is_completion(document: Json) -> bool:
    """Return whether a document has the choices of a completion."""
    choices = document.get("choices")
    return isinstance(choices, list) and all(isinstance(choice, dict) for choice in choices)


def choice_index(choice: Json, position: int) -> int:
    """Return the index of a choice: its position in the list if it has none."""
    index = choice.get("index")
    return index if isinstance(index, int) else position


def iterate_choices(choices: Any) -> Iterator[tuple[int, Json]]:
    """Yield the choices of a chunk, each with its index. Values of another type are skipped."""
    for position, choice in enumerate(as_list(choices)):
        if isinstance(choice, dict):
            yield choice_index(choice, position), choice


def split_completion(document: Json) -> Iterator[Json]:
    """Turn a completion into the chunks of a stream; usage comes last, in a chunk without choices."""
    repeated = {key: document[key] for key in REPEATED if key in document and _is_short(document[key])}
    if repeated.get("object") == CHAT:
        repeated["object"] = CHAT_CHUNK
    once = {key: value for key, value in document.items() if key not in (*repeated, "choices", "usage")}
    if document.get("usage", ...) is None:
        once["usage"] = None
    for index, choice in iterate_choices(document["choices"]):
        for part in _split_choice(choice):
            yield {**repeated, **once, "choices": [{"index": index, **part}]}
            once = {}
    if once or not document["choices"]:
        yield {**repeated, **once, "choices": []}
    if document.get("usage") is not None:
        yield {**repeated, "choices": [], "usage": document["usage"]}


def _is_short(value: Any) -> bool:
    return len(value) <= _LONGEST_REPEATED if isinstance(value, str) else not isinstance(value, dict | list)


def _split_choice(choice: Json) -> Iterator[Json]:
    """Yield the parts of a choice: logprobs beside the text they belong to, other fields with the finish reason."""
    last = {key: value for key, value in choice.items() if key not in ("index", "message")}
    no_logprobs: Json = {"logprobs": None} if "logprobs" in choice else {}
    if "message" not in choice:
        last.pop("text", None)
        if choice.get("text"):
            logprobs = {"logprobs": last["logprobs"]} if no_logprobs else {}
            yield {"text": choice["text"], **logprobs, "finish_reason": None}
            last.update(no_logprobs)
        yield {"text": "", "finish_reason": None, **last}
        return
    for delta in _split_message(as_dict(choice["message"])):
        has_text = bool(delta.get("content")) and no_logprobs
        yield {"delta": delta, **({"logprobs": last["logprobs"]} if has_text else no_logprobs), "finish_reason": None}
        if has_text:
            last.update(no_logprobs)
    yield {"delta": {}, "finish_reason": None, **last}


def _split_message(message: Json) -> Iterator[Json]:
    """Yield the deltas of a message: the role and what is no text first, then texts with content last, then calls."""
    texts = [key for key, value in message.items() if isinstance(value, str) and value and key not in ATOMIC_STRINGS]
    calls = as_dicts(message.get("tool_calls"))
    first = {key: "" if key in texts else value for key, value in message.items()}
    if calls:
        del first["tool_calls"]
    yield first
    for key in sorted(texts, key=lambda key: key == "content"):
        yield {key: message[key]}
    for index, call in enumerate(calls):
        yield {"tool_calls": [{**call, "index": index}]}
