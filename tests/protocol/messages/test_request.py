"""Requests to chats; the failures of other converters by their numbers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from argoproxy.errors import BadRequest
from argoproxy.protocol.api.schema import check_shape, validate
from argoproxy.protocol.messages.answers.signatures import MARK, sign
from argoproxy.protocol.messages.refusals import check_convertible
from argoproxy.protocol.messages.request import to_chat
from argoproxy.protocol.messages.request_shapes import COUNT_TOKENS, MESSAGES
from argoproxy.protocol.messages.tool_fields import original_names, shorten_name
from tests.support.messages_grammar import chunk_of, message_of

Json = dict[str, Any]
PNG = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA=="}}
LINKED = {"type": "image", "source": {"type": "url", "url": "https://example.org/a.png"}}
USE = {"type": "tool_use", "id": "c0", "name": "read", "input": {"path": "/a"}}
TOOL = {"name": "read", "description": "Reads.", "input_schema": {"type": "object"}}


def user(*blocks: Any) -> Json:
    return {"role": "user", "content": blocks[0] if blocks and isinstance(blocks[0], str) else list(blocks)}


def assistant(*blocks: Any) -> Json:
    return {**user(*blocks), "role": "assistant"}


def text(content: str, **more: Any) -> Json:
    return {"type": "text", "text": content, **more}


def result(content: Any, call_id: str = "c0", **more: Any) -> Json:
    return {"type": "tool_result", "tool_use_id": call_id, "content": content, **more}


def request(*messages: Json, **fields: Any) -> Json:
    return {"model": "m", "max_tokens": 9, "messages": list(messages), **fields}


def chat(*messages: Json, **fields: Any) -> Json:
    body = request(*messages, **fields)
    check_shape(body, MESSAGES)
    made = to_chat(body)
    validate(made, "/v1/chat/completions")
    return made


def turns(*messages: Json, **fields: Any) -> list[Json]:
    return list(chat(*messages, **fields)["messages"])


def test_a_plain_request() -> None:
    assert chat(user("Hi")) == {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}


def test_the_system_prompt_without_the_line_for_billing() -> None:
    blocks = [text("x-anthropic-billing-header: cc"), text("a", cache_control={"type": "ephemeral"}), text("b")]
    assert turns(user("Hi"), system=blocks)[0] == {"role": "system", "content": "a\n\nb"}
    assert turns(user("Hi"), system="s")[0]["content"] == "s"
    assert turns(user("Hi"), system="")[0]["role"] == "user"


def test_m18_text_after_a_call() -> None:
    message = turns(user("Hi"), assistant(text("a"), USE, text("b")), user(result("r")))[1]
    assert message["content"] == "a\n\nb"
    assert message["tool_calls"] == [
        {"id": "c0", "type": "function", "function": {"name": "read", "arguments": '{"path":"/a"}'}}
    ]


def test_neighbouring_texts_belong_together() -> None:
    assert turns(user("Hi"), assistant(text("a"), text("b")), user("x"))[1]["content"] == "ab"


def test_m19_and_m38_thoughts_of_others_are_left_out() -> None:
    foreign = {"type": "thinking", "thinking": "t", "signature": "EqQB"}
    redacted = {"type": "redacted_thinking", "data": "x"}
    assert turns(user("Hi"), assistant(foreign, redacted, text("a")), user("x"))[1] == {
        "role": "assistant",
        "content": "a",
    }
    assert len(turns(user("Hi"), assistant(foreign), user("x"))) == 2


def test_m36_own_thoughts_go_back_in_a_turn_that_goes_on() -> None:
    own = {"type": "thinking", "thinking": "t", "signature": MARK}
    running = turns(user("Hi"), assistant(own, USE), user(result("r"), text("hint")))
    assert running[1]["reasoning_content"] == "t"
    assert "reasoning_details" not in running[1]
    finished = turns(user("Hi"), assistant(own, USE), user(result("r")), assistant("done"), user("next"))
    assert "reasoning_content" not in finished[1]


def test_m37_what_an_upstream_signed_goes_back_to_it() -> None:
    detail = {"type": "reasoning.text", "signature": "s", "index": 0}
    own = {"type": "thinking", "thinking": "t", "signature": sign([detail])}
    hidden = {"type": "redacted_thinking", "data": sign([{"type": "reasoning.encrypted", "data": "e"}])}
    changed = {"type": "thinking", "thinking": "u", "signature": MARK + "%%"}
    message = turns(user("Hi"), assistant(own, hidden, changed, USE), user(result("r")))[1]
    assert message["reasoning_details"] == [
        {"type": "reasoning.text", "text": "t", "signature": "s", "index": 0},
        {"type": "reasoning.encrypted", "data": "e"},
    ]
    assert message["reasoning_content"] == "tu"


def test_m21_nothing_of_the_settings_is_forgotten() -> None:
    made = chat(
        user("Hi"), temperature=0.5, top_p=0.9, top_k=4, stop_sequences=["END"], stream=True, service_tier="auto",
        tools=[TOOL], tool_choice={"type": "tool", "name": "read", "disable_parallel_tool_use": True},
    )  # fmt: skip
    assert {key: made[key] for key in ("temperature", "top_p", "top_k", "stop", "max_tokens", "stream")} == {
        "temperature": 0.5, "top_p": 0.9, "top_k": 4, "stop": ["END"], "max_tokens": 9, "stream": True,
    }  # fmt: skip
    assert made["tool_choice"] == {"type": "function", "function": {"name": "read"}}
    assert made["parallel_tool_calls"] is False
    assert "service_tier" not in made
    assert chat(user("Hi"), service_tier="standard_only")["service_tier"] == "default"


@pytest.mark.parametrize(("kind", "choice"), [("auto", "auto"), ("any", "required"), ("none", "none")])
def test_choices(kind: str, choice: str) -> None:
    assert chat(user("Hi"), tools=[TOOL], tool_choice={"type": kind})["tool_choice"] == choice
    assert "tool_choice" not in chat(user("Hi"), tool_choice={"type": kind})


def test_m22_a_system_message_in_the_middle() -> None:
    messages = turns(user("Hi"), assistant(USE), {"role": "system", "content": [text("s")]}, user(result("r")))
    assert [message["role"] for message in messages] == ["user", "assistant", "tool", "system"]
    inner = turns(user({"type": "mid_conv_system", "content": [text("s")]}, text("Hi")))
    assert [message["role"] for message in inner] == ["user", "system"]
    alone = turns(user({"type": "mid_conv_system", "content": [text("s")]}))
    assert [message["role"] for message in alone] == ["system"]
    assert len(turns(user("Hi"), {"role": "system", "content": ""})) == 1


def test_m23_images_in_results_follow_the_results() -> None:
    calls = [USE, {**USE, "id": "c1"}]
    messages = turns(
        user("Look"), assistant(*calls), user(result([text("two"), PNG], "c1"), result([LINKED]), text("so?"))
    )
    assert [(message["role"], message.get("tool_call_id")) for message in messages[2:]] == [
        ("tool", "c1"),
        ("tool", "c0"),
        ("user", None),
    ]
    assert messages[2]["content"] == "two\n[image: see the next message of the user]"
    parts = messages[4]["content"]
    assert [part["type"] for part in parts] == ["text", "image_url", "text", "image_url", "text"]
    assert parts[1]["image_url"]["url"] == "data:image/png;base64,AA=="
    assert ("c1" in parts[0]["text"], parts[3]["image_url"]["url"]) == (True, "https://example.org/a.png")


def test_results() -> None:
    def said(block: Json) -> Any:
        return turns(user("Hi"), assistant(USE), user(block))[2]["content"]

    assert said(result("r")) == "r"
    assert said({"type": "tool_result", "tool_use_id": "c0"}) == ""
    assert said(result("no such file", is_error=True)) == "Error: no such file"
    assert said(result("Error: gone", is_error=True)) == "Error: gone"
    assert said(result([{"type": "tool_reference", "tool_name": "grep"}])) == "grep"


def test_a_result_without_its_call_stays_where_it_is() -> None:
    assert [message["role"] for message in turns(user("Hi"), user(result("r"), text("x")))] == ["user", "tool", "user"]


def test_m24_to_m27_marks_are_left_out() -> None:
    mark = {"cache_control": {"type": "ephemeral", "scope": "global"}}
    own = {"type": "thinking", "thinking": "t", "signature": MARK, **mark}
    made = chat(
        user(text("a", **mark), {**PNG, **mark}), assistant(own, {**USE, **mark}), user({**result("r"), **mark}),
        system=[text("s", **mark)], tools=[{**TOOL, **mark}], cache_control={"type": "ephemeral"},
    )  # fmt: skip
    assert "cache_control" not in json.dumps(made)


def test_m28_fields_of_betas_are_left_out() -> None:
    tool = {**TOOL, "defer_loading": True, "eager_input_streaming": True, "strict": True, "type": "custom"}
    made = chat(user("Hi"), tools=[tool], context_management={"edits": []}, speed="fast")
    assert made["tools"] == [
        {
            "type": "function",
            "function": {
                "name": "read",
                "description": "Reads.",
                "parameters": {"type": "object"},
                "strict": True,
            },
        }
    ]
    assert made.keys() == {"model", "max_tokens", "messages", "tools"}


def test_m29_a_server_tool_is_left_out_unless_it_is_demanded() -> None:
    search = {"type": "web_search_20250305", "name": "web_search"}
    made = chat(user("Hi"), tools=[search], tool_choice={"type": "auto"})
    assert not {"tools", "tool_choice"} & made.keys()
    check_convertible(request(tools=[search], tool_choice={"type": "auto"}))
    for choice in ({"type": "tool", "name": "web_search"}, {"type": "any"}):
        with pytest.raises(BadRequest, match="web_search"):
            check_convertible(request(tools=[search], tool_choice=choice))
    check_convertible(request(tools=[search, TOOL], tool_choice={"type": "any"}))


@pytest.mark.parametrize(
    ("fields", "effort"),
    [
        ({"thinking": {"type": "enabled", "budget_tokens": 500}}, "low"),
        ({"thinking": {"type": "enabled", "budget_tokens": 4096}}, "medium"),
        ({"thinking": {"type": "enabled", "budget_tokens": 20000}}, "high"),
        ({"thinking": {"type": "enabled"}}, None),
        ({"thinking": {"type": "adaptive"}}, None),
        ({"thinking": {"type": "adaptive"}, "output_config": {"effort": "medium"}}, "medium"),
        ({"output_config": {"effort": "max"}}, "high"),
        ({"thinking": {"type": "disabled"}, "output_config": {"effort": "high"}}, None),
    ],
)
def test_m30_and_m40_effort(fields: Json, effort: str | None) -> None:
    assert chat(user("Hi"), **fields).get("reasoning_effort") == effort


def test_structured_output() -> None:
    wanted = {"type": "json_schema", "schema": {"type": "object"}}
    for fields in ({"output_config": {"format": wanted}}, {"output_format": wanted}):
        made = chat(user("Hi"), **fields)["response_format"]
        assert made["json_schema"]["schema"] == {"type": "object"}
    assert "response_format" not in chat(user("Hi"), output_config={"format": {"type": "text"}})


def test_a_long_name_of_a_user_is_hashed() -> None:
    assert chat(user("Hi"), metadata={"user_id": "u"})["user"] == "u"
    assert len(chat(user("Hi"), metadata={"user_id": "u" * 65})["user"]) == 64


def test_long_names_of_tools() -> None:
    long = "mcp__" + "x" * 100
    made = chat(user("Hi"), assistant({**USE, "name": long}), user(result("r")), tools=[{**TOOL, "name": long}])
    short = made["tools"][0]["function"]["name"]
    assert (len(short), short) == (64, made["messages"][1]["tool_calls"][0]["function"]["name"])
    assert original_names([{"name": long}, TOOL, 1]) == {short: long}
    assert shorten_name("read") == "read"


def test_documents_and_search_results() -> None:
    def document(**source: Any) -> Json:
        return {"type": "document", "source": source, "title": "T", "context": "C"}

    pdf = document(type="base64", media_type="application/pdf", data="AA==")
    blocks = [
        pdf, {**pdf, "title": None}, document(type="text", media_type="text/plain", data="body"),
        document(type="content", content=[text("in")]), document(type="content", content="plain"),
        {"type": "search_result", "title": "T", "source": "S", "content": [text("found")]}, {"type": "new"}, text(""),
    ]  # fmt: skip
    parts = turns(user(*blocks))[0]["content"]
    assert parts[0]["file"] == {"filename": "T", "file_data": "data:application/pdf;base64,AA=="}
    assert parts[1]["file"]["filename"] == "document.pdf"
    said = [part["text"] for part in parts[2:]]
    assert said == ["T\nC\nbody", "T", "C", "in", "T\nC\nplain", "T (S)\nfound"]
    odd = document(type="base64", media_type="text/csv", data="AA==")
    assert turns(user({**odd, "title": ""}))[0]["content"][0]["file"]["filename"] == "document"


def test_what_server_tools_found_becomes_text() -> None:
    found = {"type": "web_search_tool_result", "content": [{"title": "T", "url": "U"}, {}]}
    use = {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}
    said = turns(user("Hi"), assistant(text("a"), use, found, {**found, "content": []}), user("x"))[1]
    assert said["content"] == "a\n\nSearch results:\nT U"


def test_content_that_holds_nothing() -> None:
    assert turns(user())[0] == {"role": "user", "content": ""}
    assert len(turns(user("Hi"), assistant(), user("x"))) == 2
    assert turns({"role": "system", "content": ""})[0]["role"] == "user"


FILE = {"type": "file", "file_id": "f"}


@pytest.mark.parametrize(
    ("place", "body"),
    [
        ("mcp_servers", request(mcp_servers=[{}])),
        ("container", request(container="c")),
        ("tools.1.type", request(tools=[TOOL, {"type": "bash_20250124", "name": "bash"}])),
        ("messages.0.content.0.source.type", request(user({"type": "image", "source": FILE}))),
        ("messages.0.content.0.source.type", request(user({"type": "document", "source": {"type": "url"}}))),
        ("messages.0.content.0", request(user({"type": "container_upload"}))),
        ("messages.0.content.0.content.1.source.type", request(user(result([text("a"), {**PNG, "source": FILE}])))),
    ],
)
def test_what_no_chat_can_say_is_refused_by_name(place: str, body: Json) -> None:
    with pytest.raises(BadRequest) as error:
        check_convertible(body)
    assert error.value.param == place
    assert place in error.value.message


@pytest.mark.parametrize(
    ("place", "body"),
    [
        ("max_tokens", {"messages": [user("Hi")]}),
        ("max_tokens", request(user("Hi"), max_tokens=0)),
        ("messages", {"max_tokens": 1}),
        ("messages", request()),
        ("messages[0].role", request({"role": "tool", "content": "x"})),
        ("messages[0].content", request({"role": "user"})),
        ("messages[0].content[0].type", request(user({"text": "x"}))),
        ("messages[0].content[0].source.media_type", request(user({"type": "image", "source": {"type": "base64"}}))),
        ("messages[0].content[0].tool_use_id", request(user({"type": "tool_result"}))),
        ("messages[0].content[0].input", request(user({**USE, "input": "x"}))),
        ("system[0].text", request(user("Hi"), system=[{"type": "text"}])),
        ("tools[0].input_schema", request(user("Hi"), tools=[{"name": "f"}])),
        ("tools[0].name", request(user("Hi"), tools=[{**TOOL, "name": ""}])),
        ("tool_choice.type", request(user("Hi"), tool_choice={"type": "required"})),
        ("tool_choice.name", request(user("Hi"), tool_choice={"type": "tool"})),
        ("thinking.type", request(user("Hi"), thinking={})),
        ("temperature", request(user("Hi"), temperature="hot")),
        ("stop_sequences[0]", request(user("Hi"), stop_sequences=[1])),
        ("stream", request(user("Hi"), stream="yes")),
    ],
)
def test_a_wrong_field_is_named(place: str, body: Json) -> None:
    with pytest.raises(BadRequest) as error:
        check_shape(body, MESSAGES)
    assert error.value.param == place
    assert place in error.value.message


def test_what_a_chat_can_say_is_not_refused() -> None:
    check_convertible(request(user(PNG), assistant(USE), user(result([text("a"), PNG]), result("b"))))
    assert "description" not in chat(user("Hi"), tools=[{**TOOL, "description": None}])["tools"][0]["function"]


def test_counting_needs_no_max_tokens() -> None:
    check_shape({"messages": [user("Hi")]}, COUNT_TOKENS)


def test_a_message_goes_back_as_the_chat_message_it_was() -> None:
    function = {"name": "f", "arguments": '{"a":[1,{"b":null}],"c":"é"}'}
    message: Json = {
        "role": "assistant",
        "content": "Hello",
        "reasoning_content": "hm",
        "reasoning_details": [{"type": "reasoning.text", "text": "hm", "signature": "s", "index": 0}],
        "tool_calls": [{"id": f"c{number}", "type": "function", "function": function} for number in range(3)],
    }
    deltas: list[Json] = [
        {"reasoning_content": "hm", "reasoning_details": message["reasoning_details"]},
        {"content": "Hello"},
        {"tool_calls": [{**call, "index": index} for index, call in enumerate(message["tool_calls"])]},
    ]
    made = message_of([*map(chunk_of, deltas), chunk_of({}, "tool_calls")])
    results = [result("r", f"c{number}") for number in range(3)]
    assert turns(user("Hi"), {"role": "assistant", "content": made["content"]}, user(*results))[1] == message
