"""Thoughts on the wire: each policy, streamed, whole and converted both ways, and what goes up of earlier ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import openai
import pytest

from argoproxy.protocol.stream.assembly import assemble_completion
from tests.support.client import Answer, chat
from tests.support.fixtures import Serve
from tests.support.processes import Proxy, Upstream, shell
from tests.support.scripts import CHUNKED, DONE, END, chunked, event, reply, stream

Json = dict[str, Any]

ROOT = Path(__file__).resolve().parent.parent.parent
RULES = """
target_base_url: {url}
models:
  none: {{upstream_model_name: m1}}
  strip: {{upstream_model_name: m1, reasoning: strip}}
  keep: {{upstream_model_name: m1, reasoning: keep}}
  field: {{upstream_model_name: m1, reasoning: field}}
  other-field: {{upstream_model_name: m1, reasoning: field, reasoning_field: reasoning}}
  tags: {{upstream_model_name: m1, reasoning: tags}}
  open: {{upstream_model_name: m1, reasoning: field, think_starts_open: true}}
  auto: {{upstream_model_name: m1, reasoning: field, think_starts_open: auto}}
  spellings: {{upstream_model_name: m1, think_tag_start: ["<think>", "[T]"], think_tag_end: ["</think>", "[/T]"]}}
  cleaned: {{upstream_model_name: m1, history: strip}}
  kept: {{upstream_model_name: m1, history: keep}}
