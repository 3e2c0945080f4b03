"""Which requests may be answered with a kept answer: those whose answer depends on nothing but what they hold."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from argoproxy.protocol.cache.cache_policy import CachePolicy
from argoproxy.protocol.json_text import Json, as_dicts, as_list

#: Fields that refer to what a server keeps, or make it keep something.
_STATE_FIELDS = ("previous_response_id", "conversation", "container", "background")
#: What a model calls, and its client runs. All others are run by servers, with what they find then.
_CLIENT_TOOLS = ("function", "custom")
_TEXT_PARTS = ("text", "refusal")
_REFERENCE = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_LONGEST_SCHEME = 64
_FILE_ID = "file_id"


def find_obstacle(body: Json, policy: CachePolicy) -> str:
    """Return why the answer to a request is not kept, as a word for a header; "" if it may be."""
    if any(body.get(name) for name in _STATE_FIELDS) or body.get("store") is True:
        return "state"
    if body.get("audio") or "audio" in as_list(body.get("modalities")):
        return "audio"
    if body.get("web_search_options") is not None or _has_server_tools(body):
        return "tools"
    if any(map(_refers_elsewhere, _parts(body))):
        return "files"
    if not policy.with_sampling and not has_fixed_sampling(body):
        return "sampling"
    return ""


def has_fixed_sampling(body: Json) -> bool:
    """Return whether a request asks for the same answer each time: with temperature 0, or with a seed."""
    temperature, seed = body.get("temperature"), body.get("seed")
    is_cold = isinstance(temperature, int | float) and not isinstance(temperature, bool) and temperature == 0
    return is_cold or (isinstance(seed, int) and not isinstance(seed, bool))


def _has_server_tools(body: Json) -> bool:
    return any(tool.get("type", "function") not in _CLIENT_TOOLS for tool in as_dicts(body.get("tools")))


def _parts(body: Json) -> Iterator[Json]:
    """Yield what messages hold beside texts: parts of other types, and audio of earlier answers, which is an id."""
    for message in as_dicts(body.get("messages")):
        if isinstance(message.get("audio"), dict):
            yield {_FILE_ID: message["audio"].get("id")}
        yield from (part for part in as_dicts(message.get("content")) if part.get("type") not in _TEXT_PARTS)


def _refers_elsewhere(value: Any) -> bool:
    """Return whether a part names a file or a URL, behind which something else may be the next time."""
    if isinstance(value, str):
        return _REFERENCE.match(value, 0, _LONGEST_SCHEME) is not None
    if isinstance(value, list):
        return any(map(_refers_elsewhere, value))
    return isinstance(value, dict) and (bool(value.get(_FILE_ID)) or any(map(_refers_elsewhere, value.values())))
