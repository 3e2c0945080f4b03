"""Conversations, as tables."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from argoproxy.errors import BadRequest
from argoproxy.upstreams.anthropic.messages import LaterSystem, make_conversation
from tests.support.growth import assert_linear

Json = dict[str, Any]


def conversation(messages: Any) -> tuple[list[Json], list[Json]]:
    return make_conversation(messages, LaterSystem.HOIST)


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
        "thoughts without a signature are left out",
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
        (
            {"type": "file", "file": {"file_data": "data:text/plain;base64,w6k="}},
            {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "é"}},
        ),
        (
            {"type": "file", "file": {"file_data": "https://x/a.pdf"}},
            {"type": "document", "source": {"type": "url", "url": "https://x/a.pdf"}},
        ),
        ({"type": "search_result", "title": "t"}, {"type": "search_result", "title": "t"}),
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
        (user({"type": "file", "file": {"file_data": "data:text/plain;base64,/w=="}}), "messages[0].content[0]"),
    ],
)
def test_what_can_not_be_said_is_refused_and_its_place_named(messages: Any, param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        conversation(messages)
    assert caught.value.param == param


THOUGHT = {"type": "reasoning.text", "text": "Hm", "signature": "Eq==", "format": "anthropic-claude-v1", "index": 0}
SEALED = {"type": "reasoning.encrypted", "data": "Em==", "format": "anthropic-claude-v1", "index": 1}
THINKING = {"type": "thinking", "thinking": "Hm", "signature": "Eq=="}
REDACTED = {"type": "redacted_thinking", "data": "Em=="}


def assistant(**fields: Any) -> list[Json]:
    """Return the blocks of an assistant's message."""
    _, (turn,) = conversation([{"role": "assistant", **fields}])
    blocks: list[Json] = turn["content"]
    return blocks


@pytest.mark.parametrize(
    ("details", "blocks"),
    [
        ([THOUGHT, SEALED], [THINKING, REDACTED, text("a"), use("f", {})]),
        ([SEALED | {"index": 0}], [REDACTED, text("a"), use("f", {})]),
        ([THOUGHT, THOUGHT | {"index": 2}], [THINKING, text("a"), THINKING, use("f", {})]),
        ([THOUGHT | {"index": None}, SEALED | {"index": None}], [THINKING, REDACTED, text("a"), use("f", {})]),
        ([THOUGHT | {"text": ""}], [{**THINKING, "thinking": ""}, text("a"), use("f", {})]),
    ],
    ids=["signed and redacted", "redacted", "interleaved", "without indexes", "omitted text"],
)
def test_signed_thoughts_go_back_in_their_places(details: list[Json], blocks: list[Json]) -> None:
    calls = [call("f")]
    assert assistant(content="a", reasoning_content="Hm", reasoning_details=details, tool_calls=calls) == blocks


@pytest.mark.parametrize(
    "detail",
    [
        THOUGHT | {"signature": ""},
        THOUGHT | {"signature": None},
        {key: value for key, value in THOUGHT.items() if key != "signature"},
        THOUGHT | {"format": "google-gemini-v1"},
        THOUGHT | {"format": "argoproxy-v1"},
        THOUGHT | {"format": None},
        {"type": "reasoning.summary", "summary": "Hm", "format": "anthropic-claude-v1"},
        SEALED | {"data": ""},
    ],
)
def test_m36_m38_thoughts_without_a_signature_of_anthropic_are_left_out(detail: Json) -> None:
    assert assistant(content="a", reasoning_details=[detail]) == [text("a")]


def test_m35_m37_a_signature_goes_back_as_it_came() -> None:
    signature = "Eq+/" * 500 + "=="
    (thinking, _) = assistant(content="a", reasoning_details=[THOUGHT | {"signature": signature, "text": " \n世"}])
    assert thinking == {"type": "thinking", "thinking": " \n世", "signature": signature}


