from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from argoproxy.cli.doctor.judge.chat_verdicts import is_held_back
from argoproxy.cli.doctor.judge.findings import Finding, Status, run_checks
from argoproxy.cli.doctor.judge.observations import Chat, HttpAnswer, Place, UpstreamFacts
from argoproxy.cli.doctor.judge.surface_verdicts import UPSTREAM_CHECKS
from argoproxy.protocol.reasoning.policy import Opening, Reasoning, ReasoningSettings, TagPair

URL = "http://gpu:8000/v1"
OK = HttpAnswer(URL, 200, ms=12.0)
STEADY = tuple((0.1 * place, 100) for place in range(1, 21))
LATE = ((1.99, 1500), (2.0, 500))
WHOLE = Chat(OK, "Hello", finish="stop", has_usage=True, events=1)
STREAM = Chat(OK, "1, 2", finish="stop", is_stream=True, events=20, arrivals=STEADY)
TOOLS = Chat(OK, tools=("get_time",), finish="tool_calls", events=1)
SOUND = UpstreamFacts(
    name="gpu",
    kind="openai",
    url=URL,
    url_place=Place("TARGET_BASE_URL", ".env"),
    listing=HttpAnswer(f"{URL}/models", 200, body='{"data": [{"id": "m1", "owned_by": "vllm"}]}'),
    models=("m1",),
    model="m1",
    whole=WHOLE,
    stream=STREAM,
    tools=TOOLS,
)


def judge(code: str, **fields: Any) -> Finding:
    facts = replace(SOUND, **fields)
    (found,) = [finding for finding in run_checks(UPSTREAM_CHECKS, facts, "gpu") if finding.code == code]
    return found


def refused(status: int, message: str, **fields: Any) -> Chat:
    return Chat(HttpAnswer(URL, status, **fields), problem=message)


def test_a_sound_model() -> None:
    findings = {finding.code: finding.status for finding in run_checks(UPSTREAM_CHECKS, SOUND, "gpu")}
    sound = ("chat.whole", "chat.stream", "stream.flows", "thoughts", "tools")
    assert {findings[code] for code in sound} == {Status.OK}


@pytest.mark.parametrize(
    ("chat", "text", "fix"),
    [
        (refused(404, "The model m1 does not exist"), "404: The model m1", "such as other"),
        (refused(429, "slow down"), "429: slow down", "quota"),
        (refused(500, "CUDA"), "500: CUDA", "server's log"),
        (refused(400, "odd"), "400: odd", "see the message"),
        (refused(0, "timed out", failure="first_byte_timeout"), "m1 does not answer a chat: timed out", "loading"),
    ],
)
def test_a_chat_that_fails(chat: Chat, text: str, fix: str) -> None:
    found = judge("chat.whole", whole=chat, models=("other", "m1"))
    assert found.status is Status.FAIL
    assert text in found.text
    assert fix in found.fix
    assert judge("tools", whole=chat).text == "skipped: because of chat.whole"


def test_chats_that_are_not_asked() -> None:
    assert "--no-chat" in judge("chat.whole", whole=None, asks_no_chat=True).text
    assert "--model" in judge("chat.whole", whole=None).text


def test_a_model_that_only_streams() -> None:
    found = judge("chat.whole", whole=refused(400, "This model only support stream mode"))
    assert (found.status, found.fix) == (Status.WARN, "MODE=stream")


@pytest.mark.parametrize(
    ("stream", "text", "status"),
    [
        (refused(400, "'stream' is not supported"), "does not stream: 'stream' is", Status.WARN),
        (replace(STREAM, is_stream=False), "answers with a whole document", Status.WARN),
        (replace(STREAM, finish=""), "without a finish reason", Status.WARN),
        (replace(STREAM, finish="", is_cut=True), "first event after", Status.OK),
        (refused(200, "The upstream's stream broke off"), "broke off", Status.FAIL),
    ],
)
def test_streams(stream: Chat, text: str, status: Status) -> None:
    found = judge("chat.stream", stream=stream)
    assert text in found.text
    assert found.status is status


def test_an_option_of_a_section_is_set_there() -> None:
    place = Place("upstreams.gpu.base_url", "config.yaml, line 3")
    found = judge("chat.stream", stream=refused(400, "no 'stream' here"), url_place=place)
    assert found.fix == "upstreams.gpu.mode: non_stream"


def test_a_stream_that_the_settings_ask_whole() -> None:
    stream = replace(STREAM, is_stream=False)
    assert judge("chat.stream", stream=stream, is_stream_off=True).status is Status.OK


@pytest.mark.parametrize(
    ("arrivals", "events", "held"),
    [
        (STEADY, 20, False),
        (LATE, 20, True),
        (LATE, 4, False),
        (((0.3, 2000),), 20, False),
        # A model that thinks for two seconds, and is faster than a burst is long: each event has a read of its own.
        (tuple((2.0 + place / 1000, 100) for place in range(20)), 20, False),
        # Half at the beginning.
        (((0.2, 1000), (2.0, 1000)), 20, False),
        ((), 0, False),
    ],
)
def test_whether_a_stream_is_held_back(arrivals: tuple[tuple[float, int], ...], events: int, held: bool) -> None:
    assert is_held_back(replace(STREAM, arrivals=arrivals, events=events)) is held


