"""A request of Messages as a chat. docs/messages.md says what becomes of each field."""

from __future__ import annotations

import hashlib
from typing import Any

from argoproxy.protocol.json_text import Json, as_dict, as_text
from argoproxy.protocol.messages.content_blocks import system_text
from argoproxy.protocol.messages.tool_fields import convert_tools
from argoproxy.protocol.messages.turns import convert_messages

_SAME = ("model", "max_tokens", "temperature", "top_p", "top_k", "stream")
#: Fields of the chat, and those of the request that they are made of. Positions in arrays differ, so none is named.
FIELD_NAMES = (
    ("messages", "messages"),
    ("tools", "tools"),
    ("max_completion_tokens", "max_tokens"),
    ("stop", "stop_sequences"),
    ("user", "metadata.user_id"),
    ("reasoning_effort", "output_config.effort"),
    ("response_format", "output_config.format"),
    ("parallel_tool_calls", "tool_choice.disable_parallel_tool_use"),
    ("stream_options", "stream"),
)
#: The longest name of a user that OpenAI takes.
LONGEST_USER = 64
_LOW_BUDGET, _MEDIUM_BUDGET = 2048, 12288
_EFFORTS = {"max": "high", "xhigh": "high"}


def to_chat(body: Json) -> Json:
    """Return the chat that a request asks for."""
    chat: Json = {key: body[key] for key in _SAME if body.get(key) is not None}
    system = system_text(body.get("system"))
    first = [{"role": "system", "content": system}] if system else []
    chat["messages"] = [*first, *convert_messages(body.get("messages"))] or [{"role": "user", "content": ""}]
    if body.get("stop_sequences"):
        chat["stop"] = body["stop_sequences"]
    if user := as_text(as_dict(body.get("metadata")).get("user_id")):
        chat["user"] = user if len(user) <= LONGEST_USER else _digest(user)
    if body.get("service_tier") == "standard_only":
        chat["service_tier"] = "default"
    if effort := effort_of(body):
        chat["reasoning_effort"] = effort
    if schema := schema_of(body):
        chat["response_format"] = {"type": "json_schema", "json_schema": {"name": "output", "schema": schema}}
    return {**chat, **convert_tools(body)}


def effort_of(body: Json) -> str:
    """Return the effort that a request asks for, "" for none. A budget is an effort too; adaptive thinking has no
    budget and leaves the effort to `output_config`."""
    thinking = as_dict(body.get("thinking"))
    if thinking.get("type") == "disabled":
        return ""
    asked = as_text(as_dict(body.get("output_config")).get("effort"))
    if asked:
        return _EFFORTS.get(asked, asked)
    budget: Any = thinking.get("budget_tokens")
    if thinking.get("type") != "enabled" or not isinstance(budget, int | float):
        return ""
    if budget < _LOW_BUDGET:
        return "low"
    return "medium" if budget < _MEDIUM_BUDGET else "high"


def schema_of(body: Json) -> Json:
    """Return the JSON schema that an answer must follow, {} for none."""
    wanted = as_dict(as_dict(body.get("output_config")).get("format") or body.get("output_format"))
    return as_dict(wanted.get("schema")) if wanted.get("type") == "json_schema" else {}


def _digest(user: str) -> str:
    return hashlib.sha256(user.encode("utf-8", "surrogatepass")).hexdigest()
