from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argoproxy.errors import InternalError, UpstreamProtocolError, UpstreamStatus
from argoproxy.protocol.responses.request_conversion import convert_request
from argoproxy.protocol.responses.response_writer import ResponseWriter
from argoproxy.protocol.stream.assembly import assemble_completion
from argoproxy.protocol.stream.sse import DONE, Event
from tests.protocol.responses.conversation import (
    HEAD,
    USAGE,
    call,
    chunk,
    finish,
    request,
    respond,
    respond_to_document,
    write,
    write_pieces,
)
from tests.support.cuts import cut_at, places
from tests.support.response_events import ResponseChecker, accumulate

Json = dict[str, Any]

FUNCTIONS = [{"type": "function", "name": name} for name in ("f", "g")]
PATCH = {"type": "custom", "name": "apply_patch", "format": {"type": "grammar", "syntax": "lark", "definition": "x"}}


def types(events: list[Json]) -> list[str]:
    return [event["type"].removeprefix("response.") for event in events]


def output(chunks: list[Json], **body: Any) -> list[Json]:
    items: list[Json] = respond(chunks, request(**body))["output"]
    return items


def new_writer(**body: Any) -> ResponseWriter:
    return ResponseWriter(convert_request(request(**body)), HEAD)


def test_a_text() -> None:
    events = write(
        [chunk({"role": "assistant", "content": ""}), chunk({"content": "H"}), chunk({"content": "i"}), *finish()]
    )
    assert types(events) == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    response = accumulate(events)
    assert response["id"] == "resp_r1"
    assert (response["model"], response["created_at"], response["status"]) == ("m-1", 7, "completed")
    assert response["output"][0]["content"][0]["text"] == "Hi"
    assert response["usage"] == {
        "input_tokens": 11,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": 5,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 16,
    }


def test_nothing_at_all_is_a_response_without_output() -> None:
    assert respond(finish())["output"] == []


def test_two_calls_whose_fragments_are_mixed_follow_each_other() -> None:
    chunks = [
        chunk(call(0, id="c0", name="f")),
        chunk(call(1, id="c1", name="g")),
        chunk(call(0, '{"a":')),
        chunk(call(1, "{}")),
        chunk(call(0, "1}")),
        *finish("tool_calls"),
    ]
    events = write(chunks, request(tools=FUNCTIONS))
    items = accumulate(events)["output"]
    assert [(item["call_id"], item["name"], item["arguments"]) for item in items] == [
        ("c0", "f", '{"a":1}'),
        ("c1", "g", "{}"),
    ]
    deltas = [event["delta"] for event in events if event["type"].endswith("arguments.delta")]
    assert deltas == ['{"a":', "1}", "{}"]


def test_a_call_is_passed_on_while_it_arrives() -> None:
    writer = new_writer()
    writer.feed([Event.of(chunk(call(0, id="c", name="f")))])
    assert types(writer.feed([Event.of(chunk(call(0, '{"a"')))])) == ["function_call_arguments.delta"]


def test_a_complete_call_ends_when_the_next_begins() -> None:
    writer = new_writer()
    writer.feed([Event.of(chunk(call(0, '{"a":1}', id="c", name="f")))])
    events = writer.feed([Event.of(chunk(call(1, "{", id="d", name="g")))])
    assert types(events)[-3:] == ["output_item.done", "output_item.added", "function_call_arguments.delta"]


def test_text_after_a_call_is_a_message_of_its_own() -> None:
    chunks = [chunk({"content": "a"}), chunk(call(0, '{"x":1}', id="c", name="f")), chunk({"content": "b"}), *finish()]
    assert [item["type"] for item in output(chunks)] == ["message", "function_call", "message"]


def test_text_after_a_call_that_may_go_on_waits_for_its_end() -> None:
    chunks = [
        chunk(call(0, '{"x":', id="c", name="f")),
        chunk({"content": "b"}),
        chunk({"reasoning_content": "t"}),
        chunk({"refusal": "no"}),
        chunk({"annotations": [{"type": "url_citation", "url_citation": {"url": "u"}}]}),
        chunk(call(0, "1}")),
        *finish(),
    ]
    items = output(chunks)
    assert [item["type"] for item in items] == ["function_call", "message", "reasoning", "message"]
    assert items[0]["arguments"] == '{"x":1}'


