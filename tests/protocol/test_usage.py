from __future__ import annotations

from typing import Any

import pytest

from argoproxy.protocol.stream.sse import DONE, Document, Event
from argoproxy.protocol.stream.usage import UsageMeter, UsageRemover

USAGE = {"prompt_tokens": 1}
EMPTY = {"id": "i", "object": "chat.completion.chunk", "choices": []}
ALONE = {**EMPTY, "usage": USAGE}


def test_the_last_usage_counts() -> None:
    told: list[Any] = []
    meter, batch = UsageMeter(told.append), [Event.of({"usage": {"a": 1}}), Event.of({"usage": None}), Event.of(ALONE)]
    assert meter.feed(batch) is batch
    assert meter.finish() == []
    assert told == [{"a": 1}, USAGE]


@pytest.mark.parametrize(
    ("chunk", "kept"),
    [
        (ALONE, None),
        ({**ALONE, "choices": None}, None),
        (
            {**ALONE, "citations": ["a"]},
            {"id": "i", "object": "chat.completion.chunk", "choices": [], "citations": ["a"]},
        ),
        ({"choices": [{"index": 0}], "usage": USAGE}, {"choices": [{"index": 0}], "usage": USAGE}),
        ({"choices": [], "x": {"usage": {}}}, {"choices": [], "x": {"usage": {}}}),
        ({"choices": [], "usage": None}, {"choices": [], "usage": None}),
    ],
)
def test_tokens_nobody_asked_for_are_kept_back(chunk: Any, kept: Any) -> None:
    assert [event.chunk for event in UsageRemover().feed([Event.of(chunk)])] == ([] if kept is None else [kept])


def test_what_tells_no_tokens_is_passed_as_it_is() -> None:
    withheld, batch = UsageRemover(), [Event(b": hm\n\n"), Document(b'{"choices": [], "usage": {"a": 1}}'), DONE]
    assert withheld.feed(batch) is batch
    assert withheld.finish() == []
