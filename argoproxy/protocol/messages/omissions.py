"""What the chat that is made of a request does not hold: the places that the log names at debug level.

What would change the answer if it were left out is refused instead (`refusals`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from argoproxy.protocol.json_text import Json, as_dict, as_dicts, as_text
from argoproxy.protocol.messages.answers.signatures import is_ours
from argoproxy.protocol.messages.content_blocks import summarize_results
from argoproxy.protocol.messages.tool_fields import is_function

#: Types of blocks, and of each the fields that become a part of a chat.
_Kinds = Mapping[str, frozenset[str]]

_FIELDS = frozenset(
    "model max_tokens messages system tools tool_choice stream temperature top_p top_k stop_sequences metadata"
    " service_tier thinking output_config output_format".split()
)
#: Fields that hold others.
_INNER_FIELDS: _Kinds = {
    "metadata": frozenset(("user_id",)),
    "output_config": frozenset(("effort", "format")),
    "thinking": frozenset(("type", "budget_tokens")),
}
_MESSAGE = frozenset(("role", "content"))
_TOOL = frozenset(("type", "name", "description", "input_schema", "strict"))
_TEXT: _Kinds = {"text": frozenset(("type", "text"))}
_MEDIA: _Kinds = {
    **_TEXT,
    "image": frozenset(("type", "source")),
    "document": frozenset(("type", "source", "title", "context")),
    "search_result": frozenset(("type", "source", "title", "content")),
}
#: The blocks within others.
_INNER_BLOCKS: Mapping[str, _Kinds] = {
    "mid_conv_system": _TEXT,
    "search_result": _TEXT,
    "tool_result": {**_MEDIA, "tool_reference": frozenset(("type", "tool_name"))},
}
_ASSISTANT: _Kinds = {
    **_TEXT,
    "tool_use": frozenset(("type", "id", "name", "input")),
    "thinking": frozenset(("type", "thinking", "signature")),
    "redacted_thinking": frozenset(("type", "data")),
}
#: The blocks of a message, by its role.
_BLOCKS: Mapping[str, _Kinds] = {
    "system": _TEXT,
    "user": {
        **_MEDIA,
        "tool_result": frozenset(("type", "tool_use_id", "content", "is_error")),
        "mid_conv_system": frozenset(("type", "content")),
    },
    "assistant": _ASSISTANT,
}
_THOUGHTS = ("thinking", "redacted_thinking")


def find_omissions(body: Json) -> list[str]:
    """Return the places of all that is left out of the chat that is made of a request."""
    return list(_find_in_body(body))


def _find_in_body(body: Json) -> Iterator[str]:
    yield from _find_in_fields("", body, _FIELDS)
    for name, known in _INNER_FIELDS.items():
        yield from _find_in_fields(f"{name}.", as_dict(body.get(name)), known)
    for position, tool in enumerate(as_dicts(body.get("tools"))):
        if not is_function(tool):
            yield f"tools[{position}]"
        elif not tool.keys() <= _TOOL:
            yield from _find_in_fields(f"tools[{position}].", tool, _TOOL)
    yield from _find_in_blocks("system", body.get("system"), _TEXT)
    for position, message in enumerate(as_dicts(body.get("messages"))):
        place = f"messages[{position}]."
        if not message.keys() <= _MESSAGE:
            yield from _find_in_fields(place, message, _MESSAGE)
        if isinstance(message["content"], list):
            yield from _find_in_blocks(f"{place}content", message["content"], _BLOCKS[message["role"]])


def _find_in_blocks(place: str, content: Any, kinds: _Kinds) -> Iterator[str]:
    for position, block in enumerate(as_dicts(content)):
        kind = as_text(block.get("type"))
        fields, inner = kinds.get(kind), _INNER_BLOCKS.get(kind)
        if fields is None or (kind in _THOUGHTS and not is_ours(block)):
            if not (kinds is _ASSISTANT and kind.endswith("_result") and summarize_results(block)):
                yield f"{place}[{position}]"
            continue
        if not block.keys() <= fields:
            yield from _find_in_fields(f"{place}[{position}].", block, fields)
        if inner and isinstance(block.get("content"), list):
            yield from _find_in_blocks(f"{place}[{position}].content", block["content"], inner)


def _find_in_fields(place: str, fields: Json, known: Collection[str]) -> Iterator[str]:
    """Yield the places of fields that hold something and are not among the known ones."""
    return (f"{place}{name}" for name, value in fields.items() if value and name not in known)
