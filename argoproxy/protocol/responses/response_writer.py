"""The chunks of a chat as the events of a response. A whole reply takes the same way, so that streamed and whole
responses are the same object."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from argoproxy.errors import ProxyError
from argoproxy.protocol.json_text import Json, as_dict, as_dicts, as_text
from argoproxy.protocol.reasoning.thought_fields import FieldReader
from argoproxy.protocol.responses.event_log import EventLog
from argoproxy.protocol.responses.output_writer import OutputWriter
from argoproxy.protocol.responses.request_conversion import ResponsesRequest
from argoproxy.protocol.responses.response_object import (
    ResponseHead,
    convert_usage,
    end_response,
    fail_response,
    make_response,
)
from argoproxy.protocol.stream.chunks import iterate_choices, split_completion
from argoproxy.protocol.stream.runs import TextRun
from argoproxy.protocol.stream.sse import Batch, Document, check_reply_size


class ResponseWriter:
    """Writes one response, from the batches of its chat."""

    def __init__(self, request: ResponsesRequest, head: ResponseHead) -> None:
        self._request = request
        self._head = head
        self._log = EventLog()
        self._output = OutputWriter(request, head, self._log)
        self._thoughts = FieldReader()
        self._size = 0
        self._usage: Json = {}
        self._finish_reason: Any = None
        #: The response as it stands: None before anything was sent.
        self.response: Json | None = None

    def feed(self, batch: Batch) -> list[Json]:
        """Take a batch and return the events that it makes. Raises UpstreamProtocolError."""
        for event in batch:
            self._size += len(event.raw)
            check_reply_size(self._size)
            if isinstance(event, TextRun):
                self._add_run(event)
            elif isinstance(event, Document):
                for chunk in split_completion(event.chunk):
                    self._add_chunk(chunk)
            elif event.chunk is not None:
                self._add_chunk(event.chunk)
        return self._log.take()

    def finish(self) -> list[Json]:
        """Take the end of the reply and return the last events."""
        response = self._begin("")
        output = self._output.finish(self._finish_reason)
        self.response = end_response(response, output, self._finish_reason, self._usage)
        self._log.add(self.response["status"], response=self.response)
        return self._log.take()

    def fail(self, error: ProxyError) -> list[Json]:
        """Return the events that end the response with an error."""
        response = self._begin("")
        self.response = fail_response(response, self._output.build(), error)
        if self._usage:
            self.response["usage"] = convert_usage(self._usage)
        self._log.add("failed", response=self.response)
        return self._log.take()

    def keep_alive(self) -> list[Json]:
        """Return an event that shows that the stream is alive; none before the first."""
        if self.response is not None:
            self._log.add_keepalive()
        return self._log.take()

    def _begin(self, model: str) -> Json:
        """Add the first two events, once; return the response."""
        if self.response is None:
            head = replace(self._head, model=model or self._head.model)
            self.response = make_response(self._request, head)
            self._log.add("created", response=self.response)
            self._log.add("in_progress", response=self.response)
        return self.response

    def _add_run(self, run: TextRun) -> None:
        """Take a run of events with text: for the client it is one delta."""
        if self.response is None:
            first, _ = run.cut_first()
            self._begin(as_text((first.chunk or {}).get("model")))
        if text := run.text():
            self._output.add_text(text, [])

    def _add_chunk(self, chunk: Json) -> None:
        self._begin(as_text(chunk.get("model")))
        self._usage = as_dict(chunk.get("usage")) or self._usage
        for index, choice in iterate_choices(chunk.get("choices")):
            if index == 0:
                self._add_choice(choice)

    def _add_choice(self, choice: Json) -> None:
        delta = as_dict(choice.get("delta"))
        self._finish_reason = choice.get("finish_reason") or self._finish_reason
        details = as_dicts(delta.get("reasoning_details"))
        if (thought := self._thoughts.read(delta)) or details:
            self._output.add_thought(thought, details)
        text, logprobs = _text_of(delta.get("content")), as_dict(choice.get("logprobs"))
        if text:
            self._output.add_text(text, as_dicts(logprobs.get("content")))
        if refusal := as_text(delta.get("refusal")):
            self._output.add_refusal(refusal)
        for annotation in as_dicts(delta.get("annotations")):
            self._output.annotate(annotation)
        for fragment in _calls_of(delta):
            self._output.add_call(fragment)


def _text_of(content: Any) -> str:
    """Return the text in a content, which Mistral sends in parts."""
    return "".join([as_text(part.get("text")) for part in as_dicts(content)]) or as_text(content)


def _calls_of(delta: Json) -> list[Json]:
    """Return the fragments of calls; `function_call` is the form of older servers."""
    if function := as_dict(delta.get("function_call")):
        return [{"index": 0, "function": function}]
    return as_dicts(delta.get("tool_calls"))
