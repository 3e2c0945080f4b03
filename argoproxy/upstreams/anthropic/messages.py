"""Convert a conversation from OpenAI's format to Anthropic's: separate system text, content blocks, alternating turns.

Tool results become blocks of the user, all those of one turn together and before any text. Reasoning of earlier turns
goes back as it came if it has Anthropic's signature (`reasoning_details`, in OpenRouter's format); any other reasoning
is left out: Anthropic refuses thinking without its signature. Source: Anthropic API reference, Messages, Tool use and
Extended thinking.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import StrEnum
from itertools import chain, groupby
from operator import itemgetter
from typing import Any

from argoproxy.errors import BadRequest
from argoproxy.protocol.json_text import Json, JsonError, as_dict, as_dicts, as_list, as_text, loads_strict
from argoproxy.upstreams.anthropic.blocks import Blocks, make_blocks, mark_last

#: The format of reasoning_details that hold Anthropic's thinking (OpenRouter, Reasoning tokens).
DETAILS_FORMAT = "anthropic-claude-v1"
#: The field of messages and deltas for blocks that OpenAI's format has no place for, each with its index.
OTHER_BLOCKS = "anthropic_blocks"

_DETAILS_FORMATS = "anthropic-"
#: Characters that Anthropic refuses in the id of a tool call, but other providers use.
_INVALID_IN_ID = re.compile(r"[^A-Za-z0-9_-]")
_ROLES = {"system": "system", "developer": "system", "user": "user", "tool": "user", "assistant": "assistant"}


class LaterSystem(StrEnum):
    """What becomes of system messages after the first turn: they join those before it, or stay where they are, which
    only the newest models accept."""

    HOIST = "hoist"
    KEEP = "keep"


def make_conversation(messages: Any, later_system: LaterSystem) -> tuple[Blocks, list[Json]]:
    """Return the system text and the turns. Raises BadRequest, which names the position."""
    if not isinstance(messages, list):
        raise BadRequest("`messages` must be a list of messages.", param="messages")
    converter = _MessageConverter()
    system, turns = Blocks(), list[tuple[str, Blocks]]()
    for place, message in enumerate(messages):
        role, blocks = converter.convert(message, f"messages[{place}]")
        if role == "system" and (later_system is LaterSystem.HOIST or not turns):
            system += blocks
        elif blocks:
            turns.append((role, blocks))
    return system, _join_turns(turns)


def lacks_thinking(turns: list[Json]) -> bool:
    """Return whether the assistant's last turn calls tools and does not begin with its thinking, which a request with a
    thinking budget needs."""
    last: Blocks = next((turn["content"] for turn in reversed(turns) if turn["role"] == "assistant"), [])
    calls_tools = any(block["type"] == "tool_use" for block in last)
    return calls_tools and "thinking" not in last[0]["type"]


def _join_turns(messages: list[tuple[str, Blocks]]) -> list[Json]:
    turns = [_make_turn(role, [blocks for _, blocks in run]) for role, run in groupby(messages, itemgetter(0))]
    if turns and turns[-1]["role"] == "assistant" and turns[-1]["content"][-1]["type"] == "text":
        # A last turn of the assistant is the beginning of the answer, and must not end with blanks.
        *blocks, last = turns[-1]["content"]
        turns[-1] = {"role": "assistant", "content": [*blocks, {**last, "text": last["text"].rstrip()}]}
    return turns


def _make_turn(role: str, runs: list[Blocks]) -> Json:
    blocks = sorted(chain.from_iterable(runs), key=lambda block: role == "user" and block["type"] != "tool_result")
    return {"role": role, "content": blocks}


class _MessageConverter:
    """Converts the messages of one conversation. Ids of tool calls keep their results, also where they have to be
    changed: Anthropic accepts fewer characters, and each id once."""

    def __init__(self) -> None:
        self._ids: dict[str, str] = {}
        #: The ids of calls so far, and how many asked for each.
        self._taken: dict[str, int] = {}

    def convert(self, message: Any, position: str) -> tuple[str, Blocks]:
        """Return the role and the blocks of a message. Raises BadRequest."""
        fields = as_dict(message)
        role = as_text(fields.get("role"))
        if role not in _ROLES or fields.get("function_call"):
            raise BadRequest(
                "Anthropic's roles are system, user, assistant with `tool_calls`, and tool.", param=position
            )
        if role == "tool":
            return "user", [self._make_result(fields, position)]
        blocks = make_blocks(fields, position)
        if role == "assistant":
            blocks = self._make_assistant(fields, blocks, position)
        return _ROLES[role], mark_last(blocks, fields)

    def _make_assistant(self, message: Json, texts: Blocks, position: str) -> Blocks:
        """Return the blocks of an assistant's message: its text stands at the first index that no other block has, and
        calls come last."""
        others = sorted(_find_others(message), key=itemgetter(0))
        before = sum(index == place for place, (index, _) in enumerate(others)) if texts else 0
        calls = enumerate(as_list(message.get("tool_calls")))
        uses = [self._make_use(call, f"{position}.tool_calls[{place}]") for place, call in calls]
        blocks = [block for _, block in others]
        return [*blocks[:before], *texts, *blocks[before:], *uses]

    def _make_result(self, message: Json, position: str) -> Json:
        call_id = _check_id(message.get("tool_call_id"), f"{position}.tool_call_id")
        result: Json = {"type": "tool_result", "tool_use_id": self._ids.get(call_id) or _clean(call_id)}
        if blocks := make_blocks(message, position):
            result["content"] = blocks
        if message.get("is_error") is True:
            result["is_error"] = True
        return mark_last([result], message)[0]

    def _make_use(self, call: Any, position: str) -> Json:
        fields = as_dict(call)
        custom, function = as_dict(fields.get("custom")), as_dict(fields.get("function"))
        name = (custom or function).get("name")
        if not isinstance(name, str):
            raise BadRequest("Anthropic takes calls of the types `function` and `custom`, with a name.", param=position)
        call_id = _check_id(fields.get("id"), f"{position}.id")
        given = {"input": custom.get("input")} if custom else _parse_arguments(function.get("arguments"))
        return {"type": "tool_use", "id": self._new_id(call_id), "name": name, "input": given}

    def _new_id(self, call_id: str) -> str:
        """Return the id of a new call, not used before in this conversation."""
        own_id = wanted = _clean(call_id)
        while own_id in self._taken:
            self._taken[wanted] += 1
            own_id = f"{wanted}_{self._taken[wanted]}"
        self._taken[own_id] = 1
        self._ids[call_id] = own_id
        return own_id


def _find_others(message: Json) -> Iterator[tuple[int, Json]]:
    """Yield an assistant's blocks that are neither text nor calls, each with its index: signed thinking, and what
    OpenAI's format has no place for."""
    for place, detail in enumerate(as_dicts(message.get("reasoning_details"))):
        index = detail.get("index")
        if block := _make_thinking(detail):
            yield index if isinstance(index, int) else place, block
    for place, block in enumerate(as_dicts(message.get(OTHER_BLOCKS))):
        index = block.get("index")
        own = {key: value for key, value in block.items() if key != "index"}
        if isinstance(own.get("type"), str):
            yield index if isinstance(index, int) else place, own


