from __future__ import annotations

from typing import Any

import pytest

from argoproxy.protocol.routing.call import Call
from argoproxy.protocol.routing.modes import Mode, Usage, apply_mode, opposite_mode

Json = dict[str, Any]
ASKS = {"include_usage": True}


def call(**body: Any) -> Call:
    return Call("id", 1, "/v1/chat/completions", "", (), body, b"as it came")


ASKED: list[tuple[Json, Mode, Usage, Json]] = [
    ({}, Mode.OFF, Usage.AS_ASKED, {}),
    ({}, Mode.OFF, Usage.ALWAYS, {}),
    ({"stream": True}, Mode.OFF, Usage.AS_ASKED, {"stream": True}),
    ({"stream": True}, Mode.OFF, Usage.ALWAYS, {"stream": True, "stream_options": ASKS}),
    ({"stream": True}, Mode.STREAM, Usage.AS_ASKED, {"stream": True}),
    ({}, Mode.STREAM, Usage.AS_ASKED, {"stream": True, "stream_options": ASKS}),
    ({"stream": None, "stream_options": None}, Mode.STREAM, Usage.AS_ASKED, {"stream": True, "stream_options": ASKS}),
    (
        {"stream": True, "stream_options": {"include_obfuscation": False}},
        Mode.STREAM,
        Usage.ALWAYS,
        {"stream": True, "stream_options": {"include_obfuscation": False, "include_usage": True}},
    ),
    ({"stream": True, "stream_options": ASKS}, Mode.STREAM, Usage.ALWAYS, {"stream": True, "stream_options": ASKS}),
    ({"stream": True, "stream_options": ASKS, "x": 1}, Mode.NON_STREAM, Usage.ALWAYS, {"stream": False, "x": 1}),
    ({"stream": False}, Mode.NON_STREAM, Usage.ALWAYS, {"stream": False}),
]


@pytest.mark.parametrize(("body", "mode", "usage", "sent"), ASKED)
def test_how_a_call_goes_up(body: Json, mode: Mode, usage: Usage, sent: Json) -> None:
    asked = call(**body)
    going = apply_mode(asked, mode, usage)
    assert going.body == sent
    assert (going is asked) == (sent == body)
    assert going.wants_document is asked.wants_document


def test_the_other_mode() -> None:
    assert opposite_mode(call(stream=True)) is Mode.NON_STREAM
    assert opposite_mode(call()) is Mode.STREAM


@pytest.mark.parametrize("mode", [Mode.OFF, Mode.STREAM])
def test_a_stream_that_a_rule_asks_for_tells_its_tokens_to_a_plain_client(mode: Mode) -> None:
    ruled = call(n=1).with_body({"n": 1, "stream": True})
    assert apply_mode(ruled, mode, Usage.AS_ASKED).body == {"n": 1, "stream": True, "stream_options": ASKS}
