"""How many tokens of each kind a request used, read from usage in any of the shapes that upstreams send.

Chats (`prompt_tokens`) and Responses (`input_tokens` with `total_tokens` or details) count what came from a cache among
the tokens of the prompt, Messages (`cache_read_input_tokens`, `cache_creation_input_tokens`) beside them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from argoproxy.protocol.json_text import as_dict

#: A larger number is a mistake of the upstream, not a count.
MOST_TOKENS = 10**9


class TokenCounts(NamedTuple):
    """The tokens of one request. `prompt` includes `cached` (read from a cache), `written` (to a cache, of these
    `written_1h` for an hour) and `prompt_audio`; `completion` includes `reasoning` and `completion_audio`."""

    prompt: int
    completion: int
    cached: int = 0
    written: int = 0
    written_1h: int = 0
    prompt_audio: int = 0
    reasoning: int = 0
    completion_audio: int = 0

    @property
    def total(self) -> int:
        return self.prompt + self.completion


def read_token_counts(usage: Mapping[str, Any] | None) -> TokenCounts | None:
    """Return the counts that a usage holds; None if it does not tell those of the prompt, or none that can be true."""
    if not usage:
        return None
    if "prompt_tokens" in usage:
        counts = _read_chat(usage)
    elif "cache_read_input_tokens" in usage or "cache_creation_input_tokens" in usage:
        counts = _read_message(usage)
    else:
        counts = _read_response(usage)
    return counts and _bound_parts(counts)


def _read_chat(usage: Mapping[str, Any]) -> TokenCounts | None:
    prompt, completion = _count(usage, "prompt_tokens"), _count(usage, "completion_tokens") or 0
    if prompt is None:
        return None
    details, output = as_dict(usage.get("prompt_tokens_details")), as_dict(usage.get("completion_tokens_details"))
    # DeepSeek names what came from its cache beside the details of OpenAI.
    cached = _count(details, "cached_tokens") or _count(usage, "prompt_cache_hit_tokens") or 0
    reasoning = _count(output, "reasoning_tokens") or 0
    rest = max(0, (_count(usage, "total_tokens") or 0) - prompt - completion)
    unnamed = rest if _is_reasoning(rest, reasoning, cached) else 0
    return TokenCounts(
        prompt,
        completion + unnamed,
        cached,
        written=_count(details, "cache_write_tokens") or 0,
        written_1h=_count(details, "cache_write_1h_tokens") or 0,
        prompt_audio=_count(details, "audio_tokens") or 0,
        reasoning=max(reasoning, unnamed),
        completion_audio=_count(output, "audio_tokens") or 0,
    )


def _read_response(usage: Mapping[str, Any]) -> TokenCounts | None:
    prompt = _count(usage, "input_tokens")
    if prompt is None:
        return None
    details, output = as_dict(usage.get("input_tokens_details")), as_dict(usage.get("output_tokens_details"))
    return TokenCounts(
        prompt,
        _count(usage, "output_tokens") or 0,
        _count(details, "cached_tokens") or 0,
        written=_count(details, "cache_write_tokens") or 0,
        prompt_audio=_count(details, "audio_tokens") or 0,
        reasoning=_count(output, "reasoning_tokens") or _count(output, "thinking_tokens") or 0,
        completion_audio=_count(output, "audio_tokens") or 0,
    )


def _read_message(usage: Mapping[str, Any]) -> TokenCounts | None:
    fresh = _count(usage, "input_tokens")
    if fresh is None:
        return None
    cached, written = (_count(usage, f"cache_{kind}_input_tokens") or 0 for kind in ("read", "creation"))
    return TokenCounts(
        fresh + cached + written,
        _count(usage, "output_tokens") or 0,
        cached,
        written,
        written_1h=_count(as_dict(usage.get("cache_creation")), "ephemeral_1h_input_tokens") or 0,
        reasoning=_count(as_dict(usage.get("output_tokens_details")), "thinking_tokens") or 0,
    )


def _bound_parts(counts: TokenCounts) -> TokenCounts | None:
    """Return counts whose parts are together not more than the whole."""
    prompt, completion, cached, written, written_1h, prompt_audio, reasoning, completion_audio = counts
    if prompt > MOST_TOKENS or completion > MOST_TOKENS:
        return None
    is_whole = cached + written + prompt_audio <= prompt and reasoning + completion_audio <= completion
    if is_whole and written_1h <= written:
        return counts
    cached, reasoning = min(cached, prompt), min(reasoning, completion)
    written = min(written, prompt - cached)
    return TokenCounts(
        prompt,
        completion,
        cached,
        written,
        min(written_1h, written),
        min(prompt_audio, prompt - cached - written),
        reasoning,
        min(completion_audio, completion - reasoning),
    )


def _is_reasoning(rest: int, reasoning: int, cached: int) -> bool:
    """Return whether the part of the total that is neither prompt nor completion is thoughts: xAI names them beside the
    completion (docs.x.ai, consumption and rate limits), Gemini's endpoint for chats counts them only in the total.
    Where tokens came from a cache, a prompt that was counted without them would look the same."""
    return rest == reasoning or not (reasoning or cached)


def _count(fields: Mapping[str, Any], name: str) -> int | None:
    value = fields.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
