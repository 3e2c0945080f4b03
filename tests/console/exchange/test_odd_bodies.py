"""Whatever a client or an upstream sends has turns, an answer, and differences: nothing raises."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from argoproxy.console.exchange.exchange_view import describe_exchange
from argoproxy.protocol.json_text import dumps
from argoproxy.protocol.reasoning.policy import Opening, ReasoningSettings

NAMES = """model messages system prompt input instructions tools functions parameters role content type text name
    tool_calls function arguments reasoning reasoning_content thinking refusal choices message output response data
    error code finish_reason image_url summary id call_id bytes usage""".split()
TEXTS = st.sampled_from(
    ["", "user", "text", "thinking", "reasoning", "tool_use", "tool_result", "message", "x<think>y"]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=5),
    max_leaves=20,
)
LINES = st.fixed_dictionaries({"logging_id": st.just("a"), "input": JSON, "output": JSON, "total_ms": JSON})


@given(LINES, st.lists(LINES, max_size=2), st.sampled_from(Opening))
def test_odd_bodies_are_shown(client: dict[str, Any], servers: list[dict[str, Any]], opening: Opening) -> None:
    settings = ReasoningSettings(opening=opening)
    shown = describe_exchange(client, servers, lambda model, path: settings, 5000)
    assert len(shown["attempts"]) == len(servers)
    assert dumps(shown)
