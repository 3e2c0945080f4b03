from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from argoproxy.errors import BadRequest
from argoproxy.upstreams.argo.messages import chat_body, limit_whole_reply, prompt_body, prompt_text, raw_body

Json = dict[str, Any]
SYSTEM, USER = {"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}
PARTS = {"role": "system", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}
CASES: list[tuple[str, str, Json, Json]] = [
    ("plain", "gpt4o", {"messages": [SYSTEM, USER]}, {"messages": [SYSTEM, USER]}),
    ("never both", "gpt4o", {"messages": [USER], "system": "x", "prompt": ["y"]}, {"messages": [USER]}),
    ("no stream", "gpt4o", {"messages": [USER], "stream": True, "stream_options": {}}, {"messages": [USER]}),
    ("others stay", "gpt4o", {"messages": [USER], "n": 2, "odd": [1]}, {"messages": [USER], "n": 2, "odd": [1]}),
    ("o1 knows no system", "gpto1mini", {"messages": [SYSTEM, USER]}, {"messages": [{**SYSTEM, "role": "user"}, USER]}),
    (
        "developer is system",
        "gpt4o",
        {"messages": [{"role": "developer", "content": "x"}, USER]},
        {"messages": [{"role": "system", "content": "x"}, USER]},
    ),
    (
        "no content",
        "gpt4o",
        {"messages": [USER, {"role": "assistant", "content": None}]},
        {"messages": [USER, {"role": "assistant", "content": ""}]},
    ),
    (
        "claude wants a user",
        "claudeopus4",
        {"messages": [SYSTEM]},
        {"messages": [SYSTEM, {"role": "user", "content": "[continue]"}]},
    ),
    ("gpt does not", "gpt4o", {"messages": [SYSTEM]}, {"messages": [SYSTEM]}),
    (
        "gemini wants its system in one string",
        "gemini25pro",
        {"messages": [PARTS, USER]},
        {"messages": [{"role": "system", "content": "a\n\nb"}, USER]},
    ),
    ("claude takes parts", "claudeopus4", {"messages": [PARTS, USER]}, {"messages": [PARTS, USER]}),
    ("o3 counts completions", "gpto3", {"messages": [], "max_tokens": 5}, {"messages": [], "max_completion_tokens": 5}),
    ("gpt5 too", "gpt5mini", {"messages": [], "max_tokens": 5}, {"messages": [], "max_completion_tokens": 5}),
    (
        "what is said stays",
        "gpt5",
        {"messages": [], "max_tokens": 5, "max_completion_tokens": 6},
        {"messages": [], "max_completion_tokens": 6},
    ),
    (
        "claude counts tokens",
        "claudeopus4",
        {"messages": [USER], "max_completion_tokens": 5},
        {"messages": [USER], "max_tokens": 5},
    ),
    ("gpt4o takes either", "gpt4o", {"messages": [], "max_tokens": 5}, {"messages": [], "max_tokens": 5}),
    ("a null limit", "gpto3", {"messages": [], "max_tokens": None}, {"messages": [], "max_tokens": None}),
    ("prompts", "gpt4o", {"prompt": "a", "system": "x"}, {"prompt": ["a"], "system": "x"}),
]


@pytest.mark.parametrize(("model_id", "body", "sent"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_what_is_sent_for_a_chat(model_id: str, body: Json, sent: Json) -> None:
    before = deepcopy(body)
    assert chat_body(body, model_id) == sent
    assert body == before


@pytest.mark.parametrize(
    ("model_id", "body", "sent"),
    [
        ("gpt4o", {"prompt": "a"}, {"prompt": ["a"]}),
        ("gpt4o", {"prompt": ["a", "b"]}, {"prompt": ["a", "b"]}),
        ("gpt4o", {"prompt": "a", "tools": [{}], "tool_choice": "auto"}, {"prompt": ["a"]}),
        ("gpt4o", {"prompt": "a", "messages": [USER], "stream": True}, {"prompt": ["a"]}),
        ("gpto1mini", {"prompt": ["a"], "system": "s"}, {"prompt": ["s", "a"]}),
        ("gpto1mini", {"prompt": "a", "system": ["s", "t"]}, {"prompt": ["s", "t", "a"]}),
        ("gpto1mini", {"prompt": "a", "system": None}, {"prompt": ["a"]}),
        ("gpto1mini", {"prompt": "a"}, {"prompt": ["a"]}),
        ("gpto3mini", {"prompt": "a", "max_tokens": 3}, {"prompt": ["a"], "max_completion_tokens": 3}),
    ],
)
def test_what_is_sent_for_a_legacy_completion(model_id: str, body: Json, sent: Json) -> None:
    assert prompt_body(body, model_id) == sent


@pytest.mark.parametrize(
    ("model_id", "body", "sent"),
    [
        ("gpt4o", {"prompt": "a", "stream": True}, {"prompt": ["a"], "stream": True}),
        ("gpt4o", {"messages": [SYSTEM, "odd"]}, {"messages": [SYSTEM, "odd"]}),
        ("gpto1mini", {"messages": [SYSTEM, "odd"]}, {"messages": [{**SYSTEM, "role": "user"}, "odd"]}),
        ("gpto1mini", {"system": "s", "prompt": ["a"]}, {"prompt": ["s", "a"]}),
        ("gpto1mini", {"system": "s"}, {"system": "s"}),
        ("gpt4o", {}, {}),
    ],
)
def test_raw_bodies_keep_their_words(model_id: str, body: Json, sent: Json) -> None:
    assert raw_body(body, model_id) == sent


@pytest.mark.parametrize(
    ("make", "body", "param"),
    [
        (chat_body, {}, "messages"),
        (chat_body, {"messages": "Hi"}, "messages"),
        (chat_body, {"messages": {"role": "user"}, "prompt": "a"}, "messages"),
        (chat_body, {"messages": [USER, "Hi"]}, "messages[1]"),
        (chat_body, {"prompt": [1, 2]}, "prompt"),
        (prompt_body, {}, "prompt"),
        (prompt_body, {"prompt": []}, "prompt"),
        (prompt_body, {"prompt": [1, 2]}, "prompt"),
        (prompt_body, {"prompt": [[1]]}, "prompt"),
        (raw_body, {"messages": [], "prompt": []}, "messages"),
        (raw_body, {"messages": [], "system": ""}, "messages"),
    ],
)
def test_what_is_refused(make: Any, body: Json, param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        make(body, "gpt4o")
    assert caught.value.param == param


@pytest.mark.parametrize(
    ("model_id", "asked", "sent"),
    [
        ("claudeopus4", 30000, 21000),
        ("claudeopus4", 21000, 21000),
        ("gpt4o", 30000, 30000),
        ("claudeopus4", None, None),
    ],
)
def test_claude_writes_no_more_than_it_may_in_one_piece(model_id: str, asked: Any, sent: Any) -> None:
    assert limit_whole_reply({"max_tokens": asked}, model_id) == {"max_tokens": sent}


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"messages": [SYSTEM, USER]}, "Be brief.\nHi"),
        ({"messages": [PARTS]}, "a\n\nb"),
        ({"system": "s", "prompt": ["a", "b"]}, "s\na\n\nb"),
        ({"messages": "odd", "prompt": 5}, ""),
        ({"messages": ["odd", {"content": [5, {"type": "image_url"}]}]}, ""),
    ],
)
def test_the_text_a_model_reads(body: Json, text: str) -> None:
    assert prompt_text(body) == text
