"""Tool calls in fragments, as OpenAI streams them: which call a fragment belongs to, and what in it is new.

The rules, for streams and for documents assembled from them: calls are numbered from 0 in the order in which they
begin. A fragment continues the call with its index; without an index, the call with its id, else the last one. It
begins another call when its index is new; when it has a new id and either no index or a name (one index for two ids);
or when it has a name but no id, and the arguments of the call it would continue were complete in its first fragment
(Gemini's calls can come without index and id). `id`, `type` and `name` are sent once, arguments are text.

Sources: OpenAI API reference (chat streaming); openai-python's `stream()` joins repeated strings and fails without an
index; python-genai issue 2868, lmstudio-bug-tracker issue 649.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from operator import is_
from typing import Any

from argoproxy.protocol.json_text import Json, JsonError, as_text, loads
from argoproxy.protocol.stream.chunks import choice_index
from argoproxy.protocol.stream.runs import TextRun
from argoproxy.protocol.stream.sse import Batch, Event, encode_json

#: The keys under which a call names what it calls: a function, or a custom tool.
TOOL_KINDS = ("function", "custom")

#: The arguments of a function and of a custom tool. They are text, whatever the text contains.
ARGUMENTS = frozenset(("arguments", "input"))

_ONCE_IN_CALL = ("id", "type")
_ONCE_IN_TOOL = ("name",)

_MARK = b'"tool_calls"'
#: Most fragments: the index of a choice, that of a call, and arguments.
_PLAIN_FRAGMENT = re.compile(
    rb'"choices":\[\{"index":(\d{1,9}),"delta":\{"tool_calls":\[\{"index":(\d{1,9}),'
    rb'"function":\{"arguments":"[^"\\]*(?:\\.[^"\\]*)*"\}\}\]\}'
)


class ToolCallFilter:
    """A Filter that repairs the tool calls of every choice: indexes and fragments as OpenAI sends them. Complete calls
    in a message need no index; only arguments sent as an object are changed. Correct events pass unparsed."""

    takes_runs = True

    def __init__(self) -> None:
        self._choices: dict[int, ToolCalls] = {}

    def feed(self, batch: Batch) -> Batch:
        passed = batch
        for position, event in enumerate(batch):
            if type(event) is TextRun or _MARK not in event.raw or self._is_correct(event.raw):
                continue
            if (new := self._repair(event)) is not event:
                passed = list(batch) if passed is batch else passed
                passed[position] = new
        return passed

    def finish(self) -> Batch:
        return []

    def _is_correct(self, raw: bytes) -> bool:
        """Return whether an event is known, unparsed, to hold a single fragment that needs no repair."""
        plain = _PLAIN_FRAGMENT.search(raw)
        if not plain or raw.count(_MARK) > 1:
            return False
        calls = self._choices.get(int(plain.group(1)))
        return calls is not None and calls.continue_call(int(plain.group(2)))

    def _repair(self, event: Event) -> Event:
        chunk = event.chunk or {}
        choices = chunk.get("choices")
        if not isinstance(choices, list):
            return event
        new = [self._repair_choice(position, choice) for position, choice in enumerate(choices)]
        return event if all(map(is_, new, choices)) else type(event).of({**chunk, "choices": new})

    def _repair_choice(self, position: int, choice: Any) -> Any:
        if not isinstance(choice, dict):
            return choice
        calls = self._choices.setdefault(choice_index(choice, position), ToolCalls())
        return _with_calls(_with_calls(choice, "delta", calls.repair), "message", _complete_calls_with_text)


class ToolCalls:
    """The tool calls of one choice, fragment by fragment."""

    def __init__(self) -> None:
        self._count = 0
        self._by_index: dict[int, _ToolCall] = {}
        self._by_id: dict[str, _ToolCall] = {}
        self._last: _ToolCall | None = None

    def repair(self, fragments: Any) -> Any:
        """Return the fragments of a delta as they should have been sent: the same object if nothing is wrong, or if
        they are no list. Raises UpstreamProtocolError."""
        if not isinstance(fragments, list):
            return fragments
        new = [self._repair_fragment(part) if isinstance(part, dict) else part for part in fragments]
        return fragments if all(map(is_, new, fragments)) else new

    def continue_call(self, index: int) -> bool:
        """Take a fragment that holds an index and arguments only; return whether it needs no repair."""
        call = self._by_index.get(index)
        self._last = call or self._last
        return call is not None and call.index == index

    def _repair_fragment(self, fragment: Json) -> Json:
        if _is_plain(fragment) and self.continue_call(fragment["index"]):
            return fragment
        index, call_id = _index_of(fragment), as_text(fragment.get("id"))
        call = self._by_index.get(index) if index is not None else self._last
        if call and call.id and call_id not in ("", call.id):
            call = self._by_id.get(call_id, call)
        if call is None or call.is_followed_by(fragment):
            call = self._begin(index)
        repaired = call.add(fragment)
        if call_id and call.id == call_id:
            self._by_id[call_id] = call
        self._last = call
        return repaired

    def _begin(self, index: int | None) -> _ToolCall:
        call = _ToolCall(self._count)
        self._count += 1
        if index is None:
            self._by_index.setdefault(call.index, call)
        else:
            self._by_index[index] = call
        return call


class _ToolCall:
    """One call so far: its index in the repaired stream, and its fields that are sent once."""

    __slots__ = ("_has_begun", "_is_complete", "_sent", "index")

    def __init__(self, index: int) -> None:
        self.index = index
        self._has_begun = False
        self._is_complete = False
        self._sent: dict[str, Any] = {}

    @property
    def id(self) -> str:
        """Its id, "" while it has none."""
        return as_text(self._sent.get("id"))

    def is_followed_by(self, fragment: Json) -> bool:
        """Return whether a fragment that seems to belong to this call begins another one."""
        call_id, name = as_text(fragment.get("id")), _name_of(fragment)
        if call_id and self.id:
            return call_id != self.id and bool(name or _index_of(fragment) is None)
        return bool(name) and self._is_complete and "name" in self._sent

    def add(self, fragment: Json) -> Json:
        """Return what is new in a fragment, under the index of the call."""
        new = _with_tools(
            self._drop_repeated(fragment, _ONCE_IN_CALL),
            lambda tool: _with_text_arguments(self._drop_repeated(tool, _ONCE_IN_TOOL)),
        )
        if not self._has_begun:
            self._has_begun = True
            self._is_complete = not self.id and _has_complete_arguments(new)
        return new if _index_of(new) == self.index else {**new, "index": self.index}

    def _drop_repeated(self, fields: Json, keys: tuple[str, ...]) -> Json:
        old = [key for key in keys if key in fields and not self._is_new(key, fields[key])]
        return {key: value for key, value in fields.items() if key not in old} if old else fields

    def _is_new(self, key: str, value: Any) -> bool:
        if value and key not in self._sent:
            self._sent[key] = value
            return True
        return not self._has_begun


def complete_call_with_text(call: Json) -> Json:
    """Return a complete call whose arguments are text, the same object if they are. Raises UpstreamProtocolError."""
    return _with_tools(call, _with_text_arguments)


def arguments_as_text(arguments: Any) -> Any:
    """Return arguments that were sent as an object or a list as JSON text. Raises UpstreamProtocolError."""
    return encode_json(arguments).decode() if isinstance(arguments, dict | list) else arguments


def _with_calls(choice: Json, holder: str, repair: Callable[[Any], Any]) -> Json:
    """Return a choice whose delta or message (`holder`) has repaired tool calls."""
    message = choice.get(holder)
    calls = message.get("tool_calls") if isinstance(message, dict) else None
    new = repair(calls)
    return choice if new is calls else {**choice, holder: {**choice[holder], "tool_calls": new}}


def _complete_calls_with_text(calls: Any) -> Any:
    if not isinstance(calls, list):
        return calls
    new = [complete_call_with_text(call) if isinstance(call, dict) else call for call in calls]
    return calls if all(map(is_, new, calls)) else new


def _is_plain(fragment: Json) -> bool:
    """Return whether a fragment holds an index and a function's arguments only."""
    tool = fragment.get("function")
    return (
        len(fragment) == 2
        and type(fragment.get("index")) is int
        and isinstance(tool, dict)
        and len(tool) == 1
        and isinstance(tool.get("arguments"), str)
    )


