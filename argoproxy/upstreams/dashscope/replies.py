"""Parse what DashScope sends: a whole reply and an event of a stream have one form.

`{"request_id", "output": {"choices": [{"message", "finish_reason", "logprobs", "index"}]}, "usage"}`; with the result
format `text` the output is `{"text", "finish_reason"}`. A content is a string or, on the multimodal path, a list of
parts like `{"text": …}`. Before the end of a choice its finish reason is null or, from older models, the string "null".

Usage has `input_tokens`, `output_tokens` (reasoning included) and, on most models, `total_tokens`; details under
OpenAI's or DashScope's name, and counts by kind beside the totals (`image_tokens`).
Source: "DashScope API reference", Alibaba Cloud Model Studio, September 2026.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from argoproxy.protocol.json_text import Json, as_dict, as_dicts, as_text
from argoproxy.protocol.stream.chunks import iterate_choices
from argoproxy.upstreams.dashscope.error_codes import check_reply

_CHOICE_FIELDS = frozenset(("choices", "text", "finish_reason"))
_TOTALS = frozenset(("input_tokens", "output_tokens", "total_tokens"))
_PROMPT_DETAILS = ("input_tokens_details", "prompt_tokens_details")
_COMPLETION_DETAILS = ("output_tokens_details", "completion_tokens_details")
_PROMPT_KINDS = ("image_tokens", "video_tokens", "audio_tokens")


@dataclass(frozen=True, slots=True)
class ChoicePart:
    """One choice of a reply or an event. In `message` the content is a string, parts that are not text are in `parts`,
    and fields that are null are left out. `finish_reason` is "" before the end."""

    index: int
    message: Json
    logprobs: list[Any] | None
    finish_reason: str


@dataclass(frozen=True, slots=True)
class DashScopeReply:
    """A reply, or an event; `extras` are the other fields of its output (`search_info`)."""

    request_id: str
    choices: tuple[ChoicePart, ...]
    usage: Json
    extras: Json


def parse_reply(fields: Json) -> DashScopeReply:
    """Parse a reply or an event. Raises ProxyError if it reports an error."""
    check_reply(fields)
    output = as_dict(fields.get("output"))
    return DashScopeReply(
        request_id=as_text(fields.get("request_id")),
        choices=tuple(_parse_choices(output)),
        usage=convert_usage(fields.get("usage")),
        extras={key: value for key, value in output.items() if key not in _CHOICE_FIELDS and value is not None},
    )


def convert_usage(value: Any) -> Json:
    """Return a reply's usage in OpenAI's fields, {} if it has none. Fields unknown to OpenAI keep their name."""
    fields = as_dict(value)
    if not any(_is_count(fields.get(name)) for name in _TOTALS):
        return {}
    prompt, completion = _count(fields.get("input_tokens")), _count(fields.get("output_tokens"))
    total = fields.get("total_tokens")
    kinds = {name: fields[name] for name in _PROMPT_KINDS if _is_count(fields.get(name))}
    details = {
        "prompt_tokens_details": {**kinds, **_merge_details(fields, _PROMPT_DETAILS)},
        "completion_tokens_details": _merge_details(fields, _COMPLETION_DETAILS),
    }
    known = _TOTALS.union(_PROMPT_DETAILS, _COMPLETION_DETAILS, kinds)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": total if _is_count(total) else prompt + completion,
        **{name: value for name, value in details.items() if value},
        **{name: value for name, value in fields.items() if name not in known},
    }


def add_usages(usages: Iterable[Json]) -> Json:
    """Add up the usage of several choices, each sent for itself; all of them have the same prompt."""
    total, *others = usages
    for other in others:
        total = {
            **total,
            "completion_tokens": total["completion_tokens"] + other["completion_tokens"],
            "total_tokens": total["total_tokens"] + other["completion_tokens"],
        }
        details = _add_counts(total.get("completion_tokens_details", {}), other.get("completion_tokens_details", {}))
        if details:
            total["completion_tokens_details"] = details
    return total


def _parse_choices(output: Json) -> Iterator[ChoicePart]:
    if isinstance(output.get("choices"), list):
        for index, choice in iterate_choices(output["choices"]):
            yield ChoicePart(
                index,
                _parse_message(as_dict(choice.get("message"))),
                _parse_logprobs(choice.get("logprobs")),
                _parse_finish_reason(choice.get("finish_reason")),
            )
    elif isinstance(output.get("text"), str):
        yield ChoicePart(0, {"content": output["text"]}, None, _parse_finish_reason(output.get("finish_reason")))


def _parse_message(message: Json) -> Json:
    fields = {key: value for key, value in message.items() if value is not None}
    content = fields.get("content")
    if isinstance(content, list):
        parts = as_dicts(content)
        others = [part for part in parts if set(part) != {"text"}]
        texts = (part.get("text") for part in parts)
        fields["content"] = "".join(text for text in texts if isinstance(text, str))
        fields |= {"parts": others} if others else {}
    return fields


def _parse_logprobs(value: Any) -> list[Any] | None:
    content = as_dict(value).get("content")
    return content if isinstance(content, list) else None


def _parse_finish_reason(value: Any) -> str:
    return value if isinstance(value, str) and value != "null" else ""


def _merge_details(fields: Json, names: Iterable[str]) -> Json:
    merged: Json = {}
    for name in names:
        merged |= as_dict(fields.get(name))
    return merged


def _add_counts(some: Json, more: Json) -> Json:
    return {**some, **{name: _count(some.get(name)) + _count(value) for name, value in more.items()}}


def _count(value: Any) -> int:
    return value if _is_count(value) else 0


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
