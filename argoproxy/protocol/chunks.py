"""A completion, whole or in chunks: `split` and `assemble` are inverses (OpenAI API reference, chat and legacy).

`assemble(split(document))` is the document again, whatever it holds: content, refusal, reasoning, tool calls,
function_call, audio, logprobs, annotations, several choices, usage, fields we do not know at every level. Two
spellings of "nothing" become one: a `finish_reason` or a chat message's `content` left out comes back as null.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from argoproxy.protocol.sse import written

Json = dict[str, Any]

_CHAT, _CHAT_CHUNK = "chat.completion", "chat.completion.chunk"
#: Every chunk of a stream says these again.
_REPEATED = ("id", "object", "created", "model", "system_fingerprint", "service_tier")
#: Strings that are said once, not spelled out over several deltas; servers that repeat them mean the same.
_SAID_ONCE = frozenset(("role", "name", "id", "type"))


def is_completion(document: Json) -> bool:
    """Tell whether a document has the choices of a completion."""
    choices = document.get("choices")
    return isinstance(choices, list) and all(isinstance(choice, dict) for choice in choices)


def index_of(choice: Json, place: int) -> int:
    """Give the index of a choice: its place among those told with it, where it names none."""
    index = choice.get("index")
    return index if isinstance(index, int) else place


def indexed(choices: Any) -> Iterator[tuple[int, Json]]:
    """Give the choices of a chunk, each with its index; what is no choice is passed over."""
    for place, choice in enumerate(choices if isinstance(choices, list) else ()):
        if isinstance(choice, dict):
            yield index_of(choice, place), choice


def split(document: Json) -> Iterator[Json]:
    """Turn a completion into the chunks a stream would have sent, usage last in a chunk without choices."""
    again = {key: document[key] for key in _REPEATED if key in document}
    if again.get("object") == _CHAT:
        again["object"] = _CHAT_CHUNK
    once = {key: value for key, value in document.items() if key not in (*_REPEATED, "choices", "usage")}
    if document.get("usage", ...) is None:
        once["usage"] = None
    for index, choice in indexed(document["choices"]):
        for part in _split_choice(choice):
            yield {**again, **once, "choices": [{"index": index, **part}]}
            once = {}
    if once or not document["choices"]:
        yield {**again, **once, "choices": []}
    if document.get("usage") is not None:
        yield {**again, "choices": [], "usage": document["usage"]}


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
                for index, choice in indexed(value):
                    self._choices.setdefault(index, _Choice()).add(choice)
            elif key in _REPEATED:
                self._top[key] = self._top.get(key) or value
            elif value is not None or key not in self._top:
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
        self._fields = _Fields()
        self._message = _Fields()
        self._is_chat = False
        self._calls = _ToolCalls()

    def add(self, choice: Json) -> None:
        for key, value in choice.items():
            if key == "delta":
                self._is_chat = True
                self._delta(_dict(value))
            elif key == "text" and isinstance(value, str):
                _say(self._fields, key, value)
            elif key == "logprobs" and isinstance(value, dict):
                self._fields[key] = _merged(self._fields.get(key), value)
            elif key == "finish_reason":
                self._fields[key] = value or self._fields.get(key) or value
            elif key != "index":
                _put(self._fields, key, value)

    def whole(self) -> Json:
        spoken: Json = {"text": ""}
        if self._is_chat:
            said = {"role": "assistant", "content": None, **_settled(self._message), **self._calls.whole()}
            spoken = {"message": said}
        return {**spoken, **_settled(self._fields), "finish_reason": self._fields.get("finish_reason")}

    def _delta(self, delta: Json) -> None:
        for key, value in delta.items():
            if key == "tool_calls":
                self._calls.add(value)
            elif key in ("function_call", "audio") and isinstance(value, dict):
                self._message[key] = _spelled(self._message.get(key), value)
            elif isinstance(value, str) or isinstance(self._message.get(key), _Text):
                _say(self._message, key, value)
            else:
                _put(self._message, key, value)


class _ToolCalls:
    """Tool calls by their index; where it is missing, a new id begins a call and everything else goes on with one."""

    def __init__(self) -> None:
        self._told: Json = {}
        self._calls: dict[int, _Fields] = {}
        self._last = 0

    def add(self, fragments: Any) -> None:
        _put(self._told, "tool_calls", fragments and [])
        for fragment in _dicts(fragments):
            self._add_one(fragment)

    def whole(self) -> Json:
        if not self._calls:
            return self._told
        return {"tool_calls": [_settled(self._calls[index]) for index in sorted(self._calls)]}

    def _add_one(self, fragment: Json) -> None:
        call = self._calls.setdefault(self._index(fragment), _Fields())
        for key, value in fragment.items():
            if key in ("function", "custom") and isinstance(value, dict):
                call[key] = _spelled(call.get(key), value)
            elif key in _SAID_ONCE:
                _say(call, key, value)
            elif key != "index":
                _put(call, key, value)

    def _index(self, fragment: Json) -> int:
        index = fragment.get("index")
        if not isinstance(index, int):
            begun, named = self._calls.get(self._last, _Fields()).get("id"), fragment.get("id")
            index = self._last + 1 if begun and named and named != begun else self._last
        self._last = max(self._last, index)
        return index


class _Fields(dict[str, Any]):
    """An object of ours, still being put together; those of the upstream stay as they came, however deep."""


class _Text(list[str]):
    """A string still being spelled: its pieces."""


class _Joined(list[Any]):
    """A list of ours, to be lengthened in place."""


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
    for delta in _split_message(_dict(choice["message"])):
        speaks = bool(delta.get("content")) and quiet
        yield {"delta": delta, **({"logprobs": last["logprobs"]} if speaks else quiet), "finish_reason": None}
        if speaks:
            last.update(quiet)
    yield {"delta": {}, "finish_reason": None, **last}


def _split_message(message: Json) -> Iterator[Json]:
    """Give the deltas of a message: who speaks and what is no text first, then the texts, then the calls."""
    spoken = [key for key, value in message.items() if isinstance(value, str) and value and key not in _SAID_ONCE]
    calls = _dicts(message.get("tool_calls"))
    first = {key: "" if key in spoken else value for key, value in message.items()}
    if calls:
        del first["tool_calls"]
    yield first
    for key in sorted(spoken, key=lambda key: key == "content"):
        yield {key: message[key]}
    for index, call in enumerate(calls):
        yield {"tool_calls": [{**call, "index": index}]}


def _say(fields: Json, key: str, value: Any) -> None:
    """Go on with a string; parts (Mistral's content is a list of them) go on as parts."""
    known = fields.get(key)
    if key in _SAID_ONCE:
        fields[key] = known or value
    elif isinstance(value, str) and isinstance(known, _Joined):
        known.extend([{"type": "text", "text": value}] if value else [])
    elif isinstance(value, str):
        fields[key] = known if isinstance(known, _Text) else _Text()
        fields[key].append(value)
    elif isinstance(value, list) and isinstance(known, _Text):
        text = "".join(known)
        fields[key] = _Joined([{"type": "text", "text": text}] if text else [])
        fields[key].extend(value)


def _put(fields: Json, key: str, value: Any) -> None:
    """Put a field in: lists go on, null never replaces a value, everything else counts as said anew."""
    known = fields.get(key)
    if isinstance(value, list):
        fields[key] = known if isinstance(known, _Joined) else _Joined()
        fields[key].extend(value)
    elif value is not None or key not in fields:
        fields[key] = value


def _merged(known: Any, part: Json) -> _Fields:
    """Lengthen the lists of one object by those of another."""
    fields = known if isinstance(known, _Fields) else _Fields()
    for key, value in part.items():
        _put(fields, key, value)
    return fields


def _spelled(known: Any, fragment: Json) -> _Fields:
    """Go on with the strings of a call or of audio; arguments that came as an object become their text."""
    fields = known if isinstance(known, _Fields) else _Fields()
    for key, value in fragment.items():
        if key in ("arguments", "input") and isinstance(value, dict):
            _say(fields, key, written(value).decode())
        elif isinstance(value, str):
            _say(fields, key, value)
        else:
            _put(fields, key, value)
    return fields


def _settled(value: Any) -> Any:
    """Give what was put together as plain JSON."""
    if isinstance(value, _Text):
        return "".join(value)
    if isinstance(value, _Fields):
        return {key: _settled(part) for key, part in value.items()}
    return value


def _dict(value: Any) -> Json:
    return value if isinstance(value, dict) else {}


def _dicts(value: Any) -> list[Json]:
    return [part for part in value if isinstance(part, dict)] if isinstance(value, list) else []