def _index_of(fragment: Json) -> int | None:
    index = fragment.get("index")
    return index if isinstance(index, int) and not isinstance(index, bool) else None


def _name_of(fragment: Json) -> Any:
    """Return the name of the function or tool; None if the fragment has none."""
    return next((tool["name"] for _, tool in _tools_of(fragment) if tool.get("name")), None)


def _tools_of(call: Json) -> list[tuple[str, Json]]:
    return [(kind, call[kind]) for kind in TOOL_KINDS if isinstance(call.get(kind), dict)]


def _with_tools(call: Json, change: Callable[[Json], Json]) -> Json:
    new = {kind: change(tool) for kind, tool in _tools_of(call)}
    return {**call, **new} if any(call[kind] is not tool for kind, tool in new.items()) else call


def _with_text_arguments(tool: Json) -> Json:
    texts = {key: arguments_as_text(tool[key]) for key in ARGUMENTS if key in tool}
    return {**tool, **texts} if any(tool[key] is not text for key, text in texts.items()) else tool


def _has_complete_arguments(call: Json) -> bool:
    """Return whether the arguments are a whole JSON object already, so that nothing can follow them."""
    return any(_is_object(as_text(tool.get("arguments"))) for _, tool in _tools_of(call))


def _is_object(text: str) -> bool:
    try:
        return isinstance(loads(text.encode("utf-8", "surrogatepass")), dict)
    except JsonError:
        return False
