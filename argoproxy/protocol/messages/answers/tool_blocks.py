"""Parallel tool calls of a chat, whose fragments may come in any order, as blocks one after the other.

The fragments of the call whose block is open are written as they come, those of other calls wait. A chat does not say
that a call is complete: its block is closed when another one waits and its arguments are a whole object, else at the
end. `{}` is held back, because some servers send it first and the arguments afterwards (litellm issue 4537).
"""

from __future__ import annotations

from collections.abc import Mapping
from heapq import heappop, heappush

from argoproxy.errors import UpstreamProtocolError
from argoproxy.protocol.json_text import Json, as_dict, as_text
from argoproxy.protocol.messages.answers.block_writer import BlockWriter
from argoproxy.protocol.stream.json_progress import ObjectProgress
from argoproxy.protocol.stream.sse import encode_json

_EMPTY = "{}"


class ToolBlocks:
    """Writes the blocks of the tool calls of a message."""

    def __init__(self, blocks: BlockWriter, names: Mapping[str, str], request_id: str) -> None:
        """`names` are the original names of tools, by those that the upstream knows."""
        self._blocks = blocks
        self._names = names
        self._request_id = request_id
        self._calls: dict[int, _PartialCall] = {}
        #: Indexes of calls that have a name and whose blocks have not begun, the lowest first.
        self._waiting: list[int] = []
        self._ids: set[str] = set()
        self._open: _PartialCall | None = None
        self.has_any = False

    @property
    def has_calls(self) -> bool:
        """Whether a fragment of a call has come."""
        return bool(self._calls)

    def add(self, fragment: Json) -> None:
        """Take a fragment of a call, which has an index. Raises UpstreamProtocolError for one of a finished call."""
        index = fragment["index"] if isinstance(fragment.get("index"), int) else 0
        call = self._calls.get(index)
        if call is None:
            call = self._calls[index] = _PartialCall(f"toolu_{self._request_id}_{index}")
        was_named = bool(call.name)
        call.add(fragment)
        if call.name and not was_named:
            heappush(self._waiting, index)
        if call is self._open:
            self._write_arguments(call)
        self._advance()

    def settle(self) -> bool:
        """Close the open block if its call is complete; return whether no call is left that is not."""
        if self._open and self._open.is_complete:
            self._close(self._open)
        self._advance()
        return self._open is None

    def finish(self) -> None:
        """Write what waits and close the last block. A call without a name, which no client could run, is left out."""
        while self._open:
            self._close(self._open)
            self._open_next()

    def _advance(self) -> None:
        """Open the block of a call that waits, if the open one is complete."""
        while self._waiting and (self._open is None or self._open.is_complete):
            if self._open:
                self._close(self._open)
            self._open_next()

    def _open_next(self) -> None:
        if not self._waiting:
            return
        call = self._calls[heappop(self._waiting)]
        self.has_any = call.is_begun = True
        self._open = call
        call_id = call.own_id if call.id in self._ids else call.id
        self._ids.add(call_id)
        self._blocks.open_tool(call_id, self._names.get(call.name, call.name))
        self._write_arguments(call)

    def _write_arguments(self, call: _PartialCall) -> None:
        if piece := call.take():
            self._blocks.add_arguments(piece)

    def _close(self, call: _PartialCall) -> None:
        self._open, call.is_closed = None, True
        if piece := call.take_rest():
            self._blocks.add_arguments(piece)
        self._blocks.close()


class _PartialCall:
    """One call: what is known of it, and which of its arguments were not written yet. `own_id` is for one without an id
    or with that of another."""

    def __init__(self, own_id: str) -> None:
        self.id = self.own_id = own_id
        self.name = ""
        self.is_begun = self.is_closed = False
        self._has_written = False
        self._pieces: list[str] = []
        self._progress = ObjectProgress()

    @property
    def is_complete(self) -> bool:
        """Whether the arguments are a whole object, and not the empty one."""
        return self._progress.is_complete

    def add(self, fragment: Json) -> None:
        """Take a fragment. Raises UpstreamProtocolError for arguments of a call whose block is closed."""
        function = as_dict(fragment.get("function") or fragment.get("custom"))
        arguments = function.get("arguments", function.get("input"))
        text = encode_json(arguments).decode() if isinstance(arguments, dict) else as_text(arguments)
        if self.is_closed and text.strip():
            raise UpstreamProtocolError("The upstream continued a tool call whose arguments were complete.")
        if not self.is_begun:
            self.id = as_text(fragment.get("id")) or self.id
            self.name += as_text(function.get("name"))
        if text:
            self._pieces.append(text)
            self._progress.feed(text)

    def take(self) -> str:
        """Return the arguments to write now."""
        if self._has_written:
            return self.take_rest()
        text = "".join(self._pieces).lstrip()
        if text.strip() in ("", _EMPTY):
            self._pieces = [text.strip()]
            return ""
        self._pieces = [text.removeprefix(_EMPTY)]
        return self.take_rest()

    def take_rest(self) -> str:
        """Return all arguments that were not written yet."""
        text, self._pieces = "".join(self._pieces), []
        self._has_written = self._has_written or bool(text)
        return text
