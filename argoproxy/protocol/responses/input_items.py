"""Input items as the messages of a chat.

Neighbouring items of the model (thoughts, texts, calls) are one assistant message. A chat wants the output of each call
right after the message with the calls, so outputs are moved there, wherever they stand.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

from argoproxy.errors import BadRequest
from argoproxy.protocol.json_text import Json, as_text
from argoproxy.protocol.responses.carrier import Thought, decode_thought
from argoproxy.protocol.responses.tool_map import Tool, wrap_input

_TEXTS = frozenset(("input_text", "output_text", "text"))
_CALLS = {"function_call": "function", "custom_tool_call": "custom"}
_OUTPUTS = frozenset(("function_call_output", "custom_tool_call_output"))
#: In place of the output of a call that was never answered; Codex writes the same.
_NO_OUTPUT = "aborted"
_ROLES = {"user": "user", "assistant": "assistant", "system": "system", "developer": "system"}


def convert_items(items: Sequence[Json], model: str) -> tuple[list[Json], Sequence[str]]:
    """Return the messages, and the positions of items that have no equivalent and are left out. Raises BadRequest."""
    conversion = _Conversion(model, _collect_outputs(items))
    for index, item in enumerate(items):
        conversion.add(item, f"input[{index}]")
    conversion.finish()
    return conversion.messages, conversion.left_out


def _collect_outputs(items: Sequence[Json]) -> dict[str, deque[tuple[str, Json]]]:
    """Return the outputs by the ids of their calls, in their order: some models use an id again."""
    outputs: dict[str, deque[tuple[str, Json]]] = {}
    for index, item in enumerate(items):
        if item.get("type") in _OUTPUTS:
            outputs.setdefault(item["call_id"], deque()).append((f"input[{index}]", item))
    return outputs


class _Conversion:
    """The messages so far, and the assistant's turn that is still open."""

    def __init__(self, model: str, outputs: dict[str, deque[tuple[str, Json]]]) -> None:
        self.messages: list[Json] = []
        self.left_out: list[str] = []
        self._model = model
        self._outputs = outputs
        self._turn = _Turn()
        #: Neighbouring system messages, not yet added: most chat templates accept one only.
        self._systems: list[str] = []

    def add(self, item: Json, place: str) -> None:
        """Take the next item."""
        kind = item.get("type") or "message"
        if kind == "message":
            self._add_message(item, place)
        elif kind in _CALLS:
            self._turn.add_call(_convert_call(item))
        elif kind == "reasoning":
            if thought := _read_thought(item, self._model):
                self._turn.thoughts.append(thought)
        elif kind in _OUTPUTS:
            self._close_turn()
        elif kind.startswith("compaction"):
            raise BadRequest(
                "A compacted conversation can be read by the server that made it only.",
                param=f"{place}.type",
                code="unsupported_item",
            )
        else:
            self.left_out.append(place)

    def finish(self) -> None:
        """Add what is held. Raises BadRequest if there is an output without its call."""
        self._close_turn()
        self._close_systems()
        for call_id, outputs in self._outputs.items():
            if outputs:
                raise BadRequest(
                    f"No tool call found for the output with call_id {call_id!r}. "
                    "This proxy stores no responses: send the call in 'input' too.",
                    param=f"{outputs[0][0]}.call_id",
                )

    def _close_turn(self) -> None:
        """Add the assistant's message, with the outputs of its calls behind it."""
        turn, self._turn = self._turn, _Turn()
        if not turn.texts and not turn.calls:
            return
        self._close_systems()
        self.messages.append(turn.message())
        media: list[Json] = []
        for call in turn.calls:
            text, parts = self._take_output(call["id"])
            self.messages.append({"role": "tool", "tool_call_id": call["id"], "content": text})
            media += parts
        if media:
            self.messages.append({"role": "user", "content": media})

    def _add_message(self, item: Json, place: str) -> None:
        role = _ROLES.get(item["role"])
        if role is None:
            raise BadRequest(
                f"Invalid value for '{place}.role': expected user, assistant, system or developer.",
                param=f"{place}.role",
                code="invalid_value",
            )
        if role == "assistant":
            self._turn.texts.append(_join_texts(item["content"]))
            return
        self._close_turn()
        if role == "system":
            self._systems.append(_join_texts(item["content"]))
        else:
            self._close_systems()
            self.messages.append({"role": "user", "content": _convert_content(item["content"], f"{place}.content")})

    def _close_systems(self) -> None:
        if self._systems:
            self.messages.append({"role": "system", "content": "\n\n".join(self._systems)})
            self._systems = []

    def _take_output(self, call_id: str) -> tuple[str, Sequence[Json]]:
        outputs = self._outputs.get(call_id)
        if not outputs:
            return _NO_OUTPUT, ()
        place, item = outputs.popleft()
        return _convert_output(item["output"], f"{place}.output")