"""


@pytest.fixture(scope="module")
def door(serve: Serve, upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Proxy:
    file = tmp_path_factory.mktemp("reasoning") / "config.yaml"
    file.write_text(RULES.format(url=upstream.url))
    return serve(CONFIG_PATH=str(file))


def deltas(message: Json) -> list[Json]:
    """Cut a message into small deltas, its thoughts first."""
    cut: list[Json] = [{"role": "assistant", "content": ""}]
    for key in ("reasoning_content", "reasoning", "content"):
        text = message.get(key) or ""
        cut += [{key: text[at : at + 4]} for at in range(0, len(text), 4)]
    return cut


def steps_of(message: Json, mode: str) -> list[list[Any]]:
    top = {"id": "u", "created": 1, "model": "m1"}
    if mode == "non_stream":
        choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": "stop"}
        return [reply(body=json.dumps({**top, "object": "chat.completion", "choices": [choice]}).encode())]
    parts: list[Json] = [{"delta": delta, "finish_reason": None} for delta in deltas(message)]
    parts.append({"delta": {}, "finish_reason": "stop"})
    chunks = [{**top, "object": "chat.completion.chunk", "choices": [{"index": 0, **part}]} for part in parts]
    return stream(*(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks), DONE)


def message_of(answer: Answer, asks: bool) -> Json:
    document = assemble_completion(answer.chunks) if asks else answer.json
    (choice,) = document["choices"]
    assert choice["finish_reason"] == "stop"
    return {key: value for key, value in choice["message"].items() if key != "role" and value}


TAGGED: Json = {"content": "<think>hm hm</think>\n\nHello"}
FIELD: Json = {"reasoning_content": "hm hm", "content": "Hello"}
HELLO: Json = {"content": "Hello"}
TOLD: list[tuple[str, Json, Json]] = [
    ("none", TAGGED, HELLO),
    ("none", FIELD, FIELD),
    ("strip", TAGGED, HELLO),
    ("strip", FIELD, HELLO),
    ("keep", TAGGED, TAGGED),
    ("keep", FIELD, FIELD),
    ("field", TAGGED, FIELD),
    ("field", FIELD, FIELD),
    ("other-field", TAGGED, {"reasoning": "hm hm", "content": "Hello"}),
    ("tags", TAGGED, TAGGED),
    ("open", {"content": "hm hm</think>\n\nHello"}, FIELD),
    ("auto", {"content": "hm hm</think>\n\nHello"}, FIELD),
    ("auto", HELLO, HELLO),
    ("spellings", {"content": "[T]a</think>[/T]<think>b[/T]</think>Hello"}, HELLO),
]


@pytest.mark.parametrize("mode", ["stream", "non_stream"])
@pytest.mark.parametrize("asks", [False, True])
@pytest.mark.parametrize(("model", "came", "told"), TOLD)
def test_every_policy_gives_the_same_in_all_four_ways(
    door: Proxy, upstream: Upstream, model: str, came: Json, told: Json, asks: bool, mode: str
) -> None:
    script = upstream.script(*steps_of(came, mode))
    answer = chat(door.port, model=model, stream=asks, headers={"X-Script": script, "X-Upstream-Mode": mode})
    assert message_of(answer, asks) == told


def test_the_official_client_finds_thoughts_in_the_field(door: Proxy, upstream: Upstream) -> None:
    script = upstream.script(*steps_of(TAGGED, "stream"))
    with openai.OpenAI(base_url=f"{door.url}/v1", api_key="k", default_headers={"X-Script": script}) as client:
        asked: list[Any] = [{"role": "user", "content": "Hi"}]
        stream = client.chat.completions.create(model="field", messages=asked, stream=True)
        thoughts = [getattr(chunk.choices[0].delta, "reasoning_content", None) or "" for chunk in stream]
    assert "".join(thoughts) == "hm hm"


CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}, "extra_content": {"sig": "s"}}
CONVERSATION: list[Json] = [
    {"role": "user", "content": "<think>mine</think>?"},
    {"role": "assistant", "content": "<think>hm</think>Let me see.", "reasoning_content": "hm", "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "c1", "content": "<think>5</think>"},
    {"role": "assistant", "content": "It is 5.", "reasoning": "well", "reasoning_details": [{"text": "well"}]},
    {"role": "user", "content": "And now?"},
]


def test_earlier_thoughts_go_up_or_not(door: Proxy, upstream: Upstream) -> None:
    for model, sent in (
        ("kept", CONVERSATION),
        ("none", CONVERSATION),
        (
            "cleaned",
            [
                CONVERSATION[0],
                {"role": "assistant", "content": "Let me see.", "tool_calls": [CALL]},
                CONVERSATION[2],
                {"role": "assistant", "content": "It is 5."},
                CONVERSATION[4],
            ],
        ),
    ):
        script = upstream.script(*steps_of(HELLO, "non_stream"))
        assert chat(door.port, model=model, messages=CONVERSATION, headers={"X-Script": script}).status == 200
        assert json.loads(upstream.last(script)["body"])["messages"] == sent


def test_an_endless_thought_costs_no_memory(door: Proxy, upstream: Upstream) -> None:
    thought = chunked(event("hm " * 300)) * 100
    before = door.peak_kib()
    steps: list[list[Any]] = [["send", CHUNKED + chunked(event("<think>"))], ["repeat", 120, [["send", thought]]]]
    script = upstream.script(*steps, ["send", chunked(event("", "stop")) + chunked(DONE) + END])
    for model in ("none", "strip"):
        answer = chat(door.port, model=model, stream=True, headers={"X-Script": script})
        assert (answer.text, answer.body.endswith(b"[DONE]\n\n")) == ("", True)
    assert door.peak_kib() - before < 8 * 1024


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ("reasoning: stripp", 'did you mean "strip"?'),
        ("history: keeep", 'did you mean "keep"?'),
        ("think_starts_open: perhaps", "think_starts_open 'perhaps' "),
        ("reasoning_field: thoughts", "reasoning_content, reasoning"),
        ("think_tag_start: [a, b]", "models.m.think_tag_end "),
        ("{think_tag_start: [a, b], think_tag_end: [c, d, e]}", "models.m.think_tag_end "),
    ],
)
def test_an_unknown_policy_is_refused_at_the_start(tmp_path: Path, rule: str, said: str) -> None:
    text = f"demo: true\nmodels:\n  m: {rule if rule.startswith('{') else '{' + rule + '}'}\n"
    (tmp_path / "config.yaml").write_text(text)
    ended = shell(f"python {ROOT / 'cot_proxy.py'} config.yaml", tmp_path, {})
    assert (ended.returncode, said in ended.stderr.decode()) == (2, True), ended.stderr
    assert b"Traceback" not in ended.stderr


@pytest.mark.parametrize("setting", ["THINK_STARTS_OPEN=auto", "LLM_PARAMS=model=m1,think_starts_open=auto"])
@pytest.mark.parametrize("mode", ["stream", "non_stream"])
def test_a_missing_opening_tag_is_a_matter_of_the_environment(
    serve: Serve, upstream: Upstream, setting: str, mode: str
) -> None:
    name, _, value = setting.partition("=")
    door = serve(TARGET_BASE_URL=upstream.url, **{name: value})
    script = upstream.script(*steps_of({"content": "reasoning</think>Hello"}, mode))
    answer = chat(door.port, stream=mode == "stream", headers={"X-Script": script})
    assert message_of(answer, mode == "stream") == HELLO


@pytest.mark.parametrize("mode", ["stream", "non_stream"])
def test_a_lone_closing_tag_is_warned_of_once_for_each_model(start: Serve, upstream: Upstream, mode: str) -> None:
    door = start(TARGET_BASE_URL=upstream.url)
    script = upstream.script(*steps_of({"content": "reasoning</think>Hello"}, mode))
    for model in ("m1", "m2\x1b[2J\n", "m1", "m2\x1b[2J\n"):
        answer = chat(door.port, model=model, stream=mode == "stream", headers={"X-Script": script})
        assert message_of(answer, mode == "stream") == {"content": "reasoning</think>Hello"}
        door.line(answer.id)
    warned = [line for line in door.coded("lone_closing_tag") if line["setting"] == "THINK_STARTS_OPEN"]
    assert len(warned) == 2
    assert "\x1b" not in door.log()
