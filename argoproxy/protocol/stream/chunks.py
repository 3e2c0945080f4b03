"""A completion, whole or in chunks: `split` and `assemble` are inverses (OpenAI API reference, chat and legacy).

`assemble(split(document))` is the document again, whatever it holds: content, refusal, reasoning, tool calls,
function_call, audio, logprobs, annotations, several choices, usage, fields we do not know at every level. Spellings
of "nothing" become one: a `finish_reason` or a chat message's `content` left out comes back as null, a `role` as
`assistant`. Indexes of a message's tool calls say nothing but their order, which stays.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from argoproxy.protocol.json_text import Json, as_dict, as_dicts, as_list
from argoproxy.protocol.stream.merge import SAID_ONCE, Fields, Text, merged, put, say, says, settled, spelled
from argoproxy.protocol.stream.tool_calls import TOOLS, ToolCalls

_CHAT, _CHAT_CHUNK = "chat.completion", "chat.completion.chunk"
#: Every chunk of a stream says these again, but for values that are longer.
_LONGEST_REPEATED = 1000
_REPEATED = ("id", "object", "created", "model", "system_fingerprint", "service_tier")


def is_completion(document: Json) -> bool:
    """Tell whether a document has the choices of a completion."""
    choices = document.get("choices")
    return isinstance(choices, list) and all(isinstance(choice, dict) for choice in choices)


def choice_index(choice: Json, place: int) -> int:
    """Give the index of a choice: its place among those told with it, where it names none."""
    index = choice.get("index")
    return index if isinstance(index, int) else place


def iterate_choices(choices: Any) -> Iterator[tuple[int, Json]]:
    """Give the choices of a chunk, each with its index; what is no choice is passed over."""
    for place, choice in enumerate(as_list(choices)):
        if isinstance(choice, dict):
            yield choice_index(choice, place), choice


def split(document: Json) -> Iterator[Json]:
    """Turn a completion into the chunks a stream would have sent, usage last in a chunk without choices."""
    again = {key: document[key] for key in _REPEATED if key in document and _is_short(document[key])}
    if again.get("object") == _CHAT:
        again["object"] = _CHAT_CHUNK
    once = {key: value for key, value in document.items() if key not in (*again, "choices", "usage")}
    if document.get("usage", ...) is None:
        once["usage"] = None
    for index, choice in iterate_choices(document["choices"]):
        for part in _split_choice(choice):
            yield {**again, **once, "choices": [{"index": index, **part}]}
            once = {}
    if once or not document["choices"]:
        yield {**again, **once, "choices": []}
    if document.get("usage") is not None:
        yield {**again, "choices": [], "usage": document["usage"]}


def _is_short(value: Any) -> bool:
    """Tell whether a value may be repeated in every chunk without making much more of a document than it is."""
    return len(value) <= _LONGEST_REPEATED if isinstance(value, str) else not isinstance(value, dict | list)


def assemble(chunks: Iterable[Json]) -> Json:
    """Join the chunks of a stream to the completion they tell."""
    assembly = Assembly()
    for chunk in chunks:
        assembly.add(chunk)
    return assembly.document()


class Assembly:
    """Joins chunks one by one, in time and memory linear in what they hold."""

    def __init__(self) -> None:
        self._top: Json = {}
        self._choices: dict[int, _Choice] = {}

    def add(self, chunk: Json) -> None:
        """Take the next chunk."""
        for key, value in chunk.items():
            if key == "choices":
                for index, choice in iterate_choices(value):
                    self._choices.setdefault(index, _Choice()).add(choice)
            elif key in _REPEATED:
                self._top[key] = self._top.get(key) or value
            elif key not in self._top or says(value):
                self._top[key] = value

    def document(self) -> Json:
        """Give the completion of what was taken so far."""
        top = dict(self._top)
        if top.get("object") == _CHAT_CHUNK:
            top["object"] = _CHAT
        usage = {"usage": top.pop("usage")} if "usage" in top else {}
        choices = [{"index": index, **self._choices[index].whole()} for index in sorted(self._choices)]
        return {**top, "choices": choices, **usage}


class _Choice:
    def __init__(self) -> None:
        self._fields = Fields()
        self._message = Fields()
        self._is_chat = False
        self._calls = _ToolCalls()

    def add(self, choice: Json) -> None:
        for key, value in choice.items():
            if key == "delta":
                self._is_chat = True
                self._delta(as_dict(value))
            elif key == "text" and isinstance(value, str):
                say(self._fields, key, value)
            elif key == "logprobs" and isinstance(value, dict):
                self._fields[key] = merged(self._fields.get(key), value)
            elif key == "finish_reason":
                self._fields[key] = value or self._fields.get(key) or value
            elif key != "index":
                put(self._fields, key, value)

    def whole(self) -> Json:
        spoken: Json = {"text": ""}
        if self._is_chat:
            said = {"role": None, "content": None, **settled(self._message), **self._calls.whole()}
            spoken = {"message": {**said, "role": said["role"] or "assistant"}}
        return {**spoken, **settled(self._fields), "finish_reason": self._fields.get("finish_reason")}

    def _delta(self, delta: Json) -> None:
        for key, value in delta.items():
            if key == "tool_calls":
                self._calls.add(value)
            elif key in ("function_call", "audio") and isinstance(value, dict):
                self._message[key] = spelled(self._message.get(key), value)
            elif isinstance(value, str) or isinstance(self._message.get(key), Text):
                say(self._message, key, value)
            else:
                put(self._message, key, value)


class _ToolCalls:
    """The tool calls of a message, put together."""

    def __init__(self) -> None:
        self._told: Json = {}
        self._fragments = ToolCalls()
        self._calls: list[Fields] = []

    def add(self, fragments: Any) -> None:
        put(self._told, "tool_calls", fragments and [])
        for fragment in as_dicts(self._fragments.repaired(fragments)):
            if fragment["index"] == len(self._calls):
                self._calls.append(Fields())
            self._add_one(self._calls[fragment["index"]], fragment)

    def whole(self) -> Json:
        return {"tool_calls": list(map(settled, self._calls))} if self._calls else self._told

    def _add_one(self, call: Fields, fragment: Json) -> None:
        for key, value in fragment.items():
            if key in TOOLS and isinstance(value, dict):
                call[key] = spelled(call.get(key), value)
            elif key in SAID_ONCE:
                say(call, key, value)
            elif key != "index":
                put(call, key, value)


def _split_choice(choice: Json) -> Iterator[Json]:
    """Give the parts of a choice, its logprobs beside the text they are of, its other fields with the end."""
    last = {key: value for key, value in choice.items() if key not in ("index", "message")}
    quiet: Json = {"logprobs": None} if "logprobs" in choice else {}
    if "message" not in choice:
        last.pop("text", None)
        if choice.get("text"):
            yield {"text": choice["text"], **({"logprobs": last["logprobs"]} if quiet else {}), "finish_reason": None}
            last.update(quiet)
        yield {"text": "", "finish_reason": None, **last}
        return
    for delta in _split_message(as_dict(choice["message"])):
        speaks = bool(delta.get("content")) and quiet
        yield {"delta": delta, **({"logprobs": last["logprobs"]} if speaks else quiet), "finish_reason": None}
        if speaks:
            last.update(quiet)
    yield {"delta": {}, "finish_reason": None, **last}


def _split_message(message: Json) -> Iterator[Json]:
    """Give the deltas of a message: who speaks and what is no text first, then the texts, then the calls."""
    spoken = [key for key, value in message.items() if isinstance(value, str) and value and key not in SAID_ONCE]
    calls = as_dicts(message.get("tool_calls"))
    first = {key: "" if key in spoken else value for key, value in message.items()}
    if calls:
        del first["tool_calls"]
    yield first
    for key in sorted(spoken, key=lambda key: key == "content"):
        yield {key: message[key]}
    for index, call in enumerate(calls):
        yield {"tool_calls": [{**call, "index": index}]}
