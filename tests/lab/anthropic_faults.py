"""The laboratory's faults on Anthropic's Messages API: the same words in its events and documents, spoilt alike."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from tests.lab.faults import WORDS, Pieces, Reply
from tests.lab.judge import Case, cases

#: Faults that are written in events of OpenAI, or are none here: a comment is not passed on.
NOT_HERE = {"20,000 tiny events", "[DONE], no finish reason", "comments only"}
HEAD = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m1", "stop_sequence": None}


def frame(kind: str, **fields: Any) -> str:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n"


def events(*words: str) -> Pieces:
    """Give a stream, the first word together with what comes before it."""
    message: dict[str, Any] = {
        **HEAD,
        "content": [],
        "stop_reason": None,
        "usage": {"input_tokens": 1, "output_tokens": 1},
    }
    begun = frame("message_start", message=message)
    begun += frame("content_block_start", index=0, content_block={"type": "text", "text": ""}) + frame("ping")
    deltas = [frame("content_block_delta", index=0, delta={"type": "text_delta", "text": word}) for word in words]
    stop = frame("message_delta", delta={"stop_reason": "end_turn", "stop_sequence": None}, usage={"output_tokens": 9})
    stopped = frame("content_block_stop", index=0) + stop
    return [begun + deltas[0], *deltas[1:], stopped, frame("message_stop")]


def document(text: str) -> Pieces:
    """Give a message in four parts."""
    content = [{"type": "text", "text": text}]
    whole = json.dumps({**HEAD, "content": content, "stop_reason": "end_turn", "usage": {"output_tokens": 9}})
    quarter = len(whole) // 4
    return [whole[:quarter], whole[quarter : 2 * quarter], whole[2 * quarter : 3 * quarter], whole[3 * quarter :]]


class AnthropicCase(Case):
    """A case in which the upstream speaks Anthropic's API."""

    @property
    def said(self) -> Reply:
        text = self.fault.text
        if self.is_said_in_a_stream:
            return Reply("text/event-stream", events(*((text,) if text else WORDS)))
        return Reply("application/json", document(text or "".join(WORDS)))


def anthropic_cases() -> Iterator[AnthropicCase]:
    """Give every fault in every mode, also where the modes of client and upstream differ."""
    for case in cases():
        if case.name not in NOT_HERE and not case.fault.is_of_tls:
            yield AnthropicCase(case.name, case.streams)
            if not case.fault.is_heavy:
                yield AnthropicCase(case.name, not case.streams, crossed=True)
