"""What a reasoning item holds for the next turn: `encrypted_content`, which clients send back as it is.

Nothing is stored between turns, so the thought itself travels: its text, and the `reasoning_details` in which an
upstream signs it. Gemini signs calls instead, in their `extra_content`, and refuses a call that comes back without it:
an item that holds this stands before its call. All is encoded, not encrypted: clients may read what they were sent.
Content that is not in this form comes from another server and can't be read.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from argoproxy.protocol.json_text import Json, JsonError, as_dict, as_dicts, as_text, loads_strict
from argoproxy.protocol.reasoning.makers import mark
from argoproxy.protocol.stream.sse import encode_json

_PREFIX = "argoproxy.1."
#: Strings that are sent in pieces; other values are sent once.
_TEXTS = frozenset(("text", "summary", "data", "signature"))


@dataclass(frozen=True, slots=True)
class Thought:
    """A thought: its text, the details with which an upstream can recognise it, the `extra_content` of the call that
    comes next."""

    text: str = ""
    details: Sequence[Json] = ()
    extra_content: Json = field(default_factory=dict)


def encode_thought(thought: Thought, model: str, maker: str = "") -> str:
    """Return the thought of a model as `encrypted_content`, with the mark of the upstream that made it."""
    document: Json = {"model": model, "text": thought.text, "details": mark(thought.details, maker)}
    if thought.extra_content:
        document["extra_content"] = mark([thought.extra_content], maker)[0]
    return _PREFIX + urlsafe_b64encode(encode_json(document)).decode()


def decode_thought(content: str, model: str) -> Thought | None:
    """Return the thought in an `encrypted_content`, None if it is not in this form. Of another model's only the text is
    left: the upstream would refuse the rest."""
    if not content.startswith(_PREFIX):
        return None
    try:
        document = loads_strict(urlsafe_b64decode(content.removeprefix(_PREFIX).encode()))
    except (JsonError, ValueError):
        return None
    if not isinstance(document, dict):
        return None
    text = as_text(document.get("text"))
    if document.get("model") != model:
        return Thought(text)
    return Thought(text, as_dicts(document.get("details")), as_dict(document.get("extra_content")))


def is_own_thought(item: Any) -> bool:
    """Return whether an input item holds a thought in this form."""
    return isinstance(item, dict) and as_text(item.get("encrypted_content")).startswith(_PREFIX)


class ThoughtDetails:
    """Joins the pieces of `reasoning_details` (OpenRouter, reasoning tokens): those with one index are one detail."""

    def __init__(self) -> None:
        self._details: dict[tuple[object, object], dict[str, list[object]]] = {}

    def add(self, details: Sequence[Json]) -> None:
        """Take pieces of details."""
        for piece in details:
            index = piece.get("index")
            key = (as_text(piece.get("type")), index) if isinstance(index, int) else (None, len(self._details))
            fields = self._details.setdefault(key, {})
            for name, value in piece.items():
                if name in _TEXTS and isinstance(value, str):
                    fields.setdefault(name, []).append(value)
                elif value is not None:
                    fields[name] = [value]

    def take(self) -> list[Json]:
        """Return the details, and begin anew."""
        details, self._details = self._details, {}
        return [{name: _join(values) for name, values in fields.items()} for fields in details.values()]


def _join(values: list[object]) -> object:
    return "".join(map(str, values)) if len(values) > 1 else values[0]
