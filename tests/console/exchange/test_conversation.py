"""Messages and answers of each API become the same pieces."""

from __future__ import annotations

import pytest

from argoproxy.console.exchange.conversation import read_answer, read_error, read_parameters, read_tools, read_turns
from argoproxy.console.exchange.parts import MOST_CHARACTERS, make_part
from argoproxy.protocol.json_text import Json

CALL = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"at":1}'}}
REQUESTS: dict[str, tuple[Json, list[tuple[str, str, str]]]] = {
    "chat": (
        {"messages": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hello!"}]},
        [("system", "text", "Be kind."), ("user", "text", "Hello!")],
    ),
    "parts": (
        {
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "What is this?"},
                        {"type": "image_url", "image_url": {"url": "x"}},
                    ],
                }
            ]
        },
        [("user", "text", "What is this?"), ("user", "media", '{"type":"image_url","image_url":{"url":"x"}}')],
    ),
    "tools": (
        {
            "messages": [
                {"role": "assistant", "content": None, "reasoning_content": "hm", "tool_calls": [CALL]},
                {"role": "tool", "tool_call_id": "c1", "content": "42"},
            ]
        },
        [("assistant", "thought", "hm"), ("assistant", "tool_call", '{"at":1}'), ("tool", "tool_result", "42")],
    ),
    "completion": ({"prompt": ["one", "two"]}, [("user", "text", "one"), ("user", "text", "two")]),
    "response": (
        {
            "instructions": "Be kind.",
            "input": [
                {"role": "user", "content": [{"type": "input_text", "text": "Hello!"}]},
                {"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}]},
                {"type": "function_call", "name": "look", "call_id": "c1", "arguments": "{}"},
                {"type": "function_call_output", "call_id": "c1", "output": "42"},
            ],
        },
        [
            ("system", "text", "Be kind."),
            ("user", "text", "Hello!"),
            ("assistant", "thought", "hm"),
            ("assistant", "tool_call", "{}"),
            ("tool", "tool_result", "42"),
        ],
    ),
    "messages": (
        {
            "system": [{"type": "text", "text": "Be kind."}],
            "messages": [
                {
                    "role": "assistant",
                    "content": [{"type": "thinking", "thinking": "hm"}, {"type": "tool_use", "input": {}}],
                },
                {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c1", "content": "42"}]},
            ],
        },
        [
            ("system", "text", "Be kind."),
            ("assistant", "thought", "hm"),
            ("assistant", "tool_call", "{}"),
            ("user", "tool_result", "42"),
        ],
    ),
    "dashscope": ({"input": {"messages": [{"role": "user", "content": "Hello!"}]}}, [("user", "text", "Hello!")]),
    "embeddings": ({"input": "a text"}, [("user", "text", "a text")]),
    "odd": (
        {"messages": [7, {"role": "user", "content": [7, None]}]},
        [("user", "other", "7"), ("user", "other", "null")],
    ),
    "empty": ({}, []),
}
ANSWERS: dict[str, tuple[Json, list[tuple[str, str]]]] = {
    "chat": (
        {"choices": [{"message": {"role": "assistant", "reasoning": "hm", "content": "Hello!", "tool_calls": [CALL]}}]},
        [("thought", "hm"), ("text", "Hello!"), ("tool_call", '{"at":1}')],
    ),
    "refusal": ({"choices": [{"message": {"content": None, "refusal": "No."}}]}, [("refusal", "No.")]),
    "completion": ({"choices": [{"text": "Hello!"}]}, [("text", "Hello!")]),
    "response": (
        {"output": [{"type": "message", "content": [{"type": "output_text", "text": "Hello!"}]}]},
        [("text", "Hello!")],
    ),
    "messages": (
        {"content": [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "Hello!"}]},
        [("thought", "hm"), ("text", "Hello!")],
    ),
    "argo": ({"response": "Hello!"}, [("text", "Hello!")]),
    "argo with tools": (
        {"response": {"content": "Hello!", "tool_calls": [CALL]}},
        [("text", "Hello!"), ("tool_call", '{"at":1}')],
    ),
    "dashscope": ({"output": {"choices": [{"message": {"content": "Hello!"}}]}}, [("text", "Hello!")]),
    "dashscope's text": ({"output": {"text": "Hello!"}}, [("text", "Hello!")]),
    "embeddings": ({"object": "list", "data": [{}, {}]}, [("other", "2 entries")]),
    "error": ({"error": {"message": "no"}}, []),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_a_request_of_any_api_has_turns(name: str) -> None:
    body, expected = REQUESTS[name]
    turns = read_turns(body)
    assert [(turn["role"], part["kind"], part["text"]) for turn in turns for part in turn["parts"]] == expected


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_of_any_api_has_turns(name: str) -> None:
    body, expected = ANSWERS[name]
    assert [(part["kind"], part["text"]) for turn in read_answer(body) for part in turn["parts"]] == expected


def test_an_answer_says_how_it_ended() -> None:
    assert [turn["finish"] for turn in read_answer({"choices": [{"text": "a", "finish_reason": "length"}]})] == [
        "length"
    ]


def test_parameters_are_what_is_no_message_and_no_tool() -> None:
    body = {"model": "m", "messages": [], "tools": [{"type": "function", "function": {"name": "look"}}], "top_p": 1}
    assert read_parameters(body) == {"model": "m", "top_p": 1}
    assert read_tools(body) == [{"name": "look", "description": ""}]
    wrapped = {"model": "m", "input": {"messages": []}, "parameters": {"top_p": 1}}
    assert read_parameters(wrapped) == {"model": "m", "top_p": 1}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"error": {"message": "No.", "code": "refused"}}, "No. (refused)"),
        ({"error": "No."}, "No."),
        ({"error": ["No."]}, '["No."]'),
        ({}, ""),
    ],
)
def test_an_error_is_told_in_its_words(body: Json, message: str) -> None:
    assert read_error(body) == message


def test_a_long_text_is_cut_and_says_so() -> None:
    part = make_part("text", "x" * (MOST_CHARACTERS + 3), "content")
    assert (len(part["text"]), part["cut"]) == (MOST_CHARACTERS, 3)