def test_texts_around_the_end_of_a_call_keep_their_order() -> None:
    chunks = [chunk(call(0, '{"a":', id="c0", name="f")), chunk({"content": "A"}), chunk(call(0, "1}"))]
    items = output([*chunks, chunk({"content": "B"}), chunk({"content": "C"}), *finish("tool_calls")])
    assert [item["type"] for item in items] == ["function_call", "message"]
    assert items[1]["content"][0]["text"] == "ABC"


def test_a_fragment_of_a_call_that_has_ended_is_dropped() -> None:
    chunks = [chunk(call(0, '{"x":1}', id="c", name="f")), chunk(call(1, id="d", name="g")), chunk(call(0, "late"))]
    assert [item["arguments"] for item in output([*chunks, *finish()])] == ['{"x":1}', ""]


def test_a_name_that_comes_late_or_never() -> None:
    late = [chunk(call(0, '{"x":1}', id="c")), chunk(call(0, "", name="f")), *finish()]
    assert (output(late)[0]["name"], output(late)[0]["arguments"]) == ("f", '{"x":1}')
    assert output([chunk(call(0, "{}", id="c")), *finish()])[0]["name"] == ""


def test_calls_without_an_id_or_with_the_same_get_their_own() -> None:
    chunks = [chunk(call(0, '{"x":1}', name="f")), chunk(call(1, name="f", id="c")), chunk(call(2, name="f", id="c"))]
    assert len({item["call_id"] for item in output([*chunks, *finish()])}) == 3


def test_a_call_of_older_servers() -> None:
    chunks = [chunk({"function_call": {"name": "f", "arguments": "{"}}), chunk({"function_call": {"arguments": "}"}})]
    assert output([*chunks, *finish("function_call")])[0]["arguments"] == "{}"


def test_a_custom_tool_gets_its_input_as_text() -> None:
    chunks = [chunk(call(0, '{"input": "*** Beg', id="c", name="apply_patch")), chunk(call(0, 'in\\n"}'))]
    item = output([*chunks, *finish("tool_calls")], tools=[PATCH])[0]
    assert (item["type"], item["name"], item["input"]) == ("custom_tool_call", "apply_patch", "*** Begin\n")
    assert item["id"].startswith("ctc_")


@pytest.mark.parametrize("arguments", ["*** Begin", '{"inp', "[]", '{"input": 3}', '{"patch": "x"}'])
def test_a_custom_tool_gets_arguments_of_another_form_as_they_are(arguments: str) -> None:
    chunks = [chunk(call(0, arguments, id="c", name="apply_patch")), *finish("tool_calls")]
    assert output(chunks, tools=[PATCH])[0]["input"] == arguments


def test_custom_calls_of_an_upstream_that_has_them() -> None:
    delta = {"tool_calls": [{"index": 0, "id": "c", "type": "custom", "custom": {"name": "apply_patch", "input": "x"}}]}
    assert output([chunk(delta), *finish()], tools=[PATCH])[0]["input"] == "x"


@pytest.mark.parametrize("inner", [PATCH, {"type": "function", "name": "apply_patch"}])
def test_a_tool_of_a_namespace_gets_its_name_back(inner: Json) -> None:
    space = {"type": "namespace", "name": "ns", "tools": [inner]}
    item = output([chunk(call(0, "{}", id="c", name="ns__apply_patch")), *finish()], tools=[space])[0]
    assert (item["name"], item["namespace"]) == ("apply_patch", "ns")


@pytest.mark.parametrize("summary", [None, "auto"])
def test_a_thought(summary: str | None) -> None:
    chunks = [
        chunk({"reasoning_content": "hm"}),
        chunk({"reasoning_content": " m"}),
        chunk({"content": "a"}),
        *finish(),
    ]
    events = write(chunks, request(reasoning={"summary": summary}))
    thought, message = accumulate(events)["output"]
    text = thought["summary" if summary else "content"][0]["text"]
    assert (text, message["type"]) == ("hm m", "message")
    assert types(events).count("reasoning_summary_text.delta" if summary else "reasoning_text.delta") == 2
    assert "encrypted_content" not in thought


