from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from argoproxy.errors import BadRequest, UpstreamProtocolError
from argoproxy.upstreams.argo.tools import convert_tools, parse_calls

Json = dict[str, Any]
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
TOOL = {"type": "function", "function": {"name": "weather", "description": "Tells it.", "parameters": SCHEMA}}
BARE = {"type": "function", "function": {"name": "time"}}
EMPTY = {"type": "object", "properties": {}}


def call(call_id: str, name: str, arguments: Any) -> Json:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def test_openais_shape_goes_through() -> None:
    body = {"tools": [TOOL], "tool_choice": "auto", "parallel_tool_calls": False, "messages": ["any"]}
    assert convert_tools("gpt", body) is body


@pytest.mark.parametrize("family", ["gpt", "claude", "gemini"])
@pytest.mark.parametrize("tools", [[], None])
def test_no_tools_are_not_sent(family: str, tools: Any) -> None:
    assert convert_tools(family, {"tools": tools, "tool_choice": "none", "parallel_tool_calls": True}) == {}


def test_tools_for_claude() -> None:
    shaped = convert_tools("claude", {"tools": [TOOL, BARE], "parallel_tool_calls": True})
    assert shaped == {
        "tools": [
            {"name": "weather", "description": "Tells it.", "input_schema": SCHEMA},
            {"name": "time", "description": "", "input_schema": EMPTY},
        ]
    }


def test_tools_for_gemini() -> None:
    assert convert_tools("gemini", {"tools": [TOOL]}) == {
        "tools": [{"name": "weather", "description": "Tells it.", "parameters": SCHEMA}]
    }


NAMED = {"type": "function", "function": {"name": "weather"}}


@pytest.mark.parametrize(
    ("choice", "claude", "gemini"),
    [
        ("auto", {"type": "auto"}, "AUTO"),
        ("required", {"type": "any"}, "ANY"),
        ("none", {"type": "none"}, "NONE"),
        (NAMED, {"type": "tool", "name": "weather"}, "ANY"),
        ({"type": "auto"}, {"type": "auto"}, "ANY"),
        ("odd", "odd", "odd"),
    ],
)
def test_choices(choice: Any, claude: Any, gemini: Any) -> None:
    body = {"tools": [TOOL], "tool_choice": choice}
    assert convert_tools("claude", body)["tool_choice"] == claude
    assert convert_tools("gemini", body)["tool_choice"] == gemini


HISTORY = [
    {"role": "user", "content": "Weather and time?"},
    {
        "role": "assistant",
        "content": "Let me see.",
        "tool_calls": [call("a", "weather", '{"city":"Rome"}'), call("b", "time", "")],
    },
    {"role": "tool", "tool_call_id": "b", "content": "noon"},
    {"role": "tool", "tool_call_id": "a", "content": "sunny"},
    {"role": "assistant", "content": "", "tool_calls": [call("c", "time", "[1]")]},
    {"role": "tool", "tool_call_id": "c", "content": None},
]


def test_claudes_history_is_made_of_blocks() -> None:
    before = deepcopy(HISTORY)
    assert convert_tools("claude", {"tools": [TOOL], "messages": HISTORY})["messages"] == [
        HISTORY[0],
        {
            "role": "assistant",
            "content": [
                {"type": "text", "text": "Let me see."},
                {"type": "tool_use", "id": "a", "name": "weather", "input": {"city": "Rome"}},
                {"type": "tool_use", "id": "b", "name": "time", "input": {}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "b", "content": "noon"},
                {"type": "tool_result", "tool_use_id": "a", "content": "sunny"},
            ],
        },
        {
            "role": "assistant",
            "content": [{"type": "tool_use", "id": "c", "name": "time", "input": {"arguments": [1]}}],
        },
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c", "content": ""}]},
    ]
    assert before == HISTORY


def test_geminis_history_has_each_call_followed_by_its_result() -> None:
    a, b = call("a", "weather", '{"city":"Rome"}'), call("b", "time", "")
    assert convert_tools("gemini", {"messages": HISTORY})["messages"] == [
        HISTORY[0],
        {"role": "assistant", "content": "Let me see.", "tool_calls": [a]},
        {"role": "tool", "tool_call_id": "a", "content": "sunny", "name": "weather"},
        {"role": "assistant", "content": "", "tool_calls": [b]},
        {"role": "tool", "tool_call_id": "b", "content": "noon", "name": "time"},
        {"role": "assistant", "content": "", "tool_calls": [call("c", "time", "[1]")]},
        {"role": "tool", "tool_call_id": "c", "content": None, "name": "time"},
    ]


