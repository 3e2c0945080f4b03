"""Failures of other servers and proxies between the Responses API and chats, by the id under which they are known."""

from __future__ import annotations

from typing import Any

import pytest

from argoproxy.errors import BadRequest, UpstreamProtocolError
from argoproxy.protocol.responses.request_conversion import convert_request
from argoproxy.protocol.responses.response_writer import ResponseWriter
from argoproxy.protocol.stream.sse import Event
from tests.protocol.responses.conversation import HEAD, call, chunk, convert, finish, request, respond, write

Json = dict[str, Any]

F = {"type": "function", "name": "f"}
CALL = {"type": "function_call", "id": "fc_1", "call_id": "c", "name": "f", "arguments": "{}"}
OUTPUT = {"type": "function_call_output", "id": "o", "call_id": "c", "output": "done"}
USER = {"role": "user", "content": "q"}
IMAGE = {"type": "input_image", "image_url": "data:image/png;base64,AA=="}


def kinds(events: list[Json]) -> list[str]:
    return [event["type"].removeprefix("response.") for event in events]


def test_r01_each_stream_has_one_last_event() -> None:
    for chunks in ([], [chunk({"content": "a"})], [chunk(call(0, "{", id="c", name="f"))]):
        assert kinds(write([*chunks, *finish()]))[-1] == "completed"
    writer = ResponseWriter(convert_request(request()), HEAD)
    writer.feed([Event.of(chunk({"content": "a"}))])
    assert kinds(writer.fail(UpstreamProtocolError("It broke off.")))[-1] == "failed"


def test_r02_r03_an_item_and_its_part_begin_before_their_first_delta() -> None:
    names = kinds(write([chunk({"content": "a"}), *finish()]))
    assert names.index("output_item.added") < names.index("content_part.added") < names.index("output_text.delta")


def test_r04_r05_arguments_come_as_deltas_and_whole() -> None:
    events = write([chunk(call(0, '{"a":1}', id="c", name="f")), *finish("tool_calls")], request(tools=[F]))
    by_kind = {event["type"].removeprefix("response."): event for event in events}
    assert by_kind["output_item.added"]["item"]["arguments"] == ""
    assert by_kind["function_call_arguments.delta"]["delta"] == '{"a":1}'
    assert by_kind["function_call_arguments.done"]["arguments"] == '{"a":1}'
    assert by_kind["output_item.done"]["item"]["arguments"] == '{"a":1}'


def test_r06_a_text_is_there_once() -> None:
    assert respond([chunk({"content": "a"}), *finish()])["output"][0]["content"][0]["text"] == "a"


def test_r07_r08_the_last_event_holds_the_items_as_they_were_sent() -> None:
    """With the same ids: `respond` compares them."""
    chunks = [
        chunk({"reasoning_content": "t"}),
        chunk({"content": "a"}, logprobs={"content": [{"token": "a", "logprob": 0.0}]}),
        chunk(call(0, "p", id="c", name="apply_patch")),
        *finish("tool_calls"),
    ]
    response = respond(chunks, request(tools=[{"type": "custom", "name": "apply_patch"}]))
    assert [item["type"] for item in response["output"]] == ["reasoning", "message", "custom_tool_call"]
    assert response["output"][1]["content"][0]["logprobs"]


def test_r09_r18_a_second_turn_has_the_whole_history() -> None:
    messages = convert(USER, CALL, OUTPUT, {"role": "assistant", "content": "a"}, USER)
    assert [one["role"] for one in messages] == ["user", "assistant", "tool", "assistant", "user"]
    assert messages[1]["tool_calls"] == [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
    assert messages[2] == {"role": "tool", "tool_call_id": "c", "content": "done"}


def test_r10_a_tool_of_another_type_does_not_fail_the_request() -> None:
    tools = [F, {"type": "web_search"}, {"type": "custom", "name": "g"}, {"type": "tool_search"}]
    assert [one["function"]["name"] for one in convert_request(request(tools=tools)).chat["tools"]] == ["f", "g"]


def test_r12_r13_images_of_an_output_follow_the_outputs() -> None:
    second = {**CALL, "call_id": "d"}
    outputs: list[Json] = [
        {**OUTPUT, "output": [{"type": "input_text", "text": "see"}, IMAGE]},
        {**OUTPUT, "call_id": "d", "output": "x"},
    ]
    messages = convert(USER, CALL, second, *outputs)
    assert [one["role"] for one in messages] == ["user", "assistant", "tool", "tool", "user"]
    assert messages[2]["content"].startswith("see\n")
    assert messages[4]["content"] == [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}]


def test_r12_an_output_as_a_list_of_texts_is_a_text() -> None:
    parts = [{"type": "input_text", "text": "a"}, {"type": "input_text", "text": "b"}]
    assert convert(CALL, {**OUTPUT, "output": parts})[1]["content"] == "a\nb"


def test_r14_calls_of_custom_tools_come_back() -> None:
    custom = {"type": "custom_tool_call", "call_id": "c", "name": "apply_patch", "input": 'a "b"'}
    messages = convert(custom, {"type": "custom_tool_call_output", "call_id": "c", "output": "ok"})
    assert messages[0]["tool_calls"][0]["function"] == {"name": "apply_patch", "arguments": '{"input":"a \\"b\\""}'}
    assert messages[1]["content"] == "ok"


def test_r16_a_request_without_a_model_is_converted() -> None:
    """The default model, or the upstream, decides."""
    assert "model" not in convert_request({"input": "hi"}).chat


def test_r17_a_thought_without_its_item_is_left_out() -> None:
    thought = {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "t"}]}
    assert convert(USER, thought, USER) == [USER, USER]


def test_r19_fields_without_a_meaning_for_chats_are_not_sent() -> None:
    body = request(
        store=True, metadata={}, include=[], truncation="auto", service_tier="auto", client_metadata={}, top_k=3
    )
    assert convert_request(body).chat.keys() == {"model", "messages"}


def test_r20_an_output_without_its_call_is_named() -> None:
    with pytest.raises(BadRequest, match="send the call") as caught:
        convert(USER, OUTPUT)
    assert caught.value.param == "input[1].call_id"
    with pytest.raises(BadRequest, match="previous_response_id"):
        convert_request(request(previous_response_id="resp_1"))


def test_r24_text_and_calls_of_a_turn_are_one_message() -> None:
    said: Json = {"role": "assistant", "content": "Let me see."}
    turns: list[list[Json]] = [[said, CALL, OUTPUT], [CALL, said, OUTPUT]]
    for items in turns:
        message, output = convert(*items)
        assert (message["content"], len(message["tool_calls"])) == ("Let me see.", 1)
        assert output["role"] == "tool"


def test_outputs_move_to_their_calls() -> None:
    messages = convert(CALL, USER, OUTPUT)
    assert [one["role"] for one in messages] == ["assistant", "tool", "user"]


def test_an_id_that_is_used_again_gets_its_outputs_in_order() -> None:
    messages = convert(CALL, OUTPUT, CALL, {**OUTPUT, "output": "again"})
    assert [one["content"] for one in messages if one["role"] == "tool"] == ["done", "again"]


def test_a_call_without_output_was_aborted() -> None:
    assert convert(CALL, USER)[1] == {"role": "tool", "tool_call_id": "c", "content": "aborted"}
