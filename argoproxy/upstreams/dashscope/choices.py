"""One choice of DashScope's streams, event by event, as the choices of OpenAI's chunks.

The role is said once. Of a call of a tool the id and the name come with the first fragment, later ones have them empty
or, in cumulative streams, again; what is told of it says them once. Source: "DashScope API reference", September 2026.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from typing import Any

from argoproxy.protocol.api.endpoints import COMPLETIONS
from argoproxy.protocol.json_text import Json, as_dicts
from argoproxy.protocol.routing.call import Call
from argoproxy.protocol.stream.chunks import choice_index
from argoproxy.upstreams.dashscope.parameters import asks_for_increments
from argoproxy.upstreams.dashscope.replies import Said, call_id, function_of
from argoproxy.upstreams.dashscope.texts import Reading, Texts

#: Fields of a message that grow from event to event; whatever else it holds is told when it changes.
_GROWING = ("content", "reasoning_content", "parts")
_LOGPROBS = "logprobs"
_OF_A_CALL = frozenset(("index", "id", "type", "function"))

Grown = Mapping[Hashable, Any]


class Choice:
    """A choice on its way."""

    def __init__(self, index: int, call: Call) -> None:
        self.is_finished = False
        self._index = index
        self._call = call
        self._is_legacy = call.path == COMPLETIONS.path
        self._is_begun = False
        self._texts = Texts(_reading(call))
        self._names: dict[int, str] = {}
        self._others: Json = {}

    def feed(self, said: Said) -> Iterator[Json]:
        """Give what an event says. Raises UpstreamProtocolError for text that was rewritten."""
        if self.is_finished:
            return
        fragments = _fragments(said.message)
        heads = {index: self._head(index, fragment) for index, fragment in fragments.items()}
        grown = self._texts.feed(_growing(said, fragments))
        yield from self._part(grown, heads, self._changes(said.message))
        if said.finish_reason:
            self.is_finished = True
            yield from self._part(self._texts.finish(), {}, {})
            nothing: Json = {"text": ""} if self._is_legacy else {"delta": {}}
            yield {"index": self._index, **nothing, "logprobs": None, "finish_reason": said.finish_reason}

    def _part(self, grown: Grown, heads: Mapping[int, Json], others: Json) -> Iterator[Json]:
        """Give a choice that tells this, if there is anything to tell."""
        ends: Json = {"logprobs": None, "finish_reason": None}
        if self._is_legacy:
            if text := grown.get("content"):
                yield {"index": self._index, "text": text, **ends}
            return
        delta: Json = {**others, **{name: grown[name] for name in _GROWING if name in grown}}
        if calls := _calls(grown, heads):
            delta["tool_calls"] = calls
        if not self._is_begun:
            delta = {"role": "assistant", "content": None if calls else "", "refusal": None, **delta}
        if _LOGPROBS in grown:
            ends["logprobs"] = {"content": grown[_LOGPROBS], "refusal": None}
        if delta or ends["logprobs"]:
            self._is_begun = True
            yield {"index": self._index, "delta": delta, **ends}

    def _head(self, index: int, fragment: Json) -> Json:
        """Give what is said of a call besides its arguments, if that is new."""
        function = {key: value for key, value in function_of(fragment).items() if key != "arguments" and value}
        name = function.get("name", "")
        if index not in self._names:
            self._names[index] = name
            kept = {key: value for key, value in fragment.items() if key not in _OF_A_CALL and value is not None}
            own_id = call_id(fragment.get("id"), self._call, index)
            return {"id": own_id, "type": "function", **kept, "function": {"name": name, **function}}
        if name and not self._names[index]:
            self._names[index] = name
            return {"function": {"name": name}}
        return {}

    def _changes(self, message: Json) -> Json:
        """Give the fields that do not grow and say something else than before."""
        rest = {key: value for key, value in message.items() if key not in (*_GROWING, "role", "tool_calls")}
        new = {key: value for key, value in rest.items() if self._others.get(key) != value}
        self._others |= new
        return new


def _reading(call: Call) -> Reading:
    if not call.stream or asks_for_increments(call):
        return Reading.UNDECIDED
    return Reading.LAST if call.answers_whole else Reading.CUMULATIVE


def _fragments(message: Json) -> dict[int, Json]:
    told = message.get("tool_calls")
    items = as_dicts(told)
    return {choice_index(item, place): item for place, item in enumerate(items)}


def _growing(said: Said, fragments: Mapping[int, Json]) -> dict[Hashable, Any]:
    """Give what grows of an event. No thoughts are no news: they are left out once the answer begins."""
    message, grown = said.message, dict[Hashable, Any]()
    for name, kind in (("content", str), ("reasoning_content", str), ("parts", list)):
        value = message.get(name)
        if isinstance(value, kind) and (value or name == "content"):
            grown[name] = value
    for index, fragment in fragments.items():
        arguments = function_of(fragment).get("arguments")
        if isinstance(arguments, str):
            grown[index] = arguments
    if said.logprobs is not None:
        grown[_LOGPROBS] = said.logprobs
    return grown


def _calls(grown: Grown, heads: Mapping[int, Json]) -> list[Json]:
    """Give the fragments of calls that tell something."""
    fragments = []
    indexes = {index for index in grown if isinstance(index, int)} | {index for index in heads if heads[index]}
    for index in sorted(indexes):
        head = heads.get(index, {})
        function = {**head.get("function", {}), "arguments": grown.get(index, "")}
        fragments.append({"index": index, **head, "function": function})
    return fragments
