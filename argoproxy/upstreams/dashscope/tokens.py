"""Tokens as DashScope counts them, in OpenAI's words.

`input_tokens` and `output_tokens` (reasoning included), `total_tokens` where it is told; details under either
vendor's name, and counts by kind beside the totals (`image_tokens`). Source: "DashScope API reference", September 2026.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from argoproxy.protocol.json_text import Json, as_dict

_TOTALS = frozenset(("input_tokens", "output_tokens", "total_tokens"))
_OF_PROMPT = ("input_tokens_details", "prompt_tokens_details")
_OF_COMPLETION = ("output_tokens_details", "completion_tokens_details")
_KINDS_OF_PROMPT = ("image_tokens", "video_tokens", "audio_tokens")


def usage_of(told: Any) -> Json:
    """Read the tokens of a reply; empty when none are told. What has no name of OpenAI's keeps its own."""
    fields = as_dict(told)
    if not any(_is_count(fields.get(name)) for name in _TOTALS):
        return {}
    prompt, completion = _count(fields.get("input_tokens")), _count(fields.get("output_tokens"))
    total = fields.get("total_tokens")
    kinds = {name: fields[name] for name in _KINDS_OF_PROMPT if _is_count(fields.get(name))}
    details = {
        "prompt_tokens_details": {**kinds, **_details(fields, _OF_PROMPT)},
        "completion_tokens_details": _details(fields, _OF_COMPLETION),
    }
    known = _TOTALS.union(_OF_PROMPT, _OF_COMPLETION, kinds)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": total if _is_count(total) else prompt + completion,
        **{name: value for name, value in details.items() if value},
        **{name: value for name, value in fields.items() if name not in known},
    }


def joined(usages: Iterable[Json]) -> Json:
    """Join the tokens of several choices, each counted by itself: the prompt is the same for all."""
    first, *others = usages
    for other in others:
        first = {
            **first,
            "completion_tokens": first["completion_tokens"] + other["completion_tokens"],
            "total_tokens": first["total_tokens"] + other["completion_tokens"],
        }
        details = _summed(first.get("completion_tokens_details", {}), other.get("completion_tokens_details", {}))
        if details:
            first["completion_tokens_details"] = details
    return first


def _summed(some: Json, more: Json) -> Json:
    return {**some, **{name: _count(some.get(name)) + _count(value) for name, value in more.items()}}


def _details(fields: Json, names: Iterable[str]) -> Json:
    found: Json = {}
    for name in names:
        value = fields.get(name)
        found |= as_dict(value)
    return found


def _count(value: Any) -> int:
    return value if _is_count(value) else 0


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
