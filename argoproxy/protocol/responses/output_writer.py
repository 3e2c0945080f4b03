"""The output of a response: which item a delta belongs to, and when an item ends."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from argoproxy.protocol.json_text import Json, as_dict, as_text
from argoproxy.protocol.responses.carrier import Thought, ThoughtDetails, encode_thought
from argoproxy.protocol.responses.event_log import EventLog
from argoproxy.protocol.responses.output_items import (
    COMPLETED,
    INCOMPLETE,
    REASONING_TEXT,
    SUMMARY,
    CallItem,
    CustomCallItem,
    ItemSlot,
    MessageItem,
    ReasoningItem,
)
from argoproxy.protocol.responses.request_conversion import ResponsesRequest
from argoproxy.protocol.responses.response_object import ResponseHead
from argoproxy.protocol.stream.json_progress import ObjectProgress

AnyCall = CallItem | CustomCallItem
#: Makes the item of a call.
OpenCall = Callable[["_PendingCall"], AnyCall]
_CUT = frozenset(("length", "content_filter"))


class OutputWriter:
    """Writes the items of one response, one after the other, whatever order the deltas have."""

    def __init__(self, request: ResponsesRequest, head: ResponseHead, log: EventLog) -> None:
        self._request = request
        self._id = head.id
        self._maker = head.maker
        self._log = log
        self._items: list[Json] = []
        self._message: MessageItem | None = None
        self._reasoning: ReasoningItem | None = None
        self._thought_texts: list[str] = []
        self._details = ThoughtDetails()
        self._calls = PendingCalls(self._open_call)
        self._call_ids: set[str] = set()
        #: What came while calls were not complete.
        self._held: list[Callable[[], None]] = []

    def add_text(self, text: str, logprobs: list[Json]) -> None:
        """Add text of the answer."""
        if self._is_after_calls(lambda: self.add_text(text, logprobs)):
            self._open_message().add_text(text, logprobs)

    def add_refusal(self, text: str) -> None:
        """Add text of a refusal."""
        if self._is_after_calls(lambda: self.add_refusal(text)):
            self._open_message().add_refusal(text)

    def annotate(self, annotation: Json) -> None:
        """Add an annotation to the text, if it is of a kind that responses have."""
        citation = as_dict(annotation.get("url_citation"))
        if citation and self._is_after_calls(lambda: self.annotate(annotation)):
            self._open_message().annotate({"type": "url_citation", **citation})

    def add_thought(self, text: str, details: Sequence[Json]) -> None:
        """Add a piece of a thought. Details without text are kept only for a client that takes them."""
        details = details if self._request.wants_encrypted else ()
        if not (text or details) or not self._is_after_calls(lambda: self.add_thought(text, details)):
            return
        reasoning = self._open_reasoning()
        self._details.add(details)
        if text:
            self._thought_texts.append(text)
            reasoning.add_text(text)

    def add_call(self, fragment: Json) -> None:
        """Add a fragment of a call."""
        self._end_texts(COMPLETED)
        self._items += self._calls.add(fragment)

    def finish(self, finish_reason: Any) -> list[Json]:
        """End all items and return the output."""
        status = INCOMPLETE if as_text(finish_reason) in _CUT else COMPLETED
        self._items += self._calls.end_all(COMPLETED if self._held else status)
        self._add_held()
        self._end_texts(status)
        return self._items

    def build(self) -> list[Json]:
        """Return the output so far; an item that has not ended is incomplete."""
        is_open = [item for item in (self._message, self._reasoning) if item]
        return [*self._items, *(item.build(INCOMPLETE) for item in is_open), *self._calls.build(INCOMPLETE)]

    def _is_after_calls(self, again: Callable[[], None]) -> bool:
        """End the calls so far; if some are not complete, note what is to be done after them and return False."""
        self._items += self._calls.end_complete()
        if self._calls:
            self._held.append(again)
            return False
        self._add_held()
        return True

    def _add_held(self) -> None:
        """Do what waited for calls that have ended."""
        held, self._held = self._held, []
        for add in held:
            add()

    def _open_message(self) -> MessageItem:
        if self._message is None:
            self._end_texts(COMPLETED)
            self._message = MessageItem(self._slot("msg"))
        return self._message

    def _open_reasoning(self) -> ReasoningItem:
        if self._reasoning is None:
            self._end_texts(COMPLETED)
            form = SUMMARY if self._request.wants_summary else REASONING_TEXT
            self._reasoning = ReasoningItem(self._slot("rs"), form)
        return self._reasoning

    def _open_call(self, call: _PendingCall) -> AnyCall:
        if call.extra_content:
            carrier = ReasoningItem(self._slot("rs"), SUMMARY)
            carrier.encrypted = self._encode(Thought(extra_content=call.extra_content))
            self._items.append(carrier.close(COMPLETED))
        tool, call_id = self._request.tools.find(call.name), call.id
        if not call_id or call_id in self._call_ids:
            call_id = f"call_{self._id}_{len(self._items)}"
        self._call_ids.add(call_id)
        if tool.kind == "custom":
            return CustomCallItem(self._slot("ctc"), tool, call_id)
        return CallItem(self._slot("fc"), tool, call_id)

    def _end_texts(self, status: str) -> None:
        """End the message or the reasoning that is open."""
        if self._message:
            self._items.append(self._message.close(status))
            self._message = None
        if self._reasoning:
            if self._request.wants_encrypted:
                self._reasoning.encrypted = self._encode(Thought("".join(self._thought_texts), self._details.take()))
            self._items.append(self._reasoning.close(status))
            self._reasoning, self._thought_texts = None, []

    def _encode(self, thought: Thought) -> str:
        return encode_thought(thought, as_text(self._request.body.get("model")), self._maker())

    def _slot(self, prefix: str) -> ItemSlot:
        index = len(self._items)
        return ItemSlot(self._log, index, f"{prefix}_{self._id}_{index}")


class PendingCalls:
    """The calls that have not ended. Their fragments may come mixed, and the items follow each other: the first call
    is passed on as it arrives, fragments of others wait until it is complete, which it is when its JSON object has
    ended and another call has begun, or at the end of the stream."""

    def __init__(self, open_call: OpenCall) -> None:
        self._open_call = open_call
        self._calls: OrderedDict[int, _PendingCall] = OrderedDict()  # popping the first is O(1)
        self._ended: set[int] = set()

    def __bool__(self) -> bool:
        return bool(self._calls)

    def add(self, fragment: Json) -> Iterator[Json]:
        """Take a fragment and yield the items that ended."""
        index = fragment.get("index", 0)
        if index in self._ended:
            return
        self._calls.setdefault(index, _PendingCall()).add(fragment)
        yield from self._advance()

    def end_complete(self) -> Iterator[Json]:
        """Yield the items of calls that are complete, up to the first that is not."""
        while self._calls and self._first().is_complete:
            yield self._end(COMPLETED)

    def end_all(self, last_status: str) -> Iterator[Json]:
        """Yield the items of all calls; the last one ends with a status."""
        while self._calls:
            yield self._end(last_status if len(self._calls) == 1 else COMPLETED)

    def build(self, status: str) -> list[Json]:
        """Return the item of the first call so far, if its events have begun."""
        item = self._first().item if self._calls else None
        return [item.build(status)] if item else []

    def _advance(self) -> Iterator[Json]:
        while len(self._calls) > 1 and self._first().is_complete:
            yield self._end(COMPLETED)
        self._first().pass_on(self._open_call)

    def _first(self) -> _PendingCall:
        return next(iter(self._calls.values()))

    def _end(self, status: str) -> Json:
        index, call = self._calls.popitem(last=False)
        self._ended.add(index)
        return (call.pass_on(self._open_call) or self._open_call(call)).close(status)


class _PendingCall:
    """A call, and those pieces of its arguments that were not passed on."""

    def __init__(self) -> None:
        self.id = self.name = ""
        self.extra_content: Json = {}
        self.item: AnyCall | None = None
        self._pieces: list[str] = []
        self._progress = ObjectProgress()

    @property
    def is_complete(self) -> bool:
        return bool(self.name) and self._progress.is_complete

    def add(self, fragment: Json) -> None:
        """Take a fragment: of a function, or of a custom tool where an upstream has those."""
        tool = as_dict(fragment.get("function")) or as_dict(fragment.get("custom"))
        self.id = self.id or as_text(fragment.get("id"))
        self.name = self.name or as_text(tool.get("name"))
        self.extra_content = self.extra_content or as_dict(fragment.get("extra_content"))
        if piece := as_text(tool.get("arguments")) or as_text(tool.get("input")):
            self._pieces.append(piece)
            self._progress.feed(piece)

    def pass_on(self, open_call: OpenCall) -> AnyCall | None:
        """Pass on what is held, once the name is known; return the item."""
        if self.item is None and self.name:
            self.item = open_call(self)
        if self.item and self._pieces:
            self.item.add("".join(self._pieces))
            self._pieces = []
        return self.item
