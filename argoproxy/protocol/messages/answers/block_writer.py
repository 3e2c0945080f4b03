"""The blocks of a message as events: one open at a time, numbered without gaps (Anthropic API reference, streaming)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from argoproxy.protocol.json_text import Json
from argoproxy.protocol.messages.answers.signatures import sign

_STARTS: dict[str, Json] = {
    "text": {"type": "text", "text": ""},
    "thinking": {"type": "thinking", "thinking": "", "signature": ""},
}


class BlockWriter:
    """Writes events of blocks to `events`. `kind` is the type of the open block, "" if none is; `index` its number."""

    def __init__(self) -> None:
        self.events: list[Json] = []
        self.kind = ""
        self.index = -1
        #: What the upstream sent beside its thoughts, for the signature of the block that is open or comes next.
        self.details: list[Json] = []
        self._has_deltas = False

    def add_text(self, text: str) -> None:
        """Write text, in the open block if it is one of text."""
        self._open_kind("text")
        self._delta({"type": "text_delta", "text": text})

    def add_thought(self, text: str) -> None:
        """Write a piece of a thought."""
        self._open_kind("thinking")
        self._delta({"type": "thinking_delta", "thinking": text})

    def open_tool(self, call_id: str, name: str) -> None:
        """Open the block of a tool's call."""
        self._open({"type": "tool_use", "id": call_id, "name": name, "input": {}})

    def add_arguments(self, text: str) -> None:
        """Write a piece of the arguments of the open call."""
        self._delta({"type": "input_json_delta", "partial_json": text})

    def close(self) -> None:
        """Close the open block, if there is one. A thought gets its signature, a call without arguments ""."""
        if self.kind == "thinking":
            self._delta({"type": "signature_delta", "signature": sign(self._take_details())})
        elif self.kind == "tool_use" and not self._has_deltas:
            self.add_arguments("")
        if self.kind:
            self.events.append({"type": "content_block_stop", "index": self.index})
        self.kind = ""

    def flush_details(self) -> None:
        """Write the details that belong to no thought as a block of their own. No block may be open."""
        if self.details:
            self._start({"type": "redacted_thinking", "data": sign(self._take_details())})
            self.close()

    def take(self) -> Sequence[Json]:
        """Return the events so far, and forget them."""
        events, self.events = self.events, []
        return events

    def _open_kind(self, kind: str) -> None:
        if self.kind != kind:
            self._open(_STARTS[kind])

    def _open(self, block: Json) -> None:
        self.close()
        if block["type"] != "thinking":
            self.flush_details()
        self._start(block)

    def _start(self, block: Json) -> None:
        self.index += 1
        self.kind = block["type"]
        self._has_deltas = False
        self.events.append({"type": "content_block_start", "index": self.index, "content_block": block})

    def _delta(self, delta: dict[str, Any]) -> None:
        self._has_deltas = True
        self.events.append({"type": "content_block_delta", "index": self.index, "delta": delta})

    def _take_details(self) -> list[Json]:
        details, self.details = self.details, []
        return details
