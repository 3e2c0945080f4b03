"""What a model said goes back to it exactly, streamed in any pieces or whole."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from argoproxy.protocol.stream.assembly import assemble_completion
from argoproxy.upstreams.anthropic.messages import LaterSystem, make_conversation
from tests.support.anthropic_replies import END, MESSAGE, START, Json, block, delta, read_stream, whole
from tests.support.cuts import cut_at, places

#: Anthropic sends no blank text, and no text that ends an answer with blanks is sent back as a last turn.
words = st.text(min_size=1, max_size=12).filter(lambda text: text.strip() == text and text.isprintable())
inputs = st.dictionaries(words, st.recursive(st.none() | st.booleans() | st.integers() | words, st.lists), max_size=3)
ids = st.from_regex(r"toolu_[A-Za-z0-9]{1,8}", fullmatch=True)

thinking = st.builds(
    lambda text, mark: {"type": "thinking", "thinking": text, "signature": mark}, st.just("") | words, words
)
redacted = st.builds(lambda data: {"type": "redacted_thinking", "data": data}, words)
texts = st.builds(lambda text: {"type": "text", "text": text}, words)
searches = st.builds(
    lambda one, given_: {"type": "server_tool_use", "id": one, "name": "web_search", "input": given_}, ids, inputs
)
uses = st.builds(
    lambda one, name, given_: {"type": "tool_use", "id": one, "name": name, "input": given_}, ids, words, inputs
)
others = st.lists(thinking | redacted | searches, max_size=3)
contents = st.tuples(
    others, st.lists(texts, max_size=1), others, st.lists(uses, max_size=3, unique_by=lambda use: use["id"])
).map(lambda parts: [one for part in parts for one in part])


def deltas_of(one: Json, cuts: list[int]) -> tuple[Json, list[Json]]:
    """Return the start of a block, and its deltas."""

    def pieces(text: str) -> list[str]:
        return cut_at(text, cuts)

    if one["type"] == "text":
        return {**one, "text": ""}, [{"type": "text_delta", "text": piece} for piece in pieces(one["text"])]
    if one["type"] == "thinking":
        thoughts = [{"type": "thinking_delta", "thinking": piece} for piece in pieces(one["thinking"])]
        signature = {"type": "signature_delta", "signature": one["signature"]}
        return {**one, "thinking": "", "signature": ""}, [*thoughts, signature]
    if "input" in one:
        spelled = pieces(json.dumps(one["input"]))
        return {**one, "input": {}}, [{"type": "input_json_delta", "partial_json": piece} for piece in spelled]
    return one, []


def send_back(message: Json) -> Any:
    _, turns = make_conversation([message, {"role": "user", "content": "Go on."}], LaterSystem.HOIST)
    return turns[0]["content"] if len(turns) > 1 else []


@given(contents, places, places)
def test_what_was_said_goes_back_exactly(content: list[Json], cuts: list[int], pieces: list[int]) -> None:
    frames = [block(index, *_flat(deltas_of(one, cuts))) for index, one in enumerate(content)]
    told = read_stream(*cut_at(b"".join([START, *frames, delta("end_turn"), END]), pieces))
    streamed = assemble_completion(told[:-1])["choices"][0]["message"]
    document = whole({**MESSAGE, "content": content, "stop_reason": "end_turn"})["choices"][0]["message"]
    assert send_back(streamed) == send_back(document) == content


def _flat(parts: tuple[Json, list[Json]]) -> list[Json]:
    return [parts[0], *parts[1]]
