"""What a model says, and how each dialect writes it: as a document, and as a stream in any cuts."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.fuzz.mutate import encode
from tests.support.providers.dashscope import frame

Json = dict[str, Any]

WORDS = (
    "Hello",
    " there",
    "!",
    " ",
    "\n",
    "\n\n",
    "é",
    "世界",
    "\U0001f30d",
    "<",
    ">",
    "</",
    "<thin",
    "think>",
    "<think",
    "\u2028",
    "{",
    '"',
    "\\n",
    "data: x",
    "[DONE]",
    "<think>",
    "<think>",
    "</think>",
    "</think>",
    "<think></think>",
    "[THINK]",
    "[/THINK]",
    "[/THI",
    "``` ",
    "a" * 200,
    "\r",
)
ARGUMENTS = ("{}", '{"city": "Köln"}', '{"a": [1, 2.50, "</think>"]}', '{"deep": {"x": null}}')
USAGE = {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8}


@dataclass(frozen=True)
class Speech:
    """One choice: what is thought in a field, the text with thoughts in tags, calls, and the finish reason."""

    thoughts: str
    text: str
    calls: Sequence[tuple[str, str]]

    @property
    def finish(self) -> str:
        return "tool_calls" if self.calls else "stop"

    @property
    def tool_calls(self) -> list[Json]:
        return [
            {"id": f"call_{place}", "type": "function", "function": {"name": name, "arguments": arguments}}
            for place, (name, arguments) in enumerate(self.calls)
        ]


def speech(rng: random.Random, *, fields: bool = True) -> Speech:
    """Make up what is said; `fields` says whether it may have thoughts in a field, and calls."""
    text = "".join(rng.choice(WORDS) for _ in range(rng.randint(1, 12)))
    thoughts = "".join(rng.choice(WORDS) for _ in range(rng.randint(1, 4))) if fields and rng.random() < 0.3 else ""
    count = rng.randint(1, 2) if fields and rng.random() < 0.25 else 0
    return Speech(thoughts, text, [(f"tool_{place}", rng.choice(ARGUMENTS)) for place in range(count)])


def cut(rng: random.Random, text: str) -> list[str]:
    """Cut a text as models do: in words, in characters, anywhere."""
    size = rng.choice((1, 2, 5, 1000))
    return [text[at : at + size] for at in range(0, len(text), size)]


def openai_document(said: Sequence[Speech], kind: str) -> Json:
    """Give a chat completion or, of the kind `text_completion`, a legacy one."""
    choices = [{"index": place, **_whole(one, kind), "finish_reason": one.finish} for place, one in enumerate(said)]
    return {"id": "up-1", "object": kind, "created": 1, "model": "up", "choices": choices, "usage": USAGE}


def _whole(said: Speech, kind: str) -> Json:
    if kind == "text_completion":
        return {"text": said.text}
    message: Json = {"role": "assistant", "content": said.text}
    message |= {"reasoning_content": said.thoughts} if said.thoughts else {}
    return {"message": message | ({"tool_calls": said.tool_calls} if said.calls else {})}


def openai_chunks(rng: random.Random, said: Sequence[Speech], kind: str) -> list[Json]:
    """Give the same as chunks; those of several choices come in any order."""
    queues = [[(place, part, None) for part in _parts(rng, one, kind)] for place, one in enumerate(said)]
    for place, one in enumerate(said):
        queues[place].append((place, {"text": ""} if kind == "text_completion" else {"delta": {}}, one.finish))  # type: ignore[arg-type]
    name = kind if kind == "text_completion" else "chat.completion.chunk"
    top = {"id": "up-1", "object": name, "created": 1, "model": "up"}
    chunks = []
    while queues := [queue for queue in queues if queue]:
        place, part, finish = rng.choice(queues).pop(0)
        chunks.append({**top, "choices": [{"index": place, **part, "finish_reason": finish}]})
    return [*chunks, {**top, "choices": [], "usage": USAGE}]


def _parts(rng: random.Random, said: Speech, kind: str) -> list[Json]:
    if kind == "text_completion":
        return [{"text": piece} for piece in cut(rng, said.text)]
    deltas: list[Json] = [{"role": "assistant", "content": ""}]
    deltas += [{"reasoning_content": piece} for piece in cut(rng, said.thoughts)]
    deltas += [{"content": piece} for piece in cut(rng, said.text)]
    for index, call in enumerate(said.tool_calls):
        first, *rest = cut(rng, call["function"]["arguments"])
        opening = {**call, "index": index, "function": {"name": call["function"]["name"], "arguments": first}}
        deltas.append({"tool_calls": [opening]})
        deltas += [{"tool_calls": [{"index": index, "function": {"arguments": piece}}]} for piece in rest]
    return [{"delta": delta} for delta in deltas]


def events(rng: random.Random, documents: Sequence[Json], *, done: bool = True) -> list[bytes]:
    """Write events with any of the line ends and spacings that event streams may have."""
    end = rng.choice((b"\n", b"\n", b"\r\n"))
    blank = rng.choice((b" ", b" ", b""))
    lines = [b"data:" + blank + encode(document) + end * 2 for document in documents]
    if rng.random() < 0.3:
        lines.insert(rng.randrange(len(lines) + 1), b": comment" + end * 2)
    return [*lines, b"data:" + blank + b"[DONE]" + end * 2] if done else lines


def argo_document(said: Speech) -> Json:
    response: Any = said.text
    if said.calls:
        response = {"content": said.text, "tool_calls": said.tool_calls}
    return {"response": response}


def dashscope_document(said: Speech) -> Json:
    return _dashscope(_whole(said, "chat")["message"], said.finish)


def dashscope_events(rng: random.Random, said: Speech) -> list[bytes]:
    """Give incremental events, each telling only what is new."""
    told = [part["delta"] for part in _parts(rng, said, "chat")]
    messages = [_dashscope({"role": "assistant", "content": "", **delta}, "null") for delta in told]
    last = _dashscope({"role": "assistant", "content": ""}, said.finish)
    return [frame(number, document) for number, document in enumerate([*messages, last], 1)]


def _dashscope(message: Json, finish: str) -> Json:
    usage = {"input_tokens": 3, "output_tokens": 5, "total_tokens": 8}
    return {"output": {"choices": [{"message": message, "finish_reason": finish}]}, "usage": usage, "request_id": "r-1"}


def decoded(data: bytes) -> Any:
    """Read JSON that an answer holds."""
    return json.loads(data)