@pytest.mark.parametrize("summary", [None, "auto"])
def test_a_thought_that_can_not_be_read_is_for_the_next_turn_only(summary: str | None) -> None:
    detail = {"type": "reasoning.encrypted", "data": "x", "index": 0}
    chunks = [chunk({"reasoning_details": [detail]}), chunk({"content": "a"}), *finish()]
    assert [item["type"] for item in output(chunks)] == ["message"]
    thought = output(chunks, include=["reasoning.encrypted_content"], reasoning={"summary": summary})[0]
    assert thought["summary"] == []
    assert thought["encrypted_content"].startswith("argoproxy.")


def test_refusal_and_text_are_parts_of_one_message() -> None:
    chunks = [chunk({"content": "a"}), chunk({"refusal": "I "}), chunk({"refusal": "can't"}), chunk({"content": "b"})]
    (message,) = output([*chunks, *finish()])
    assert [part.get("text") or part.get("refusal") for part in message["content"]] == ["a", "I can't", "b"]


def test_annotations_and_logprobs() -> None:
    logprob = {"token": "a", "logprob": -1.0, "bytes": [97], "top_logprobs": []}
    citation = {"url": "u", "title": "t", "start_index": 0, "end_index": 1}
    chunks = [
        chunk({"content": "a"}, logprobs={"content": [logprob]}),
        chunk({"annotations": [{"type": "url_citation", "url_citation": citation}, {"type": "other"}]}),
    ]
    part = output([*chunks, *finish()])[0]["content"][0]
    assert part["logprobs"] == [logprob]
    assert part["annotations"] == [{"type": "url_citation", **citation}]


def test_content_in_parts() -> None:
    parts = [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": "a"}]
    assert [item["type"] for item in output([chunk({"content": parts}), *finish()])] == ["reasoning", "message"]


@pytest.mark.parametrize(("reason", "detail"), [("length", "max_output_tokens"), ("content_filter", "content_filter")])
def test_an_answer_that_was_cut_is_incomplete(reason: str, detail: str) -> None:
    events = write([chunk({"content": "a"}), *finish(reason)])
    response = accumulate(events)
    assert events[-1]["type"] == "response.incomplete"
    assert response["incomplete_details"] == {"reason": detail}
    assert response["output"][0]["status"] == "incomplete"


def test_a_call_that_was_cut_is_incomplete() -> None:
    chunks = [chunk(call(0, '{"a":1}', id="c", name="f")), chunk(call(1, '{"b', id="d", name="f")), *finish("length")]
    assert [item["status"] for item in output(chunks)] == ["completed", "incomplete"]
    assert output(chunks)[1]["arguments"] == '{"b'


@pytest.mark.parametrize("reason", ["stop", "tool_calls", "eos", "function_call"])
def test_other_endings_are_complete(reason: str) -> None:
    assert respond([chunk(call(0, "{}", id="c", name="f")), *finish(reason)])["status"] == "completed"


BROKEN = UpstreamProtocolError("It broke off.")


@pytest.mark.parametrize(
    ("delta", "left"),
    [
        ({"content": "Hel"}, [("message", "incomplete")]),
        ({"refusal": "no"}, [("message", "incomplete")]),
        ({"reasoning_content": "hm"}, [("reasoning", None)]),
        (call(0, '{"a', id="c", name="f"), [("function_call", "incomplete")]),
        (call(0, "in", id="c", name="apply_patch"), [("custom_tool_call", "incomplete")]),
        (call(0, "{", id="c"), []),
    ],
)
def test_a_failure_keeps_what_was_sent(delta: Json, left: list[tuple[str, str | None]]) -> None:
    writer = new_writer(tools=[PATCH, *FUNCTIONS])
    events = writer.feed([Event.of({**chunk(delta), "usage": USAGE})])
    checker = ResponseChecker()
    for event in [*events, *writer.fail(BROKEN)]:
        checker.add(event)
    assert checker.response is not None
    assert checker.response["error"] == {"code": "server_error", "message": "It broke off."}
    assert [(item["type"], item.get("status")) for item in checker.response["output"]] == left
    assert checker.response["usage"]["input_tokens"] == 11


def test_a_failure_before_the_first_chunk_has_the_first_events_too() -> None:
    assert types(new_writer().fail(BROKEN)) == ["created", "in_progress", "failed"]


LONG = b'{"error":{"code":"context_length_exceeded","message":"m"}}'
QUOTA = b'{"error":{"type":"insufficient_quota","code":null,"message":"m"}}'


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (UpstreamStatus(429, (), b"{}"), "rate_limit_exceeded", "The upstream answered with status 429."),
        (UpstreamStatus(503, (), b"no json"), "server_is_overloaded", "The upstream answered with status 503."),
        (UpstreamStatus(400, (), LONG), "context_length_exceeded", "m"),
        (UpstreamStatus(429, (), QUOTA), "insufficient_quota", "m"),
        (UpstreamStatus(400, (), b'{"error":{"code":7,"message":"m"}}'), "server_error", "m"),
        (InternalError("Internal error."), "server_error", "Internal error."),
    ],
)
def test_the_code_of_a_failure_is_one_that_clients_know(error: Any, code: str, message: str) -> None:
    assert new_writer().fail(error)[-1]["response"]["error"] == {"code": code, "message": message}