def test_m26_thinking_gets_no_cache_mark() -> None:
    assert assistant(reasoning_details=[THOUGHT | {"cache_control": MARK}], cache_control=MARK) == [THINKING]
    assert assistant(content="a", cache_control=MARK) == [{**text("a"), "cache_control": MARK}]


def test_blocks_of_other_types_go_back_in_their_places() -> None:
    search = {"type": "server_tool_use", "id": "srv", "name": "web_search", "input": {"q": 1}}
    found = {"type": "web_search_tool_result", "tool_use_id": "srv", "content": []}
    blocks = [search | {"index": 0}, found | {"index": 1}, {"index": 2}, 5]
    assert assistant(content="a", anthropic_blocks=blocks) == [search, found, text("a")]


def test_m22_later_system_messages_stay_in_place_where_that_is_set() -> None:
    later = {"role": "system", "content": "Now be brief."}
    messages = [{"role": "system", "content": "Be kind."}, USER, later, USER]
    system, turns = make_conversation(messages, LaterSystem.KEEP)
    assert system == [text("Be kind.")]
    assert [turn["role"] for turn in turns] == ["user", "system", "user"]
    assert turns[1]["content"] == [text("Now be brief.")]
    assert conversation(messages)[0] == [text("Be kind."), text("Now be brief.")]


def test_m23_images_stay_in_the_result_of_a_tool() -> None:
    part = image({"url": "data:image/png;base64,QUI="})
    messages = [CALLS, {"role": "tool", "tool_call_id": "c1", "content": [text("seen"), part]}]
    _, turns = conversation(messages)
    assert turns[1]["content"] == [result("c1", text("seen"), {"type": "image", "source": data("image/png")})]


def test_results_keep_failures_and_cache_marks() -> None:
    message = {"role": "tool", "tool_call_id": "c1", "content": "no", "is_error": True, "cache_control": MARK}
    _, turns = conversation([CALLS, message])
    assert turns[1]["content"] == [{**result("c1", text("no")), "is_error": True, "cache_control": MARK}]


def test_results_may_come_in_another_order_than_calls() -> None:
    results = [{"role": "tool", "tool_call_id": call_id, "content": "1"} for call_id in ("c2", "c1")]
    _, turns = conversation([USER, CALLS, *results])
    assert turns[2]["content"] == [result("c2", text("1")), result("c1", text("1"))]


def test_m05_ids_that_become_the_same_or_come_twice_stay_apart() -> None:
    calls = {"role": "assistant", "tool_calls": [call("f", "", "a.b"), call("g", "", "a_b"), call("h", "", "a:b")]}
    results = [{"role": "tool", "tool_call_id": call_id, "content": call_id} for call_id in ("a.b", "a_b", "a:b")]
    _, turns = conversation([calls, *results, calls, *results])
    ids = [[block.get("id", block.get("tool_use_id")) for block in turn["content"]] for turn in turns]
    assert ids[0] == ids[1]
    assert ids[2] == ids[3]
    assert len({*ids[0], *ids[2]}) == 6


def test_many_calls_with_one_id_take_linear_time() -> None:
    def work(size: int) -> None:
        conversation([{"role": "assistant", "tool_calls": [call("f")] * size}])

    assert_linear(work, 500)


def test_calls_of_custom_tools() -> None:
    custom = {"id": "c1", "type": "custom", "custom": {"name": "patch", "input": "*** Begin"}}
    assert assistant(tool_calls=[custom]) == [use("patch", {"input": "*** Begin"})]


def test_the_beginning_of_an_answer_ends_without_blanks() -> None:
    _, turns = conversation([USER, {"role": "assistant", "content": "Sure: \n"}])
    assert turns[1]["content"] == [text("Sure:")]


def test_two_hundred_turns_with_large_results() -> None:
    call_and_result = [CALLS, {"role": "tool", "tool_call_id": "c1", "content": "x" * 50_000}]
    _, turns = conversation([USER, *call_and_result * 100])
    assert len(turns) == 201
