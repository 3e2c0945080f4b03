"""The JSON of `/api/exchange/ID`. A field that is not known is null, a text that is not there is ""."""

from __future__ import annotations

from typing import Any, Literal, TypedDict

from argoproxy.protocol.json_text import Json

PartKind = Literal["text", "thought", "tool_call", "tool_result", "media", "refusal", "error", "other"]
#: What became of a thought on its way to the client; "" for what is no thought, or no upstream's.
Fate = Literal["", "kept", "moved", "stripped"]


class ShownPart(TypedDict):
    """A piece of a message. `place` is the field or the tag in which it stood, `name` and `id` are those of a tool
    call, whose arguments are the text. `cut` counts the characters that are left out at the end."""

    kind: PartKind
    text: str
    place: str
    name: str
    id: str
    fate: Fate
    cut: int


class ShownTurn(TypedDict):
    """A message of a request, or a choice of an answer, which has the role `assistant`."""

    role: str
    finish: str
    parts: list[ShownPart]


class OfferedTool(TypedDict):
    """A tool that a request offers."""

    name: str
    description: str


class Change(TypedDict):
    """What differs between the client's body and the one that was sent: a path such as `messages[0].content`, and both
    values as JSON texts."""

    path: str
    kind: Literal["added", "removed", "changed"]
    before: str
    after: str


class ShownSide(TypedDict):
    """The client's side of an exchange, or one attempt. `facts` are the line's other fields. `parameters` are those of
    the body that are neither messages nor tools. The raw bodies are null where the journal has only their sizes, or
    where they are too large to be shown: `note` says so."""

    facts: Json
    turns: list[ShownTurn]
    tools: list[OfferedTool]
    parameters: Json
    answer: list[ShownTurn]
    error: str
    raw_input: Any
    raw_output: Any
    input_bytes: int | None
    output_bytes: int | None
    note: str
    changes: list[Change]


class TimePart(TypedDict):
    """A part of the time that a request took."""

    name: str
    ms: float
    failed: bool


class ShownExchange(TypedDict):
    """A request. `reason` is a sentence that says why there is no body, "" if there is one; `reason_code` is `journal`
    (none is configured), `meta` (it holds sizes), `size` (this body was not read), `gone` (it does not hold this
    request), `several` (`matches` are the ids that begin so), `unreadable`, or ""."""

    id: str
    reason_code: Literal["", "journal", "meta", "size", "gone", "several", "unreadable"]
    reason: str
    matches: list[str]
    client: ShownSide | None
    attempts: list[ShownSide]
    phases: list[TimePart]
    curl: str
    curl_reason: str
