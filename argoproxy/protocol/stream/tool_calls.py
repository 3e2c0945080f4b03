"""Tool calls in fragments, as OpenAI streams them: which call a fragment belongs to, and what in it is new.

The rule, for a stream that goes out and for a document made of one: calls are numbered from 0 in the order in which
they begin. A fragment goes on with the call of its index; without an index, with the call of its id, else with the
last one. It begins another call when its index is new; when it has a new id, and no index or a name of its own (one
index for two ids); or when it has no id but a name, and the arguments of the call it would go on with were whole from
the start (Gemini's calls can come without index and id). `id`, `type` and `name` are said once, arguments are text.

Sources: OpenAI API reference (chat streaming); openai-python's `stream()` joins repeated strings and fails without an
index; python-genai issue 2868, lmstudio-bug-tracker issue 649.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import is_
from typing import Any

from argoproxy.protocol.json_text import Json, JsonError, as_text, loads
from argoproxy.protocol.stream.merge import ARGUMENTS, arguments_as_text

#: Where a call says what is called: a function, or a custom tool.
TOOLS = ("function", "custom")

_ONCE = ("id", "type")
_ONCE_INSIDE = ("name",)


class ToolCalls:
    """The tool calls of one choice, fragment by fragment."""

    def __init__(self) -> None:
        self._count = 0
        self._by_index: dict[int, _ToolCall] = {}
        self._by_id: dict[str, _ToolCall] = {}
        self._last: _ToolCall | None = None

    def repaired(self, fragments: Any) -> Any:
        """Give the fragments of a delta as they should have been sent: the very same where nothing is wrong, and
        what is no fragment. Raises UpstreamProtocolError."""
        if not isinstance(fragments, list):
            return fragments
        new = [self._repaired(part) if isinstance(part, dict) else part for part in fragments]
        return fragments if all(map(is_, new, fragments)) else new

    def goes_on(self, index: int) -> bool:
        """Take a fragment of arguments and nothing else: tell whether it is right as it is."""
        call = self._by_index.get(index)
        self._last = call or self._last
        return call is not None and call.place == index

    def _repaired(self, fragment: Json) -> Json:
        if _is_bare(fragment) and self.goes_on(fragment["index"]):
            return fragment
        index, identity = _index(fragment), as_text(fragment.get("id"))
        call = self._by_index.get(index) if index is not None else self._last
        if call and call.identity and identity not in ("", call.identity):
            call = self._by_id.get(identity, call)
        if call is None or call.is_another(fragment):
            call = self._begun(index)
        repaired = call.take(fragment)
        if identity and call.identity == identity:
            self._by_id[identity] = call
        self._last = call
        return repaired

    def _begun(self, index: int | None) -> _ToolCall:
        call = _ToolCall(self._count)
        self._count += 1
        if index is None:
            self._by_index.setdefault(call.place, call)
        else:
            self._by_index[index] = call
        return call


class _ToolCall:
    """One call on its way: its place, and what it has said."""

    __slots__ = ("_has_begun", "_is_whole", "_said", "place")

    def __init__(self, place: int) -> None:
        self.place = place
        self._has_begun = False
        self._is_whole = False
        self._said: dict[str, Any] = {}

    @property
    def identity(self) -> str:
        """Its id, "" while it has none."""
        return as_text(self._said.get("id"))

    def is_another(self, fragment: Json) -> bool:
        """Tell whether a fragment that seems to be of this call begins another one."""
        identity, name = as_text(fragment.get("id")), _name(fragment)
        if identity and self.identity:
            return identity != self.identity and bool(name or _index(fragment) is None)
        return bool(name) and self._is_whole and "name" in self._said

    def take(self, fragment: Json) -> Json:
        """Give what is new in a fragment."""
        new = _with_tools(self._once(fragment, _ONCE), lambda tool: _as_text(self._once(tool, _ONCE_INSIDE)))
        if not self._has_begun:
            self._has_begun = True
            self._is_whole = not self.identity and _is_whole(new)
        return new if _index(new) == self.place else {**new, "index": self.place}

    def _once(self, fields: Json, keys: tuple[str, ...]) -> Json:
        """Leave out what was said before, and what says nothing of it."""
        old = [key for key in keys if key in fields and not self._is_news(key, fields[key])]
        return {key: value for key, value in fields.items() if key not in old} if old else fields

    def _is_news(self, key: str, value: Any) -> bool:
        if value and key not in self._said:
            self._said[key] = value
            return True
        return not self._has_begun


def with_text(call: Json) -> Json:
    """Give a whole call with arguments that are text: the very same where they are. Raises UpstreamProtocolError."""
    return _with_tools(call, _as_text)


def _is_bare(fragment: Json) -> bool:
    """Tell whether a fragment is as most of them are: an index, and arguments of a function."""
    tool = fragment.get("function")
    return (
        len(fragment) == 2
        and type(fragment.get("index")) is int
        and isinstance(tool, dict)
        and len(tool) == 1
        and isinstance(tool.get("arguments"), str)
    )


def _index(fragment: Json) -> int | None:
    index = fragment.get("index")
    return index if isinstance(index, int) and not isinstance(index, bool) else None


def _tools(call: Json) -> list[tuple[str, Json]]:
    """Give what a call or a fragment calls, by its kind."""
    return [(key, call[key]) for key in TOOLS if isinstance(call.get(key), dict)]


def _with_tools(call: Json, changed: Callable[[Json], Json]) -> Json:
    new = {key: changed(tool) for key, tool in _tools(call)}
    return {**call, **new} if any(call[key] is not tool for key, tool in new.items()) else call


def _as_text(tool: Json) -> Json:
    texts = {key: arguments_as_text(tool[key]) for key in ARGUMENTS if key in tool}
    return {**tool, **texts} if any(tool[key] is not text for key, text in texts.items()) else tool


def _name(fragment: Json) -> Any:
    """Give the name of what a fragment calls; None where it says none."""
    return next((tool["name"] for _, tool in _tools(fragment) if tool.get("name")), None)


def _is_whole(call: Json) -> bool:
    """Tell whether the arguments of a call are all there, so that nothing can follow them."""
    return any(_is_object(as_text(tool.get("arguments"))) for _, tool in _tools(call))


def _is_object(text: str) -> bool:
    try:
        return isinstance(loads(text.encode("utf-8", "surrogatepass")), dict)
    except JsonError:
        return False
