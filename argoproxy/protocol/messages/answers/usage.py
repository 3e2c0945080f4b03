"""Usage, in the terms of chats and of Messages.

A chat's `prompt_tokens` include what came from a cache or was written to it, `input_tokens` of Messages do not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from argoproxy.protocol.json_text import Json, as_dict
from argoproxy.protocol.stream.sse import Batch, Document

#: An estimate, where the upstream does not count: English text and code.
BYTES_A_TOKEN = 4


def to_messages_usage(usage: Mapping[str, Any]) -> Json:
    """Return the usage of a chat as Messages count it; no count is below 0."""
    details = as_dict(usage.get("prompt_tokens_details"))
    cached = as_count(details.get("cached_tokens"))
    written = as_count(details.get("cache_write_tokens"))
    prompt = as_count(usage.get("prompt_tokens"))
    counts: Json = {
        "input_tokens": max(0, prompt - cached - written),
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": cached,
        "output_tokens": as_count(usage.get("completion_tokens")),
    }
    thoughts = as_dict(usage.get("completion_tokens_details")).get("reasoning_tokens")
    return {**counts, "output_tokens_details": {"thinking_tokens": thoughts}} if as_count(thoughts) else counts


def to_chat_usage(usage: Mapping[str, Any]) -> Json:
    """Return the usage of a message as chats count it."""
    read, written = (as_count(usage.get(f"cache_{kind}_input_tokens")) for kind in ("read", "creation"))
    prompt = as_count(usage.get("input_tokens")) + read + written
    output = as_count(usage.get("output_tokens"))
    written_1h = as_count(as_dict(usage.get("cache_creation")).get("ephemeral_1h_input_tokens"))
    details = {"cached_tokens": read, "cache_write_tokens": written}
    return {
        "prompt_tokens": prompt,
        "completion_tokens": output,
        "total_tokens": prompt + output,
        "prompt_tokens_details": {**details, **({"cache_write_1h_tokens": written_1h} if written_1h else {})},
        "service_tier": usage.get("service_tier"),
    }


def as_count(value: Any) -> int:
    """Return a number of tokens, 0 for what is none."""
    is_count = isinstance(value, int) and not isinstance(value, bool) and value > 0
    return value if is_count else 0


class MessagesUsageMeter:
    """A Filter that changes nothing and passes the usage of a message, streamed or whole, to `record`, as chats count
    it. A stream tells its usage at both ends: what the last event does not name stays as the first one said."""

    takes_runs = True

    def __init__(self, record: Callable[[Json], None]) -> None:
        self._record = record
        self._counts: Json = {}

    def feed(self, batch: Batch) -> Batch:
        for event in batch:
            if b'"usage"' in event.raw and (b"message_" in event.raw or isinstance(event, Document)):
                self._read(event.chunk or {})
        return batch

    def finish(self) -> Batch:
        return []

    def _read(self, chunk: Json) -> None:
        usage = chunk.get("usage") or as_dict(chunk.get("message")).get("usage")
        if isinstance(usage, dict):
            self._counts.update((key, value) for key, value in usage.items() if value is not None)
            self._record(to_chat_usage(self._counts))
