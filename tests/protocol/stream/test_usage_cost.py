"""The cost in the usage of answers."""

from __future__ import annotations

import json
from typing import Any

from argoproxy.protocol.json_text import Json
from argoproxy.protocol.stream.runs import TextRun
from argoproxy.protocol.stream.sse import DONE, Batch, Document, Event
from argoproxy.protocol.stream.usage_cost import UsageCostFilter

USAGE = {"prompt_tokens": 3, "completion_tokens": 7}


def cost_of(usage: Json) -> int | None:
    count = usage.get("prompt_tokens")
    return count * 700 if isinstance(count, int) else None


def text(raw: bytes) -> Any:
    return json.loads(raw.removeprefix(b"data: "))


def test_the_last_chunk_and_a_document_say_what_they_cost() -> None:
    filters = UsageCostFilter(cost_of)
    (chunk,) = filters.feed([Event(b'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":7}}\n\n')])
    assert text(chunk.raw) == {"choices": [], "usage": {**USAGE, "cost": 0.0000021}}
    (document,) = filters.feed([Document(b'{"choices":[1],"usage":{"prompt_tokens":3}}')])
    assert isinstance(document, Document)
    assert text(document.raw) == {"choices": [1], "usage": {"prompt_tokens": 3, "cost": 0.0000021}}
    assert filters.finish() == []


def test_what_has_no_known_cost_stays_byte_for_byte() -> None:
    batch: Batch = [
        Event(b'data: {"choices":[{"delta":{"content":"\\"usage\\""}}]}\n\n'),
        Event(b'data: {"choices":[], "usage" : null}\n\n'),
        Event(b'data: {"choices":[], "usage" : {"total_tokens": 5, "cost": 1}}\n\n'),
        Event(b"data: [DONE]\n\n"),
        Event(b': "usage"\n\n'),
        TextRun(b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n'),
        DONE,
    ]
    assert UsageCostFilter(cost_of).feed(batch) is batch
