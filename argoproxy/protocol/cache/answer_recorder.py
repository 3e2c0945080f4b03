"""Filters that change nothing and find out whether an answer is whole, good, and worth being kept."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from argoproxy.errors import ProxyError
from argoproxy.protocol.cache.cache_policy import CachePolicy
from argoproxy.protocol.cache.kept_answer import LONGEST_KEPT, AnswerForm, CutList, KeptAnswer
from argoproxy.protocol.json_text import Json, as_dict, as_text
from argoproxy.protocol.stream.chunks import iterate_choices
from argoproxy.protocol.stream.runs import TextRun
from argoproxy.protocol.stream.sse import Batch, Document, Event

#: Reasons to finish after which an answer is whole.
_WHOLE = frozenset(("stop", "tool_calls", "function_call"))
_CUT = "length"
#: Chunks that tell more than text: only these are parsed.
_TELLING = re.compile(rb'"(?:finish_reason|refusal|error)"\s*:\s*[^\sn]')
_CALLS = ("tool_calls", "function_call")


class AnswerRecorder:
    """A Filter that stands before all others and collects what came from the upstream."""

    takes_runs = True

    def __init__(self, policy: CachePolicy, choices: int, on_unfit: Callable[[], object]) -> None:
        """`choices` is how many a whole answer has; `on_unfit` is called once it is certain that it is not kept."""
        self._reasons = _WHOLE | {_CUT} if policy.with_length else _WHOLE
        self._choices = choices
        self._finished: set[int] = set()
        self._pieces: list[bytes] = []
        self._cuts = CutList()
        self._size = 0
        self._form = AnswerForm.STREAM
        self._on_unfit = on_unfit
        self._is_unfit = False

    def feed(self, batch: Batch) -> Batch:
        if not self._is_unfit:
            for event in batch:
                self._add(event)
            if self._size > LONGEST_KEPT:
                self._give_up()
        return batch

    def finish(self) -> Batch:
        return []

    def answer(self) -> KeptAnswer | None:
        """Return the whole answer; None if it is not to be kept."""
        if self._is_unfit or len(self._finished) < self._choices:
            return None
        cuts = self._cuts.cuts() if self._form is AnswerForm.STREAM else ()
        return KeptAnswer(self._form, b"".join(self._pieces), cuts)

    def _add(self, event: Event) -> None:
        raw = event.raw
        self._pieces.append(raw)
        self._cuts.add(event)
        self._size += len(raw)
        if type(event) is TextRun:
            return
        if isinstance(event, Document):
            self._form = AnswerForm.DOCUMENT
        elif not _TELLING.search(raw):
            return
        try:
            self._judge(event.chunk or {})
        except ProxyError:  # others may pass it on unread, so this filter must not complain
            self._give_up()

    def _judge(self, chunk: Json) -> None:
        if chunk.get("error"):
            self._give_up()
        for index, choice in iterate_choices(chunk.get("choices")):
            said = as_dict(choice.get("message") or choice.get("delta"))
            reason = choice.get("finish_reason")
            if said.get("refusal") or (reason and reason not in self._reasons):
                self._give_up()
            elif reason:
                self._finished.add(index)

    def _give_up(self) -> None:
        if not self._is_unfit:
            self._is_unfit = True
            self._on_unfit()
        self._pieces.clear()


class ContentDetector:
    """A Filter that stands behind all others and finds out whether the client is given any text or call: an answer of
    thoughts that were removed is nothing that anyone should get again."""

    takes_runs = True

    def __init__(self) -> None:
        self.has_content = False

    def feed(self, batch: Batch) -> Batch:
        if not self.has_content:
            self.has_content = any(map(_shows_content, batch))
        return batch

    def finish(self) -> Batch:
        return []


def _shows_content(event: Event) -> bool:
    if type(event) is TextRun:
        return bool(event.text().strip())
    try:
        chunk = event.chunk or {}
    except ProxyError:
        return False
    return any(_choice_shows_content(choice) for _, choice in iterate_choices(chunk.get("choices")))


def _choice_shows_content(choice: Json) -> bool:
    said = as_dict(choice.get("message") or choice.get("delta"))
    content: Any = said.get("content")
    text = as_text(choice.get("text")) + as_text(content)
    return bool(text.strip()) or isinstance(content, list) or any(said.get(name) for name in _CALLS)