def _make_thinking(detail: Json) -> Json | None:
    """Return a thought as a block, None without a signature of Anthropic's."""
    if not as_text(detail.get("format")).startswith(_DETAILS_FORMATS):
        return None
    signature, data = detail.get("signature"), detail.get("data")
    if detail.get("type") == "reasoning.encrypted" and isinstance(data, str) and data:
        return {"type": "redacted_thinking", "data": data}
    if detail.get("type") == "reasoning.text" and isinstance(signature, str) and signature:
        return {"type": "thinking", "thinking": as_text(detail.get("text")), "signature": signature}
    return None


def _check_id(value: Any, position: str) -> str:
    if not isinstance(value, str) or not value:
        raise BadRequest("Anthropic needs an id for each call of a tool and for its result.", param=position)
    return value


def _clean(call_id: str) -> str:
    return _INVALID_IN_ID.sub("_", call_id)


def _parse_arguments(text: Any) -> Json:
    """Return the arguments of a call as an object; anything else that a model wrote is kept under `arguments`."""
    if text is None or (isinstance(text, str) and not text.strip()):
        return {}
    try:
        value = loads_strict(text.encode("utf-8", "replace")) if isinstance(text, str) else text
    except JsonError:
        value = text
    return value if isinstance(value, dict) else {"arguments": value}