@pytest.mark.parametrize(
    ("headers", "fix"),
    [
        ((("Server", "nginx/1.22"),), "proxy_buffering off"),
        ((("Via", "1.1 nginx"),), "proxy_buffering off"),
        ((("Server", "cloudflare"),), "Cloudflare"),
        ((("CF-Ray", "8a"),), "Cloudflare"),
        ((("Server", "Apache"),), "flushpackets"),
        ((("Content-Encoding", "gzip"),), "compression"),
        ((), "in front of vLLM"),
    ],
)
def test_what_is_between_is_named(headers: tuple[tuple[str, str], ...], fix: str) -> None:
    found = judge("stream.flows", stream=replace(STREAM, arrivals=LATE, answer=replace(OK, headers=headers)))
    assert found.status is Status.WARN
    assert fix in found.fix


def test_a_short_stream_tells_nothing() -> None:
    assert "too short" in judge("stream.flows", stream=replace(STREAM, events=3)).text


@pytest.mark.parametrize(
    ("owner", "fix"),
    [
        ("vllm", "--tool-call-parser"),
        ("llamacpp", "--jinja"),
        ("library", "Ollama"),
        ("someone", "--jinja in llama.cpp"),
    ],
)
def test_tools_that_are_refused(owner: str, fix: str) -> None:
    listing = replace(SOUND.listing or OK, body=f'{{"data": [{{"id": "m1", "owned_by": "{owner}"}}]}}')
    found = judge("tools", tools=refused(400, "no tools"), listing=listing)
    assert (found.status, "(400)" in found.text) == (Status.WARN, True)
    assert fix in found.fix
    assert "coding agents can't" in judge("clients", tools=refused(400, "no tools")).text


def test_the_demo_needs_no_tools() -> None:
    assert judge("tools", kind="demo", tools=replace(TOOLS, tools=())).status is Status.INFO


def thoughts(content: str = "", field: str = "", **fields: Any) -> Finding:
    chat = replace(STREAM, content=content, thoughts={"reasoning": field} if field else {})
    return judge("thoughts", stream=chat, whole=WHOLE, **fields)


TAGGED, UNOPENED = "<think>So</think>Hello", "So\n</think>\nHello"


@pytest.mark.parametrize(
    ("policy", "text"),
    [(None, "removed"), (Reasoning.KEEP, "kept"), (Reasoning.FIELD, "to a field"), (Reasoning.TAGS, "between tags")],
)
def test_thoughts_between_tags(policy: Reasoning | None, text: str) -> None:
    found = thoughts(TAGGED, reasoning=ReasoningSettings(policy))
    assert (found.status, text in found.text) == (Status.INFO, True)


def test_thoughts_in_a_field() -> None:
    assert "in the field `reasoning`; clients get them there" in thoughts(field="So").text
    assert "removed" in thoughts(field="So", reasoning=ReasoningSettings(Reasoning.STRIP)).text


def test_thoughts_without_an_opening_tag() -> None:
    found = thoughts(UNOPENED)
    assert found.status is Status.WARN
    assert found.fix.startswith('models: {"m1": {think_starts_open: true}}')
    for settings in (ReasoningSettings(opening=Opening.AUTO), ReasoningSettings(Reasoning.KEEP)):
        assert thoughts(UNOPENED, reasoning=settings).status is Status.INFO


def test_thoughts_between_tags_that_the_settings_do_not_name() -> None:
    found = thoughts("[THINK]So[/THINK]Hello")
    assert found.status is Status.WARN
    assert "THINK_TAG=[THINK] THINK_END_TAG=[/THINK]" in found.fix
    named = ReasoningSettings(tags=(TagPair("[THINK]", "[/THINK]"),))
    assert thoughts("[THINK]So[/THINK]Hello", reasoning=named).status is Status.INFO
    assert 'think_tag_end: "[/THINK]"' in thoughts("So[/THINK]Hello").fix


def test_native_mode_changes_nothing() -> None:
    assert "nothing is changed in native mode" in thoughts(UNOPENED, is_passthrough=True).text


def test_thoughts_of_a_whole_answer_count_too() -> None:
    assert judge("thoughts", whole=replace(WHOLE, content=UNOPENED)).status is Status.WARN


@pytest.mark.parametrize(
    ("path", "code", "status", "text"),
    [
        ("/v1/responses", "responses", 404, "converted to chats: Codex"),
        ("/v1/responses", "responses", 400, "forwarded"),
        ("/v1/messages", "messages", 405, "converted to chats: Claude Code"),
        ("/v1/embeddings", "embeddings", 422, "served"),
        ("/v1/embeddings", "embeddings", 404, "the server has none"),
        ("/v1/completions", "completions", 404, "the server has none"),
    ],
)
def test_surfaces(path: str, code: str, status: int, text: str) -> None:
    found = judge(code, surfaces={path: HttpAnswer(URL + path, status)})
    assert text in found.text
    assert found.status is (Status.OK if status in (400, 422) else Status.INFO)


def test_responses_that_are_forwarded_into_nothing() -> None:
    found = judge("responses", surfaces={"/v1/responses": HttpAnswer(URL, 404)}, forwards_responses=True)
    assert (found.status, found.fix) == (Status.WARN, "RESPONSES=auto")


def test_native_mode_converts_nothing() -> None:
    found = judge("responses", surfaces={"/v1/responses": HttpAnswer(URL, 404)}, is_passthrough=True)
    assert "native mode converts none" in found.text
