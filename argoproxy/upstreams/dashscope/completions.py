"""Turn DashScope's replies into OpenAI's completions: a document, or the chunks of a stream.

DashScope sends no completion id, time or model; they are made of its request id and the client's request. Its streams
have no `[DONE]`: a stream ends with its body, and is whole if every choice that began has a finish reason. With several
choices each event carries one of them, and the usage of that one.

A tool call has its id and name in its first fragment. In later ones they are empty or, in cumulative streams, repeated;
OpenAI's clients expect them once. Source: "DashScope API reference", Alibaba Cloud Model Studio, September 2026.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping
from typing import Any

from argoproxy.errors import ProxyError, UpstreamProtocolError
from argoproxy.protocol.api.endpoints import COMPLETIONS
from argoproxy.protocol.json_text import Json, as_dict, as_dicts, as_list
from argoproxy.protocol.routing.call import Call
from argoproxy.protocol.stream.chunks import choice_index
from argoproxy.protocol.stream.sse import DONE, Batch, Document, Event, EventDecoder, encode_json
from argoproxy.upstreams.dashscope.deltas import DeltaExtractor, TextMode
from argoproxy.upstreams.dashscope.error_codes import check_event
from argoproxy.upstreams.dashscope.parameters import wants_incremental_output
from argoproxy.upstreams.dashscope.replies import ChoicePart, DashScopeReply, add_usages, parse_reply

#: Fields of a message that grow from event to event; any other is sent on when it changes.
_GROWING = ("content", "reasoning_content", "parts")
_LOGPROBS = "logprobs"
_CALL_FIELDS = frozenset(("index", "id", "type", "function"))

#: New parts of texts by name; the name of a tool call's arguments is the index of the call.
Deltas = Mapping[Hashable, Any]


def make_document(body: bytes, call: Call) -> Document:
    """Return a whole reply as OpenAI's completion. Raises ProxyError if it has none."""
    reply = parse_reply(Document(body).chunk)
    if not reply.choices:
        raise UpstreamProtocolError("The upstream's reply contains no completion.")
    completion = {
        **reply.extras,
        **_common_fields(reply, call, "chat.completion"),
        "choices": [_make_choice(part, call) for part in reply.choices],
    }
    return Document.of({**completion, "usage": reply.usage} if reply.usage else completion)


def make_chunks(pieces: Iterable[bytes], call: Call) -> Iterator[Batch]:
    """Yield a stream as OpenAI's chunks. Raises ProxyError after what came before: for an error event, for rewritten
    text, and if the stream breaks off."""
    decoder, stream = EventDecoder(), ChunkStream(call)
    for piece in pieces:
        yield from _convert_events(decoder.feed(piece), stream)
    yield from _convert_events(decoder.finish(), stream)
    yield stream.finish()


def _convert_events(events: Batch, stream: ChunkStream) -> Iterator[Batch]:
    batch: Batch = []
    try:
        for event in events:
            check_event(event)
            if event.chunk is not None:
                batch += stream.feed(parse_reply(event.chunk))
    except ProxyError:
        if batch:
            yield batch
        raise
    yield batch


