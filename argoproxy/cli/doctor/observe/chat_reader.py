"""Collect what the events of a completion hold."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from argoproxy.cli.doctor.judge.observations import Chat, HttpAnswer
from argoproxy.errors import ProxyError
from argoproxy.protocol.json_text import Json, as_dict, as_dicts, as_text
from argoproxy.protocol.reasoning.thought_fields import TEXT_FIELDS
from argoproxy.protocol.stream.chunks import iterate_choices
from argoproxy.protocol.stream.sse import Batch, Document, Event, is_done

MOST_TEXT = 64 * 1024


class ChatReader:
    """Takes the batches of one answer; `result` is what they held. Only the first choice is read."""

    def __init__(self, answer: HttpAnswer) -> None:
        self._answer = answer
        self._content: list[str] = []
        self._thoughts: dict[str, list[str]] = {}
        self._tools: list[str] = []
        self._finish = self._problem = ""
        self._has_usage = self._is_cut = False
        self._events = self._documents = 0

    def feed(self, batch: Batch) -> None:
        """Read the events of a batch."""
        for event in batch:
            if isinstance(event, Document):
                self._documents += 1
            if is_done(event):
                continue
            self._read(event)

    def fail(self, error: ProxyError, body: bytes) -> None:
        """Note that the answer is an error, or breaks off."""
        answer = replace(self._answer, body=body.decode("utf-8", "replace"))
        self._answer = answer
        self._problem = answer.message or error.message

    def cut(self) -> None:
        """Note that the rest was not read."""
        self._is_cut = True

    def result(self, arrivals: Sequence[tuple[float, int]], mask: Callable[[str], str]) -> Chat:
        """Return the chat, secrets starred."""
        return Chat(
            answer=replace(self._answer, body=mask(self._answer.body)),
            content=mask("".join(self._content)[:MOST_TEXT]),
            thoughts={name: mask("".join(texts)[:MOST_TEXT]) for name, texts in self._thoughts.items()},
            tools=tuple(self._tools),
            finish=self._finish,
            has_usage=self._has_usage,
            is_stream=self._documents == 0 and self._events > 0,
            is_cut=self._is_cut,
            events=self._events,
            arrivals=tuple(arrivals),
            problem=mask(" ".join(self._problem.split())[:300]),
        )

    def _read(self, event: Event) -> None:
        chunk = event.chunk
        if chunk is None:
            return
        self._events += 1
        self._has_usage = self._has_usage or bool(as_dict(chunk.get("usage")))
        for index, choice in iterate_choices(chunk.get("choices")):
            if index == 0:
                self._finish = as_text(choice.get("finish_reason")) or self._finish
                self._read_message(as_dict(choice.get("message") or choice.get("delta")))

    def _read_message(self, message: Json) -> None:
        content = message.get("content")
        parts = as_dicts(content)
        thinking = [part for part in parts if part.get("type") == "thinking"]
        self._content.append(as_text(content) + "".join(as_text(part.get("text")) for part in parts))
        for name in TEXT_FIELDS:
            if text := as_text(message.get(name)):
                self._thoughts.setdefault(name, []).append(text)
        if thinking:
            self._thoughts.setdefault("content (parts of type thinking)", []).append(str(thinking[0]))
        for call in as_dicts(message.get("tool_calls")):
            if name := as_text(as_dict(call.get("function")).get("name")):
                self._tools.append(name)
