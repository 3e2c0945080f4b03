"""Anthropic's models: what the version in a name tells, and the list of models in OpenAI's format.

Source: Anthropic API reference (Models, Extended thinking, Models overview), November 2026.
"""

from __future__ import annotations

import re
from calendar import timegm
from enum import Enum, auto
from typing import Any

from argoproxy.errors import UpstreamProtocolError
from argoproxy.protocol.json_text import Json, as_text
from argoproxy.protocol.stream.sse import Document

OWNER = "anthropic"
#: The longest page of GET /v1/models.
LONGEST_PAGE = 1000

#: `claude-3-5-sonnet-20241022`, `claude-opus-4-1`, `anthropic.claude-sonnet-4@20250514`; a date is not a version.
_VERSION = re.compile(r"claude-(?:[a-z]+-)?(\d{1,2})(?:[-.](\d{1,2}))?(?!\d)")
_NEWEST = (99, 0)
#: The first versions that think with a budget, and that decide themselves how long they think.
_FIRST_BUDGET, _FIRST_ADAPTIVE = (3, 7), (4, 6)
#: The longest answers of models before a version; the default of a model is the most that it accepts.
_LONGEST_ANSWERS = (((3, 5), 4096), ((3, 7), 8192))
_CLAUDE_ANSWER, _OTHER_ANSWER = 32_000, 8192
#: Fields of a model that are listed beside OpenAI's.
_LISTED = ("display_name", "created_at", "max_input_tokens", "max_tokens", "capabilities")
_TIME = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.\d+)?(?:Z|([+-])(\d\d):(\d\d))")


class Thinking(Enum):
    """How a model thinks: not at all, with a budget of tokens, or as long as it finds right."""

    NONE = auto()
    BUDGET = auto()
    ADAPTIVE = auto()


def thinking_of(model: str) -> Thinking:
    """Return how a model thinks; one of an unknown version as the newest do."""
    version = _version_of(model)
    if version < _FIRST_BUDGET:
        return Thinking.NONE
    return Thinking.BUDGET if version < _FIRST_ADAPTIVE else Thinking.ADAPTIVE


def default_max_tokens(model: str) -> int:
    """Return the `max_tokens` for a request that sets none: Anthropic requires it, but refuses too high a number."""
    version = _version_of(model)
    for limit, longest in _LONGEST_ANSWERS:
        if version < limit:
            return longest
    return _CLAUDE_ANSWER if "claude" in model.lower() else _OTHER_ANSWER


def parse_models(body: bytes, name: str, created: int) -> Document:
    """Return a list of models, or one model if there is a name, in OpenAI's format. Raises UpstreamProtocolError."""
    document = Document(body).chunk
    models = [document] if name else document.get("data")
    if not isinstance(models, list) or not all(map(_is_model, models)):
        raise UpstreamProtocolError("The upstream's reply contains no models.")
    entries = [_entry_of(model, created) for model in models]
    return Document.of(entries[0] if name else {"object": "list", "data": entries})


def last_of_page(body: bytes) -> str:
    """Return the id after which the next page of a list of models begins, "" if this one is the last. Raises
    UpstreamProtocolError."""
    page = Document(body).chunk
    return as_text(page.get("last_id")) if page.get("has_more") is True else ""


def parse_time(text: object) -> int | None:
    """Return an RFC 3339 time in seconds since 1970, None if it is not one."""
    found = _TIME.fullmatch(text) if isinstance(text, str) else None
    if not found:
        return None
    *parts, sign, hours, minutes = found.groups()
    offset_s = 0 if sign is None else int(f"{sign}1") * (int(hours) * 3600 + int(minutes) * 60)
    year, month, *rest = map(int, parts)
    return timegm((year, month, *rest)) - offset_s if 1 <= month <= 12 else None


def _version_of(model: str) -> tuple[int, int]:
    found = _VERSION.search(model.lower())
    return (int(found[1]), int(found[2] or 0)) if found else _NEWEST


def _is_model(model: Any) -> bool:
    return isinstance(model, dict) and isinstance(model.get("id"), str)


def _entry_of(model: Json, created: int) -> Json:
    """Return OpenAI's entry of a model; `created` is the default for its time."""
    own = {key: model[key] for key in _LISTED if key in model}
    time = parse_time(model.get("created_at"))
    return {
        "id": model["id"],
        "object": "model",
        "created": created if time is None else time,
        "owned_by": OWNER,
        **own,
    }