def test_a_result_belongs_to_the_turn_it_follows() -> None:
    """Servers that count their calls begin anew in each turn."""
    first, second = call("call_0", "weather", "{}"), call("call_0", "time", "{}")
    history = [
        {"role": "tool", "tool_call_id": "call_0", "content": "of no turn"},
        {"role": "assistant", "content": "", "tool_calls": [first]},
        {"role": "tool", "tool_call_id": "call_0", "content": "FIRST"},
        {"role": "assistant", "content": "", "tool_calls": [second]},
        {"role": "tool", "tool_call_id": "call_0", "content": "SECOND"},
        {"role": "tool", "tool_call_id": "other", "content": "left over"},
    ]
    shaped = convert_tools("gemini", {"messages": history})["messages"]
    assert [message["content"] for message in shaped] == ["of no turn", "", "FIRST", "", "SECOND", "left over"]
    assert [message.get("name") for message in shaped] == [None, None, "weather", None, "time", None]


@pytest.mark.parametrize("family", ["claude", "gemini"])
@pytest.mark.parametrize("call_id", [[1], {"a": 1}, 5, None])
def test_odd_ids_are_nobodys_fault(family: str, call_id: Any) -> None:
    messages = [
        {"role": "assistant", "tool_calls": [{"id": call_id, "function": {"name": "f"}}]},
        {"role": "tool", "tool_call_id": call_id, "content": "x"},
    ]
    assert len(convert_tools(family, {"messages": messages})["messages"]) == 2


def test_odd_histories_go_on_as_they_are() -> None:
    odd = [
        "text",
        {"role": "tool", "tool_call_id": "z", "content": "orphan"},
        {"role": "assistant", "tool_calls": ["odd", {"id": "q", "function": "odd"}]},
    ]
    assert convert_tools("gemini", {"messages": odd})["messages"][:2] == odd[:2]
    claude = convert_tools("claude", {"messages": odd})["messages"]
    assert claude[1]["content"][0]["tool_use_id"] == "z"
    assert claude[2]["content"] == [{"type": "tool_use", "id": "q", "name": None, "input": {}}]


@pytest.mark.parametrize("text", ["{", "text", "[1]", "5"])
def test_arguments_that_are_no_object_are_kept(text: str) -> None:
    message = {"role": "assistant", "tool_calls": [call("a", "f", text)]}
    (shaped,) = convert_tools("claude", {"messages": [message]})["messages"]
    assert set(shaped["content"][0]["input"]) == {"arguments"}


@pytest.mark.parametrize("tool", ["odd", {}, {"type": "custom", "custom": {}}, {"function": {"name": 5}}])
@pytest.mark.parametrize("family", ["claude", "gemini"])
def test_other_tools_are_refused(family: str, tool: Any) -> None:
    with pytest.raises(BadRequest) as caught:
        convert_tools(family, {"tools": [TOOL, tool]})
    assert caught.value.param == "tools[1]"


@pytest.mark.parametrize(
    ("item", "read"),
    [
        (call("a", "f", '{"x":1}'), call("a", "f", '{"x":1}')),
        (call("a", "f", {"x": 1}), call("a", "f", '{"x":1}')),
        ({"id": "t", "type": "tool_use", "name": "f", "input": {"x": "é"}}, call("t", "f", '{"x":"é"}')),
        ({"id": None, "name": "f", "args": {}}, call("call_own_0", "f", "{}")),
        ({"name": "f"}, call("call_own_0", "f", "{}")),
        ({"id": [1], "name": "f"}, call("call_own_0", "f", "{}")),
        ({"id": 1e999, "name": "f"}, call("call_own_0", "f", "{}")),
    ],
)
def test_calls_of_all_three_shapes(item: Json, read: Json) -> None:
    assert parse_calls([item], "own") == [read]


@pytest.mark.parametrize("items", [["odd"], [{}], [{"function": {}}], [{"name": 5}]])
def test_calls_that_are_none(items: Any) -> None:
    with pytest.raises(UpstreamProtocolError):
        parse_calls(items, "own")
    assert parse_calls(None, "own") == []


def test_results_of_no_call_keep_their_order_behind_the_turn() -> None:
    calls = [{"id": name, "function": {"name": name}} for name in "ab"]
    results = [{"role": "tool", "tool_call_id": name} for name in ("x", "b", "a", "a", ["y"])]
    history = [{"role": "assistant", "tool_calls": calls, "note": 1}, *results]
    shaped = convert_tools("gemini", {"messages": history})["messages"]
    assert shaped == [
        {"role": "assistant", "content": "", "tool_calls": calls[:1], "note": 1},
        {"role": "tool", "tool_call_id": "a", "name": "a"},
        {"role": "assistant", "content": "", "tool_calls": calls[1:]},
        {"role": "tool", "tool_call_id": "b", "name": "b"},
        *(results[place] for place in (0, 3, 4)),
    ]
