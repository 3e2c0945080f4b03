"""A request of Messages, as a chat and back: what both can say stays exactly as it was."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from argoproxy.protocol.messages.request import to_chat
from argoproxy.upstreams.anthropic.messages import LaterSystem
from argoproxy.upstreams.anthropic.parameters import make_messages_body
from tests.support.anthropic_replies import make_call

Json = dict[str, Any]

words = st.text(min_size=1, max_size=12).filter(lambda text: text.strip() == text and text.isprintable())
inputs = st.dictionaries(words, st.none() | st.booleans() | st.integers() | words | st.lists(words), max_size=3)
ids = st.from_regex(r"toolu_[A-Za-z0-9]{1,12}", fullmatch=True)
names = st.from_regex(r"[a-z_]{1,12}", fullmatch=True)
texts = st.builds(lambda text: {"type": "text", "text": text}, words)
sources = st.sampled_from(
    [
        {"type": "base64", "media_type": "image/png", "data": "QUI="},
        {"type": "url", "url": "https://x/a.png"},
    ]
)
images = st.builds(lambda source: {"type": "image", "source": source}, sources)
pdf = {"type": "base64", "media_type": "application/pdf", "data": "QUI="}
documents = st.builds(lambda title: {"type": "document", "source": pdf, "title": title}, words)
parts = st.lists(texts | images | documents, min_size=1, max_size=3)


@st.composite
def tool_turns(draw: st.DrawFn) -> list[Json]:
    """Give calls of the assistant, and a turn with their results first."""
    call_ids = draw(st.lists(ids, min_size=1, max_size=3, unique=True))
    uses = [{"type": "tool_use", "id": one, "name": draw(names), "input": draw(inputs)} for one in call_ids]
    said = draw(st.lists(texts, max_size=1))
    results = [
        {"type": "tool_result", "tool_use_id": one, "content": [{"type": "text", "text": draw(words)}]}
        for one in draw(st.permutations(call_ids))
    ]
    more = draw(st.just([]) | parts)
    return [{"role": "assistant", "content": [*said, *uses]}, {"role": "user", "content": [*results, *more]}]


@st.composite
def conversations(draw: st.DrawFn) -> list[Json]:
    turns: list[Json] = [{"role": "user", "content": draw(parts)}]
    for _ in range(draw(st.integers(0, 3))):
        if draw(st.booleans()):
            turns += draw(tool_turns())
        else:
            turns.append({"role": "assistant", "content": [draw(texts)]})
            turns.append({"role": "user", "content": draw(parts)})
    used = [block["id"] for turn in turns for block in turn["content"] if block["type"] == "tool_use"]
    # Anthropic accepts each id once.
    return turns if len(set(used)) == len(used) else turns[:1]


tools = st.lists(
    st.fixed_dictionaries(
        {"name": names, "input_schema": st.just({"type": "object", "properties": {"a": {"type": "string"}}})},
        optional={"description": words, "strict": st.just(True)},
    ),
    min_size=1,
    max_size=3,
)
choices = st.sampled_from(["auto", "any", "none"]).map(lambda kind: {"type": kind})
requests = st.fixed_dictionaries(
    {"model": st.just("claude-opus-4-6"), "max_tokens": st.integers(1, 64_000), "messages": conversations()},
    optional={
        "system": st.lists(texts, min_size=1, max_size=1),
        "stop_sequences": st.lists(words, min_size=1, max_size=4),
        "temperature": st.floats(0, 1),
        "top_k": st.integers(1, 50),
        "stream": st.just(True),
        "metadata": st.fixed_dictionaries({"user_id": words}),
    },
)


@given(requests, st.none() | tools, st.none() | choices, st.booleans())
def test_what_both_can_say_stays_exactly(asked: Json, given_: Any, choice: Any, parallel: bool) -> None:
    if given_:
        asked["tools"] = given_
        if choice:
            asked["tool_choice"] = choice
            if not parallel and choice["type"] != "none":
                choice["disable_parallel_tool_use"] = True
    call = make_call(**to_chat(asked))
    assert make_messages_body(call, None, LaterSystem.HOIST) == asked


def test_m22_a_system_message_in_the_middle_stays_there_where_that_is_set() -> None:
    middle = {"role": "system", "content": [{"type": "text", "text": "Be brief."}]}
    turn = {"role": "user", "content": [{"type": "text", "text": "Hi"}]}
    asked = {"model": "claude-opus-4-6", "max_tokens": 5, "messages": [turn, middle, turn]}
    assert make_messages_body(make_call(**to_chat(asked)), None, LaterSystem.KEEP) == asked