def test_signs_of_life_count_as_events_once_the_stream_has_begun() -> None:
    writer = new_writer()
    assert writer.keep_alive() == []
    events = writer.feed([Event.of(chunk({"content": "a"}))])
    events += writer.keep_alive()
    assert events[-1] == {"type": "keepalive", "sequence_number": len(events) - 1}
    accumulate([*events, *writer.feed([Event.of(chunk({"content": "b"}))]), *writer.finish()])


def test_only_the_first_choice_counts() -> None:
    other = chunk({"content": "x"}, "length")
    other["choices"][0]["index"] = 1
    assert respond([chunk({"content": "a"}), other, *finish()])["output"][0]["content"][0]["text"] == "a"


def test_usage_that_makes_no_sense_is_0() -> None:
    usage = {"prompt_tokens": "x", "completion_tokens": True, "prompt_tokens_details": None, "total_tokens": -1}
    assert respond([{**chunk({"content": "a"}, "stop"), "usage": usage}])["usage"]["total_tokens"] == 0


def test_a_response_says_what_was_asked() -> None:
    asked = {
        "instructions": "i",
        "metadata": {"a": "b"},
        "temperature": 0.5,
        "tools": FUNCTIONS,
        "tool_choice": "required",
        "reasoning": {"effort": "low"},
        "max_output_tokens": 9,
        "store": True,
    }
    response = respond(finish(), request(**asked))
    expected = {**asked, "reasoning": {"effort": "low", "summary": None}, "store": False}
    assert {key: response[key] for key in asked} == expected
    assert (response["previous_response_id"], response["background"], response["error"]) == (None, False, None)


CHATS = {
    "text": [chunk({"role": "assistant", "content": ""}), chunk({"content": "Hi"}), *finish()],
    "thought": [chunk({"role": "assistant"}), chunk({"reasoning_content": "t"}), chunk({"content": "a"}), *finish()],
    "calls": [
        chunk({"role": "assistant", "content": "a"}),
        chunk(call(0, '{"a":1}', id="c", type="function", name="f")),
        chunk(call(1, "{}", id="d", type="function", name="g")),
        *finish("tool_calls"),
    ],
    "refusal": [chunk({"role": "assistant", "refusal": "no"}), *finish()],
    "cut": [chunk({"role": "assistant", "content": "a"}), *finish("length")],
}


@pytest.mark.parametrize("chunks", CHATS.values(), ids=CHATS.keys())
def test_streamed_and_whole_give_the_same_response(chunks: list[Json]) -> None:
    assert respond_to_document(assemble_completion(chunks)) == respond(chunks)


@given(places, st.sampled_from(sorted(CHATS)))
def test_every_cut_gives_the_same_response(at: list[int], name: str) -> None:
    text = b"".join([Event.of(one).raw for one in CHATS[name]]) + DONE.raw
    assert accumulate(write_pieces(cut_at(text, at))) == respond(CHATS[name])


PLAIN = b'data: {"model":"m","choices":[{"index":0,"delta":{"content":"%s"},"finish_reason":null}]}\n\n'


def test_a_run_of_texts_is_one_delta() -> None:
    events = write_pieces([PLAIN % b"a" + PLAIN % b"b", PLAIN % b"c"])
    assert types(events).count("output_text.delta") == 2
    assert accumulate(events)["model"] == "m"
    assert accumulate(write_pieces([PLAIN % b""]))["output"] == []
