from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from argoproxy.protocol.reasoning.makers import keep_readable, mark, mark_of

Json = dict[str, Any]
ONE, OTHER = mark_of("one"), mark_of("other")
DETAIL = {"type": "reasoning.text", "signature": "s"}
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}


def chat(*details: Any, calls: Any = ()) -> Json:
    message = {"role": "assistant", "content": "x", "reasoning_content": "hm"}
    kept = {"reasoning_details": list(details)} if details else {}
    return {"messages": [{"role": "user", "content": "hi"}, {**message, **kept, "tool_calls": list(calls)}]}


def test_a_mark_names_no_upstream() -> None:
    assert ONE != OTHER
    assert "one" not in ONE
    assert mark([DETAIL], "") == [DETAIL]


def test_what_an_upstream_made_goes_back_to_it_alone() -> None:
    extra = {"google": {"thought_signature": "t"}}
    body = chat(
        *mark([DETAIL], ONE),
        *mark([{**DETAIL, "index": 1}], OTHER),
        calls=[{**CALL, "extra_content": mark([extra], ONE)[0]}, CALL, "odd"],
    )
    before = deepcopy(body)
    own, left_out = keep_readable(body, "one")
    assert own == chat(DETAIL, calls=[{**CALL, "extra_content": extra}, CALL, "odd"])
    assert left_out == ["messages[1].reasoning_details"]
    other, left_out = keep_readable(body, "other")
    assert other == chat({**DETAIL, "index": 1}, calls=[CALL, CALL, "odd"])
    assert left_out == ["messages[1].reasoning_details", "messages[1].tool_calls[0].extra_content"]
    third, left_out = keep_readable(body, "third")
    assert third == chat(calls=[CALL, CALL, "odd"])
    assert len(left_out) == 2
    assert body == before


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"messages": "odd"},
        {"messages": ["odd", {"role": "assistant", "reasoning_details": ["odd", 1]}]},
        chat(DETAIL),
    ],
)
def test_what_has_no_mark_stays_as_it_is(body: Json) -> None:
    kept, left_out = keep_readable(body, "one")
    assert kept is body
    assert left_out == []


def test_odd_values_beside_a_mark_stay() -> None:
    assert keep_readable(chat("odd", *mark([DETAIL], OTHER)), "one")[0] == chat("odd")
