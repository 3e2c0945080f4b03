"""The messages of a conversation as those of a chat.

A message of a user can hold results of tools, which are messages of their own in a chat and have to follow the calls
directly, also where other messages stand between them here. A message of the assistant becomes one message whatever the
order of its texts and calls.
"""

from __future__ import annotations

from typing import Any

from argoproxy.protocol.json_text import Json, as_dicts, as_text
from argoproxy.protocol.messages.answers.signatures import is_ours, read_details
from argoproxy.protocol.messages.content_blocks import (
    arguments_of,
    as_blocks,
    media_of_result,
    plain_or_parts,
    result_text,
    summarize_results,
    system_text,
    to_parts,
)
from argoproxy.protocol.messages.tool_fields import shorten_name


def convert_messages(messages: Any) -> list[Json]:
    """Return the messages of a request as those of a chat."""
    chat, turns = _ChatTurns(), as_dicts(messages)
    open_turn = _start_of_open_turn(turns)
    for position, message in enumerate(turns):
        blocks = as_blocks(message.get("content"))
        if message.get("role") == "assistant":
            chat.add_assistant(blocks, with_thoughts=position >= open_turn)
        elif message.get("role") == "system":
            chat.add("system", system_text(message.get("content")))
        else:
            chat.add_user(blocks)
    return chat.messages


def _start_of_open_turn(messages: list[Json]) -> int:
    """Return the position after the last message of a user that is no result of a tool: thoughts of turns that are
    finished are of no use, those of the turn that goes on some models demand."""
    for position in range(len(messages) - 1, -1, -1):
        message = messages[position]
        kinds = {block.get("type") for block in as_blocks(message.get("content"))}
        if message.get("role") == "user" and "tool_result" not in kinds:
            return position
    return 0


class _ChatTurns:
    """The messages so far, and where the next result of a tool belongs."""

    def __init__(self) -> None:
        self.messages: list[Json] = []
        self._results_end: int | None = None

    def add(self, role: str, content: Any) -> None:
        """Add a message, unless it is empty."""
        if content:
            self.messages.append({"role": role, "content": content})

    def add_user(self, blocks: list[Json]) -> None:
        """Add a message of a user: first the results of tools, then everything else, with their images."""
        results = [block for block in blocks if block.get("type") == "tool_result"]
        for block in results:
            self._add_result({"tool_call_id": as_text(block.get("tool_use_id")), "content": result_text(block)})
        media = [part for block in results for part in media_of_result(block)]
        others = [block for block in blocks if block.get("type") not in ("tool_result", "mid_conv_system")]
        content = plain_or_parts([*media, *to_parts(others)])
        if content or not (results or len(others) < len(blocks)):
            self.messages.append({"role": "user", "content": content})
        for block in blocks:
            if block.get("type") == "mid_conv_system":
                self.add("system", system_text(block.get("content")))

    def add_assistant(self, blocks: list[Json], with_thoughts: bool) -> None:  # noqa: FBT001 where the turn stands
        """Add a message of the assistant; one without anything that a chat can hold is left out."""
        message: Json = {"role": "assistant", "content": _join_texts(blocks) or None}
        if with_thoughts:
            message.update(_thoughts_of(blocks))
        calls = [_convert_call(block) for block in blocks if block.get("type") == "tool_use"]
        if calls:
            message["tool_calls"] = calls
        elif message["content"] is None:
            return
        self.messages.append(message)
        self._results_end = len(self.messages) if calls else None

    def _add_result(self, fields: Json) -> None:
        position = len(self.messages) if self._results_end is None else self._results_end
        self.messages.insert(position, {"role": "tool", **fields})
        self._results_end = position + 1


def _convert_call(block: Json) -> Json:
    function = {"name": shorten_name(as_text(block.get("name"))), "arguments": arguments_of(block)}
    return {"id": as_text(block.get("id")), "type": "function", "function": function}


def _join_texts(blocks: list[Json]) -> str:
    """Return the texts of an assistant; neighbours belong together, as citations cut them."""
    joined, follows = "", False
    for block in blocks:
        kind = as_text(block.get("type"))
        is_text = kind == "text"
        text = as_text(block.get("text")) if is_text else summarize_results(block) if kind.endswith("_result") else ""
        if text:
            joined += text if follows or not joined else "\n\n" + text
        follows = is_text
    return joined


def _thoughts_of(blocks: list[Json]) -> Json:
    """Return the thoughts of an assistant that came through this proxy from an upstream of chats. All others are valid
    only at the provider that signed them."""
    fields: Json = {}
    texts = [as_text(block.get("thinking")) for block in blocks if block.get("type") == "thinking" and is_ours(block)]
    if text := "".join(texts):
        fields["reasoning_content"] = text
    if details := [detail for block in blocks if is_ours(block) for detail in _details_of(block)]:
        fields["reasoning_details"] = details
    return fields


def _details_of(block: Json) -> list[Json]:
    """Return what the upstream sent beside a thought, with the text, which is not kept twice."""
    if block.get("type") != "thinking":
        return read_details(as_text(block.get("data")))
    details = read_details(as_text(block.get("signature")))
    return [_with_text(one, block) if one.get("type") == "reasoning.text" else one for one in details]


def _with_text(detail: Json, block: Json) -> Json:
    return {"type": detail["type"], "text": as_text(block.get("thinking")), **detail}