class ChunkStream:
    """Converts the events of one stream."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._common: Json = {}
        self._extras: Json = {}
        self._sent_extras: Json = {}
        self._usages: dict[int, Json] = {}
        self._choices: dict[int, ChoiceStream] = {}

    def feed(self, reply: DashScopeReply) -> Batch:
        """Return the chunks of an event. Raises UpstreamProtocolError for rewritten text."""
        self._common = self._common or _common_fields(reply, self._call, "chat.completion.chunk")
        self._extras |= reply.extras
        if reply.usage:
            self._usages[reply.choices[0].index if len(reply.choices) == 1 else 0] = reply.usage
        return [self._chunk([choice]) for part in reply.choices for choice in self._choice(part.index).feed(part)]

    def finish(self) -> Batch:
        """Return the end, with the usage if it was requested. Raises UpstreamProtocolError if it came too early."""
        if not self._choices or not all(choice.is_finished for choice in self._choices.values()):
            raise UpstreamProtocolError("The upstream's stream broke off.", code="upstream_stream_cut_short")
        if not (self._usages and self._call.include_usage):
            return [DONE]
        return [self._chunk([], {"usage": add_usages(self._usages.values())}), DONE]

    def _choice(self, index: int) -> ChoiceStream:
        if index not in self._choices:
            self._choices[index] = ChoiceStream(index, self._call)
        return self._choices[index]

    def _chunk(self, choices: list[Json], more: Json | None = None) -> Event:
        """Make a chunk; the extras that have changed go with the next one."""
        changed = {key: value for key, value in self._extras.items() if self._has_changed(key, value)}
        self._sent_extras |= changed
        return Event.of({**changed, **self._common, "choices": choices, **(more or {})})

    def _has_changed(self, key: str, value: Any) -> bool:
        # An object is not compared with itself: search results are long, and each event passes here.
        sent = self._sent_extras.get(key)
        return sent is not value and sent != value


class ChoiceStream:
    """Converts one choice of a stream."""

    def __init__(self, index: int, call: Call) -> None:
        self.is_finished = False
        self._index = index
        self._call = call
        self._is_legacy = call.path == COMPLETIONS.path
        self._has_role = False
        self._deltas = DeltaExtractor(_text_mode(call))
        self._names: dict[int, str] = {}
        self._others: Json = {}

    def feed(self, part: ChoicePart) -> Iterator[Json]:
        """Yield the choices of OpenAI's chunks for an event. Raises UpstreamProtocolError for rewritten text."""
        if self.is_finished:
            return
        fragments = _call_fragments(part.message)
        heads = {index: self._call_head(index, fragment) for index, fragment in fragments.items()}
        deltas = self._deltas.feed(_growing_texts(part, fragments))
        yield from self._make_choice(deltas, heads, self._changed_fields(part.message))
        if part.finish_reason:
            self.is_finished = True
            yield from self._make_choice(self._deltas.finish(), {}, {})
            nothing: Json = {"text": ""} if self._is_legacy else {"delta": {}}
            yield {"index": self._index, **nothing, "logprobs": None, "finish_reason": part.finish_reason}

    def _make_choice(self, deltas: Deltas, heads: Mapping[int, Json], others: Json) -> Iterator[Json]:
        """Yield a choice with these fields, if there are any."""
        ends: Json = {"logprobs": None, "finish_reason": None}
        if self._is_legacy:
            if text := deltas.get("content"):
                yield {"index": self._index, "text": text, **ends}
            return
        delta: Json = {**others, **{name: deltas[name] for name in _GROWING if name in deltas}}
        if calls := _call_deltas(deltas, heads):
            delta["tool_calls"] = calls
        if not self._has_role:
            delta = {"role": "assistant", "content": None if calls else "", "refusal": None, **delta}
        if _LOGPROBS in deltas:
            ends["logprobs"] = {"content": deltas[_LOGPROBS], "refusal": None}
        if delta or ends["logprobs"]:
            self._has_role = True
            yield {"index": self._index, "delta": delta, **ends}

    def _call_head(self, index: int, fragment: Json) -> Json:
        """Return everything of a tool call but its arguments, if it was not sent before."""
        function = {key: value for key, value in _function_of(fragment).items() if key != "arguments" and value}
        name = function.get("name", "")
        if index not in self._names:
            self._names[index] = name
            kept = {key: value for key, value in fragment.items() if key not in _CALL_FIELDS and value is not None}
            own_id = _call_id(fragment.get("id"), self._call, index)
            return {"id": own_id, "type": "function", **kept, "function": {"name": name, **function}}
        if name and not self._names[index]:
            self._names[index] = name
            return {"function": {"name": name}}
        return {}

    def _changed_fields(self, message: Json) -> Json:
        """Return the fields that do not grow and have changed."""
        rest = {key: value for key, value in message.items() if key not in (*_GROWING, "role", "tool_calls")}
        changed = {key: value for key, value in rest.items() if self._others.get(key) != value}
        self._others |= changed
        return changed


