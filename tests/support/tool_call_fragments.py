"""Fragments of tool calls, as deltas of a stream carry them."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from argoproxy.protocol.json_text import Json

MISSING = object()


def fragment(index: Any = MISSING, **fields: Any) -> Json:
    """A fragment; `name` and `arguments` stand in its function."""
    tool = {key: fields.pop(key) for key in ("name", "arguments") if key in fields}
    place = {} if index is MISSING else {"index": index}
    return {**place, **fields, **({"function": tool} if tool else {})}


HEAD = fragment(0, id="a", type="function", name="f", arguments="")
NEXT = fragment(0, arguments="{}")

strings = st.sampled_from(["", "a", "b", "c"])
odd = st.none() | st.integers(-1, 3) | strings
odd_fragments = st.fixed_dictionaries(
    {},
    optional={
        "index": odd,
        "id": odd,
        "type": odd,
        "function": odd
        | st.fixed_dictionaries(
            {}, optional={"name": odd, "arguments": odd | st.sampled_from(["{}", '{"a"']) | st.just({"a": 1})}
        ),
    },
)
