"""The conversation, as tables."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
from anthropic_upstream.messages import conversation

from argoproxy.api import BadRequest

Json = dict[str, Any]

USER = {"role": "user", "content": "Hi"}
MARK = {"type": "ephemeral", "ttl": "1h"}


def text(words: str) -> Json:
    return {"type": "text", "text": words}


def call(name: str, arguments: Any = "{}", call_id: str = "c1") -> Json:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def use(name: str, given: Json, call_id: str = "c1") -> Json:
    return {"type": "tool_use", "id": call_id, "name": name, "input": given}


def result(call_id: str, *blocks: Json) -> Json:
    made = {"type": "tool_result", "tool_use_id": call_id}
    return {**made, "content": list(blocks)} if blocks else made


CALLS = {"role": "assistant", "content": None, "tool_calls": [call("f"), call("g", '{"a": 1}', "c2")]}
CALLED = {"role": "assistant", "content": [use("f", {}), use("g", {"a": 1}, "c2")]}

ARGUMENTS: list[tuple[Any, Json]] = [
    ("", {}),
    (" ", {}),
    (None, {}),
    ('{"a": [1]}', {"a": [1]}),
    ('{"a":', {"arguments": '{"a":'}),
    ("[1]", {"arguments": [1]}),
    ('{"a": NaN}', {"arguments": '{"a": NaN}'}),
]
CONVERSATIONS: list[tuple[str, list[Any], list[Json]]] = [
    ("a question", [USER], [{"role": "user", "content": [text("Hi")]}]),
    (
        "turns",
        [
            USER,
            {"role": "assistant", "content": "Yes?"},
            {"role": "user", "content": [{"type": "text", "text": "a"}, "b"]},
        ],
        [
            {"role": "user", "content": [text("Hi")]},
            {"role": "assistant", "content": [text("Yes?")]},
            {"role": "user", "content": [text("a"), text("b")]},
        ],
    ),
    ("one turn of several messages", [USER, USER], [{"role": "user", "content": [text("Hi"), text("Hi")]}]),
    (
        "blanks are left out",
        [
            USER,
            {"role": "assistant", "content": " \n"},
            {"role": "user", "content": ["", {"type": "text", "text": "a"}]},
        ],
        [{"role": "user", "content": [text("Hi"), text("a")]}],
    ),
    (
        "thoughts are left out",
        [USER, {"role": "assistant", "content": "a", "reasoning_content": "hm"}],
        [{"role": "user", "content": [text("Hi")]}, {"role": "assistant", "content": [text("a")]}],
    ),
    (
        "a refusal",
        [USER, {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]}],
        [{"role": "user", "content": [text("Hi")]}, {"role": "assistant", "content": [text("no")]}],
    ),
    (
        "calls and results",
        [
            USER,
            CALLS,
            {"role": "tool", "tool_call_id": "c1", "content": "1"},
            {"role": "tool", "tool_call_id": "c2", "content": [{"type": "text", "text": "2"}]},
            USER,
        ],
        [
            {"role": "user", "content": [text("Hi")]},
            CALLED,
            {"role": "user", "content": [result("c1", text("1")), result("c2", text("2")), text("Hi")]},
        ],
    ),
    (
        "results before text",
        [
            USER,
            CALLS,
            {"role": "tool", "tool_call_id": "c1", "content": ""},
            USER,
            {"role": "tool", "tool_call_id": "c2", "content": "2"},
        ],
        [
            {"role": "user", "content": [text("Hi")]},
            CALLED,
            {"role": "user", "content": [result("c1"), result("c2", text("2")), text("Hi")]},
        ],
    ),
    (
        "text beside a call",
        [USER, {"role": "assistant", "content": "Let me see.", "tool_calls": [call("f", {"a": 1})]}],
        [
            {"role": "user", "content": [text("Hi")]},
            {"role": "assistant", "content": [text("Let me see."), use("f", {"a": 1})]},
        ],
    ),
    (
        "ids of other providers",
        [CALLS | {"tool_calls": [call("f", "", "f:0.é")]}, {"role": "tool", "tool_call_id": "f:0.é", "content": "1"}],
        [
            {"role": "assistant", "content": [use("f", {}, "f_0__")]},
            {"role": "user", "content": [result("f_0__", text("1"))]},
        ],
    ),
    *(
        (
            f"arguments {arguments!r}",
            [{"role": "assistant", "tool_calls": [call("f", arguments)]}],
            [{"role": "assistant", "content": [use("f", given)]}],
        )
        for arguments, given in ARGUMENTS
    ),
]


@pytest.mark.parametrize(
    ("messages", "turns"), [case[1:] for case in CONVERSATIONS], ids=[case[0] for case in CONVERSATIONS]
)
def test_conversations(messages: list[Any], turns: list[Json]) -> None:
    before = deepcopy(messages)
    assert conversation(messages) == ([], turns)
    assert messages == before


def test_what_the_system_says_stands_apart_wherever_it_was_said() -> None:
    messages = [
        {"role": "system", "content": "Be brief."},
        USER,
        {"role": "developer", "content": [{"type": "text", "text": "Be kind.", "cache_control": MARK}]},
        USER,
    ]
    system, turns = conversation(messages)
    assert system == [text("Be brief."), {**text("Be kind."), "cache_control": MARK}]
    assert turns == [{"role": "user", "content": [text("Hi"), text("Hi")]}]


def image(url: Any) -> Json:
    return {"type": "image_url", "image_url": url}


def data(media_type: str) -> Json:
    return {"type": "base64", "media_type": media_type, "data": "QUI="}


def user(*parts: Any) -> list[Json]:
    return [{"role": "user", "content": list(parts)}]


@pytest.mark.parametrize(
    ("part", "block"),
    [
        (
            image({"url": "https://x/a.png", "detail": "low"}),
            {"type": "image", "source": {"type": "url", "url": "https://x/a.png"}},
        ),
        (image("http://x/a"), {"type": "image", "source": {"type": "url", "url": "http://x/a"}}),
        ({"image_url": "http://x/a"}, {"type": "image", "source": {"type": "url", "url": "http://x/a"}}),
        (image({"url": "data:image/png;base64,QUI="}), {"type": "image", "source": data("image/png")}),
        (image({"url": "data:image/JPG;charset=x;BASE64,QUI="}), {"type": "image", "source": data("image/jpeg")}),
        (
            {"type": "file", "file": {"file_data": "data:application/pdf;base64,QUI=", "filename": "a.pdf"}},
            {"type": "document", "source": data("application/pdf"), "title": "a.pdf"},
        ),
        (
            {"type": "file", "file": {"file_id": "f1"}},
            {"type": "document", "source": {"type": "file", "file_id": "f1"}},
        ),
        ({**text("a"), "cache_control": MARK}, {**text("a"), "cache_control": MARK}),
        ({**text("a"), "prompt_cache_breakpoint": {}}, text("a")),
        ({**text("a"), "prompt_cache_breakpoint": True}, {**text("a"), "cache_control": {"type": "ephemeral"}}),
    ],
)
def test_parts(part: Json, block: Json) -> None:
    assert conversation(user(part)) == ([], [{"role": "user", "content": [block]}])


@pytest.mark.parametrize(
    ("messages", "param"),
    [
        (None, "messages"),
        (["Hi"], "messages[0]"),
        ([USER, {"role": "function", "name": "f", "content": "1"}], "messages[1]"),
        ([{"role": "assistant", "function_call": {"name": "f"}}], "messages[0]"),
        ([{"role": "assistant", "tool_calls": [{"id": "c1"}]}], "messages[0].tool_calls[0]"),
        ([{"role": "assistant", "tool_calls": [5]}], "messages[0].tool_calls[0]"),
        ([{"role": "assistant", "tool_calls": [call("f", "", "")]}], "messages[0].tool_calls[0].id"),
        ([{"role": "tool", "content": "1"}], "messages[0].tool_call_id"),
        (user(text("a"), {"type": "input_audio", "input_audio": {}}), "messages[0].content[1]"),
        (user(5), "messages[0].content[0]"),
        (user({"type": 5}), "messages[0].content[0]"),
        (user({"type": "text", "text": 5}), "messages[0].content[0]"),
        (user({"type": "file", "file": {}}), "messages[0].content[0]"),
        (user(image("ftp://x")), "messages[0].content[0]"),
        (user(image("data:image/png,plain")), "messages[0].content[0]"),
        (user(image(None)), "messages[0].content[0]"),
    ],
)
def test_what_can_not_be_said_is_refused_and_its_place_named(messages: Any, param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        conversation(messages)
    assert caught.value.param == param
