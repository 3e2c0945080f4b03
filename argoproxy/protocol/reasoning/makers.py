"""Which upstream made what only it can read of a thought: its signature, or an encrypted thought. What is shown to
another upstream would be refused there.

The mark of an upstream is a digest of its name, a field beside the others while clients and chats carry the thought.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256
from typing import Any

from argoproxy.protocol.json_text import Json, as_dicts, as_list

_MAKER = "argoproxy_upstream"
_DIGITS = 16
_DETAILS, _EXTRA = "reasoning_details", "extra_content"


def mark_of(upstream: str) -> str:
    """Return the mark of the upstream with a name."""
    return sha256(upstream.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGITS]


def no_mark() -> str:
    """Return the mark where none is set."""
    return ""


def mark(details: Iterable[Json], maker: str) -> list[Json]:
    """Return objects with the mark of their upstream; "" is none."""
    return [{**detail, _MAKER: maker} for detail in details] if maker else list(details)


def keep_readable(chat: Json, upstream: str) -> tuple[Json, list[str]]:
    """Return a chat with what the upstream of a name, or one that is not known, has made, without marks; and the places
    of all that was left out. The same object if there is nothing of the kind."""
    places: list[str] = []
    own, messages = mark_of(upstream), as_list(chat.get("messages"))
    kept = [_keep_in_message(message, own, f"messages[{row}]", places) for row, message in enumerate(messages)]
    is_same = all(one is other for one, other in zip(kept, messages, strict=True))
    return chat if is_same else {**chat, "messages": kept}, places


def _keep_in_message(message: Any, own: str, place: str, places: list[str]) -> Any:
    if not isinstance(message, dict) or message.get("role") != "assistant":
        return message
    kept = dict(message)
    if any(_MAKER in detail for detail in as_dicts(message.get(_DETAILS))):
        kept[_DETAILS] = list(_keep_own(message[_DETAILS], own, f"{place}.{_DETAILS}", places))
    if any(_MAKER in extra for extra in map(_extra_of, as_dicts(message.get("tool_calls")))):
        kept["tool_calls"] = [
            _keep_in_call(call, own, f"{place}.tool_calls[{row}]", places)
            for row, call in enumerate(message["tool_calls"])
        ]
    if kept == message:
        return message
    return kept if kept.get(_DETAILS, ...) != [] else {key: kept[key] for key in kept if key != _DETAILS}


def _keep_in_call(call: Any, own: str, place: str, places: list[str]) -> Any:
    extra = _extra_of(call) if isinstance(call, dict) else {}
    if _MAKER not in extra:
        return call
    kept = list(_keep_own([extra], own, f"{place}.{_EXTRA}", places))
    others = {key: value for key, value in call.items() if key != _EXTRA}
    return {**others, _EXTRA: kept[0]} if kept else others


def _keep_own(details: list[Any], own: str, place: str, places: list[str]) -> Iterable[Any]:
    for detail in details:
        if not isinstance(detail, dict) or detail.get(_MAKER, own) == own:
            yield {key: value for key, value in detail.items() if key != _MAKER} if isinstance(detail, dict) else detail
        elif place not in places:
            places.append(place)


def _extra_of(call: Json) -> Json:
    extra = call.get(_EXTRA)
    return extra if isinstance(extra, dict) else {}
