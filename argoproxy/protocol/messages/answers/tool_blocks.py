"""Parallel tool calls of a chat, whose fragments may come in any order, as blocks one after the other.

The fragments of the call whose block is open are written as they come, those of other calls wait. A chat does not say
that a call is complete: its block is closed when another one waits and its arguments are a whole object, else at the
end. `{}` is held back, because some servers send it first and the arguments afterwards (litellm issue 4537).
"""

from __future__ import annotations

from collections.abc import Mapping

from argoproxy.errors import UpstreamProtocolError
from argoproxy.protocol.json_text import Json, JsonError, as_dict, as_text, dumps, loads
from argoproxy.protocol.messages.answers.block_writer import BlockWriter

_EMPTY = "{}"


class ToolBlocks:
    """Writes the blocks of the tool calls of a message."""

    def __init__(self, blocks: BlockWriter, names: Mapping[str, str], request_id: str) -> None:
        """`names` are the original names of tools, by those that the upstream knows."""
        self._blocks = blocks
        self._names = names
        self._request_id = request_id
        self._calls: dict[int, _PartialCall] = {}
        self._open: _PartialCall | None = None
        self.has_any = False

    def add(self, fragment: Json) -> None:
        """Take a fragment of a call, which has an index. Raises UpstreamProtocolError for one of a finished call."""
        index = fragment["index"] if isinstance(fragment.get("index"), int) else 0
        call = self._calls.setdefault(index, _PartialCall(f"toolu_{self._request_id}_{index}"))
        call.add(fragment)
        if call is self._open:
            self._write_arguments(call)
        self._advance()

    def settle(self) -> bool:
        """Close the open block if its call is complete; return whether no call is left that is not."""
        if self._open and self._open.is_complete():
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
        while self._next() and (self._open is None or self._open.is_complete()):
            if self._open:
                self._close(self._open)
            self._open_next()

    def _next(self) -> _PartialCall | None:
        waiting = [index for index, call in self._calls.items() if call.name and not call.is_begun]
        return self._calls[min(waiting)] if waiting else None

    def _open_next(self) -> None:
        call = self._next()
        if call is None:
            return
        self.has_any = call.is_begun = True
        self._open = call
        self._blocks.open_tool(call.id, self._names.get(call.name, call.name))
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
    """One call: what is known of it, and which of its arguments were not written yet."""

    def __init__(self, own_id: str) -> None:
        self.id = own_id
        self.name = ""
        self.is_begun = self.is_closed = False
        self._written: list[str] = []
        self._waiting = ""

    def add(self, fragment: Json) -> None:
        function = as_dict(fragment.get("function") or fragment.get("custom"))
        arguments = function.get("arguments", function.get("input"))
        text = dumps(arguments).decode() if isinstance(arguments, dict) else as_text(arguments)
        if self.is_closed and text.strip():
            raise UpstreamProtocolError("The upstream continued a tool call whose arguments were complete.")
        if not self.is_begun:
            self.id = as_text(fragment.get("id")) or self.id
            self.name += as_text(function.get("name"))
        self._waiting += text

    def take(self) -> str:
        """Return the arguments to write now."""
        if not self._written and self._waiting.strip() in ("", _EMPTY):
            return ""
        if not self._written and self._waiting.lstrip().startswith(_EMPTY):
            self._waiting = self._waiting.lstrip().removeprefix(_EMPTY)
        return self.take_rest()

    def take_rest(self) -> str:
        """Return all arguments that were not written yet."""
        piece, self._waiting = self._waiting, ""
        if piece:
            self._written.append(piece)
        return piece

    def is_complete(self) -> bool:
        """Return whether the arguments are a whole object, and not the empty one."""
        text = "".join([*self._written, self._waiting]) if self._ends_object() else ""
        if text.strip() in ("", _EMPTY):
            return False
        try:
            return isinstance(loads(text.encode("utf-8", "surrogatepass")), dict)
        except JsonError:
            return False

    def _ends_object(self) -> bool:
        last = self._waiting or (self._written[-1] if self._written else "")
        return last.rstrip().endswith("}") or (not last.strip() and bool(self._written))