class _Turn:
    """The items of one turn of the model."""

    def __init__(self) -> None:
        self.thoughts: list[Thought] = []
        self.texts: list[str] = []
        self.calls: list[Json] = []

    def add_call(self, call: Json) -> None:
        """Add a call, with the signature that stands before it."""
        extra = self.thoughts[-1].extra_content if self.thoughts else {}
        if extra:
            self.thoughts.pop()
        self.calls.append({**call, "extra_content": extra} if extra else call)

    def message(self) -> Json:
        """Return the turn as one message."""
        texts = [text for text in self.texts if text]
        message: Json = {"role": "assistant", "content": "\n\n".join(texts) if texts or not self.calls else None}
        if thoughts := [thought.text for thought in self.thoughts if thought.text]:
            message["reasoning_content"] = "\n\n".join(thoughts)
        if details := [detail for thought in self.thoughts for detail in thought.details]:
            message["reasoning_details"] = details
        return {**message, "tool_calls": self.calls} if self.calls else message


def _convert_call(item: Json) -> Json:
    kind = _CALLS[item["type"]]
    arguments = item["arguments"] if kind == "function" else wrap_input(item["input"])
    name = Tool(kind, item["name"], as_text(item.get("namespace"))).chat_name
    return {"id": item["call_id"], "type": "function", "function": {"name": name, "arguments": arguments}}


def _read_thought(item: Json, model: str) -> Thought | None:
    """Return the thought in a reasoning item; None for one that only another server can read."""
    if content := item.get("encrypted_content"):
        return decode_thought(content, model)
    texts: list[Any] = [part.get("text") for part in item.get("content") or item.get("summary") or ()]
    text = "\n\n".join(filter(None, map(as_text, texts)))
    return Thought(text) if text else None


def _convert_content(content: Any, place: str) -> Any:
    """Return the content of a user's message: a text, or parts if it has more than one text. Raises BadRequest."""
    if isinstance(content, str):
        return content
    parts = [_convert_part(part, f"{place}[{index}]") for index, part in enumerate(content)]
    if all(part["type"] == "text" for part in parts) and len(parts) < 2:
        return _join_texts(content)
    return parts


def _join_texts(content: Any) -> str:
    """Return the texts and refusals in a content."""
    if isinstance(content, str):
        return content
    return "".join([as_text(part.get("refusal")) or as_text(part.get("text")) for part in content])


def _convert_output(output: Any, place: str) -> tuple[str, Sequence[Json]]:
    """Return the text of a tool's output, and its images and files: a chat has room for them in a user's message only.
    Raises BadRequest."""
    if isinstance(output, str):
        return output, ()
    parts = [_convert_part(part, f"{place}[{index}]") for index, part in enumerate(output)]
    texts = [part["text"] for part in parts if part["type"] == "text"]
    media = [part for part in parts if part["type"] != "text"]
    if media:
        texts.append("(The images and files of this output follow in the next message.)")
    return "\n".join(texts), media


def _convert_part(part: Json, place: str) -> Json:
    kind = part["type"]
    if kind in _TEXTS:
        return {"type": "text", "text": part["text"]}
    if kind == "refusal":
        return {"type": "text", "text": part["refusal"]}
    if kind == "input_image":
        return _convert_image(part, place)
    if kind == "input_file":
        return _convert_file(part, place)
    if kind == "input_audio":
        return {"type": "input_audio", "input_audio": part["input_audio"]}
    raise BadRequest(
        f"Content parts of the type {kind!r} are not supported.", param=f"{place}.type", code="invalid_value"
    )


def _convert_image(part: Json, place: str) -> Json:
    if part.get("image_url") is None:
        raise BadRequest(
            "This proxy stores no files; send the image as a URL in 'image_url'.", param=f"{place}.file_id"
        )
    detail = {"detail": part["detail"]} if part.get("detail") else {}
    return {"type": "image_url", "image_url": {"url": part["image_url"], **detail}}


def _convert_file(part: Json, place: str) -> Json:
    if part.get("file_data") is None:
        key = "file_id" if part.get("file_id") is not None else "file_url"
        raise BadRequest("This proxy stores and fetches no files; send them in 'file_data'.", param=f"{place}.{key}")
    name = {"filename": part["filename"]} if part.get("filename") else {}
    return {"type": "file", "file": {**name, "file_data": part["file_data"]}}
