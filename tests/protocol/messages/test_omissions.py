"""The places of what a chat does not hold of a request."""

from __future__ import annotations

from typing import Any

import pytest

from argoproxy.protocol.api.schema import check_shape
from argoproxy.protocol.messages.answers.signatures import MARK
from argoproxy.protocol.messages.omissions import find_omissions
from argoproxy.protocol.messages.request_shapes import MESSAGES

Json = dict[str, Any]
MARKED = {"cache_control": {"type": "ephemeral"}}
TEXT = {"type": "text", "text": "Hi"}
IMAGE = {"type": "image", "source": {"type": "url", "url": "https://example.org/a.png"}}
USE = {"type": "tool_use", "id": "c0", "name": "read", "input": {}}
TOOL = {"name": "read", "description": "Reads.", "input_schema": {"type": "object"}, "strict": True, "type": "custom"}
SEARCH = {"type": "web_search_20250305", "name": "web_search"}
FOUND = {"type": "web_search_tool_result", "content": [{"title": "T", "url": "U"}]}


def request(*contents: Any, **fields: Any) -> Json:
    """Return a request of which the user and the assistant wrote these contents in turns."""
    roles = ("user", "assistant")
    messages = [{"role": roles[turn % 2], "content": content} for turn, content in enumerate(contents or ("Hi",))]
    body = {"model": "m", "max_tokens": 9, "messages": messages, **fields}
    check_shape(body, MESSAGES)
    return body


def result(*blocks: Json, **more: Any) -> Json:
    return {"type": "tool_result", "tool_use_id": "c0", "content": list(blocks), **more}


@pytest.mark.parametrize(
    "body",
    [
        request(),
        request(
            "Hi",
            stream=True,
            temperature=1,
            top_p=1,
            top_k=1,
            stop_sequences=["x"],
            metadata={"user_id": "u"},
            service_tier="auto",
            thinking={"type": "enabled", "budget_tokens": 1024},
            system="s",
            tools=[TOOL],
            tool_choice={"type": "auto"},
            output_config={"effort": "low", "format": {"type": "json_schema"}},
        ),
        request([TEXT, IMAGE], [TEXT, USE], [result(TEXT, IMAGE, is_error=True), TEXT], system=[TEXT]),
        request([TEXT], [{"type": "thinking", "thinking": "t", "signature": MARK}, TEXT, FOUND]),
        request("Hi", "Hello", [TEXT], tools=[{**TOOL, "defer_loading": False}], context_management=None),
    ],
    ids=["plain", "settings", "blocks", "own thoughts and findings", "empty fields"],
)
def test_what_a_chat_holds_is_not_named(body: Json) -> None:
    assert find_omissions(body) == []


@pytest.mark.parametrize(
    ("body", "places"),
    [
        (
            request(cache_control={"type": "ephemeral"}, context_management={"edits": []}, speed="fast", odd=1),
            ["cache_control", "context_management", "speed", "odd"],
        ),
        (
            request(output_config={"task_budget": 1}, thinking={"type": "adaptive", "display": "omitted"}),
            ["output_config.task_budget", "thinking.display"],
        ),
        (
            request(tools=[{**TOOL, "defer_loading": True, **MARKED}, SEARCH]),
            [
                "tools[0].defer_loading",
                "tools[0].cache_control",
                "tools[1]",
            ],
        ),
        (request(system=[TEXT, {**TEXT, **MARKED}]), ["system[1].cache_control"]),
        (
            request([{**TEXT, **MARKED}, IMAGE, {"type": "new"}]),
            [
                "messages[0].content[0].cache_control",
                "messages[0].content[2]",
            ],
        ),
        (
            request([result({**TEXT, **MARKED}, {"type": "new"}, **MARKED)]),
            [
                "messages[0].content[0].cache_control",
                "messages[0].content[0].content[0].cache_control",
                "messages[0].content[0].content[1]",
            ],
        ),
        (
            request(
                "Hi",
                [
                    {"type": "thinking", "thinking": "t", "signature": "EqQB"},
                    {"type": "redacted_thinking", "data": "x"},
                    {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}},
                    {**FOUND, "content": []},
                    {**TEXT, "citations": [{}]},
                    {**USE, "caller": {"type": "direct"}},
                ],
            ),
            [
                *(f"messages[1].content[{position}]" for position in range(4)),
                "messages[1].content[4].citations",
                "messages[1].content[5].caller",
            ],
        ),
        (request([FOUND]), ["messages[0].content[0]"]),
        (
            request([{"type": "mid_conv_system", "content": [{**TEXT, **MARKED}]}]),
            [
                "messages[0].content[0].content[0].cache_control",
            ],
        ),
    ],
    ids=["fields", "inner fields", "tools", "system", "user", "results", "assistant", "findings", "instructions"],
)
def test_what_it_does_not_hold_is_named_by_its_place(body: Json, places: list[str]) -> None:
    assert find_omissions(body) == places


def test_a_message_may_hold_more_than_its_content() -> None:
    body = request()
    body["messages"][0]["id"] = "msg_1"
    assert find_omissions(body) == ["messages[0].id"]