def _text_mode(call: Call) -> TextMode:
    if not call.stream or wants_incremental_output(call):
        return TextMode.UNDECIDED
    return TextMode.FINAL_ONLY if call.wants_document else TextMode.CUMULATIVE


def _call_fragments(message: Json) -> dict[int, Json]:
    return {choice_index(item, place): item for place, item in enumerate(as_dicts(message.get("tool_calls")))}


def _growing_texts(part: ChoicePart, fragments: Mapping[int, Json]) -> dict[Hashable, Any]:
    """Return the texts of an event that grow. Empty reasoning is left out: events after the reasoning have it so."""
    message, texts = part.message, dict[Hashable, Any]()
    for name, kind in (("content", str), ("reasoning_content", str), ("parts", list)):
        value = message.get(name)
        if isinstance(value, kind) and (value or name == "content"):
            texts[name] = value
    for index, fragment in fragments.items():
        arguments = _function_of(fragment).get("arguments")
        if isinstance(arguments, str):
            texts[index] = arguments
    if part.logprobs is not None:
        texts[_LOGPROBS] = part.logprobs
    return texts


def _call_deltas(deltas: Deltas, heads: Mapping[int, Json]) -> list[Json]:
    """Return the tool calls that have something new."""
    calls = []
    indexes = {index for index in deltas if isinstance(index, int)} | {index for index in heads if heads[index]}
    for index in sorted(indexes):
        head = heads.get(index, {})
        function = {**head.get("function", {}), "arguments": deltas.get(index, "")}
        calls.append({"index": index, **head, "function": function})
    return calls


def _common_fields(reply: DashScopeReply, call: Call, chat_object: str) -> Json:
    """Return the fields that a document and all chunks have."""
    is_legacy = call.path == COMPLETIONS.path
    return {
        "id": f"{'cmpl' if is_legacy else 'chatcmpl'}-{reply.request_id or call.id}",
        "object": "text_completion" if is_legacy else chat_object,
        "created": call.created,
        "model": call.requested_model,
    }


def _make_choice(part: ChoicePart, call: Call) -> Json:
    finish_reason = part.finish_reason or None
    if call.path == COMPLETIONS.path:
        text = part.message.get("content", "")
        return {"index": part.index, "text": text, "logprobs": None, "finish_reason": finish_reason}
    logprobs = None if part.logprobs is None else {"content": part.logprobs, "refusal": None}
    message = _make_message(part.message, call)
    return {"index": part.index, "message": message, "logprobs": logprobs, "finish_reason": finish_reason}


def _make_message(fields: Json, call: Call) -> Json:
    """Return the message of a document, without empty fields."""
    calls = [_make_call(item, call, place) for place, item in enumerate(as_list(fields.get("tool_calls")))]
    content = fields.get("content") or (None if calls else "")
    rest = {key: value for key, value in fields.items() if key not in ("role", "content", "tool_calls") and value != ""}
    message = {"role": "assistant", "content": content, "refusal": None, **rest}
    return {**message, "tool_calls": calls} if calls else message


def _make_call(item: Any, call: Call, index: int) -> Json:
    fields = as_dict(item)
    kept = {key: value for key, value in fields.items() if key != "index"}
    call_id = _call_id(fields.get("id"), call, index)
    return {**kept, "id": call_id, "type": "function", "function": _function_of(fields)}


def _call_id(value: Any, call: Call, index: int) -> str:
    """Return the id of a tool call, made of the request's id if it has none."""
    return value if isinstance(value, str) and value else f"call_{call.id}_{index}"


def _function_of(tool_call: Json) -> Json:
    """Return the function of a tool call, its arguments as text."""
    fields = dict(as_dict(tool_call.get("function")))
    if isinstance(fields.get("arguments"), dict):
        fields["arguments"] = encode_json(fields["arguments"]).decode()
    return fields
