"""What DashScope says, whole or in an event: both have one shape.

`{"request_id", "output": {"choices": [{"message", "finish_reason", "logprobs", "index"}]}, "usage"}`; with the result
format `text` the output is `{"text", "finish_reason"}`. A content is a string or, on the multimodal path, a list of
keyed parts. While a choice goes on, its finish reason is null or the string "null". Ids but the request's, the time
and the model are not told. Source: "DashScope API reference", Alibaba Cloud Model Studio, September 2026.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from argoproxy.errors import UpstreamProtocolError
from argoproxy.protocol.api.endpoints import COMPLETIONS
from argoproxy.protocol.json_text import Json, as_dict, as_list, as_text
from argoproxy.protocol.routing.call import Call
from argoproxy.protocol.stream.chunks import iterate_choices
from argoproxy.protocol.stream.sse import Document, encode_json
from argoproxy.upstreams.dashscope.refusals import check
from argoproxy.upstreams.dashscope.tokens import usage_of

_OF_CHOICES = frozenset(("choices", "text", "finish_reason"))


@dataclass(frozen=True, slots=True)
class Said:
    """What is said of one choice; `message` has its content as a string, parts that are no text as `parts`, and no
    field that is null; `finish_reason` is "" while it goes on."""

    index: int
    message: Json
    logprobs: list[Any] | None
    finish_reason: str


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply, or an event of one; `extras` are what else the output holds (`search_info`)."""

    request_id: str
    choices: tuple[Said, ...]
    usage: Json
    extras: Json


def read(told: Json) -> Reply:
    """Read a reply or an event. Raises ProxyError for one that tells of an error."""
    check(told)
    output = told.get("output")
    fields = as_dict(output)
    request_id = told.get("request_id")
    return Reply(
        request_id=as_text(request_id),
        choices=tuple(_choices(fields)),
        usage=usage_of(told.get("usage")),
        extras={key: value for key, value in fields.items() if key not in _OF_CHOICES and value is not None},
    )


def top_of(reply: Reply, call: Call, of_a_chat: str) -> Json:
    """Give what every chunk or document of an answer begins with."""
    is_legacy = call.path == COMPLETIONS.path
    return {
        "id": f"{'cmpl' if is_legacy else 'chatcmpl'}-{reply.request_id or call.id}",
        "object": "text_completion" if is_legacy else of_a_chat,
        "created": call.created,
        "model": call.requested_model,
    }


def document(body: bytes, call: Call) -> Document:
    """Give a whole reply as OpenAI's completion. Raises ProxyError when it holds none."""
    reply = read(Document(body).chunk)
    if not reply.choices:
        raise UpstreamProtocolError("The upstream's reply holds no completion.")
    completion = {
        **reply.extras,
        **top_of(reply, call, "chat.completion"),
        "choices": [_choice(said, call) for said in reply.choices],
    }
    return Document.of({**completion, "usage": reply.usage} if reply.usage else completion)


def call_id(told: Any, call: Call, place: int) -> str:
    """Give the id of a tool's call, made where none is told."""
    return told if isinstance(told, str) and told else f"call_{call.id}_{place}"


def function_of(tool_call: Json) -> Json:
    """Give the function of a tool's call, its arguments as text."""
    function = tool_call.get("function")
    fields = dict(function) if isinstance(function, dict) else {}
    if isinstance(fields.get("arguments"), dict):
        fields["arguments"] = encode_json(fields["arguments"]).decode()
    return fields


def _choices(output: Json) -> Iterator[Said]:
    if isinstance(output.get("choices"), list):
        for index, choice in iterate_choices(output["choices"]):
            message = choice.get("message")
            yield Said(
                index,
                _message(as_dict(message)),
                _logprobs(choice.get("logprobs")),
                _ending(choice.get("finish_reason")),
            )
    elif isinstance(output.get("text"), str):
        yield Said(0, {"content": output["text"]}, None, _ending(output.get("finish_reason")))


def _message(message: Json) -> Json:
    said = {key: value for key, value in message.items() if value is not None}
    content = said.get("content")
    if isinstance(content, list):
        parts = [part for part in content if isinstance(part, dict)]
        others = [part for part in parts if set(part) != {"text"}]
        texts = (part.get("text") for part in parts)
        said["content"] = "".join(text for text in texts if isinstance(text, str))
        said |= {"parts": others} if others else {}
    return said


def _choice(said: Said, call: Call) -> Json:
    ending = said.finish_reason or None
    if call.path == COMPLETIONS.path:
        text = said.message.get("content", "")
        return {"index": said.index, "text": text, "logprobs": None, "finish_reason": ending}
    logprobs = None if said.logprobs is None else {"content": said.logprobs, "refusal": None}
    return {"index": said.index, "message": _whole(said.message, call), "logprobs": logprobs, "finish_reason": ending}


def _whole(said: Json, call: Call) -> Json:
    """Give a message as a document has it: fields that say nothing are left out."""
    told = said.get("tool_calls")
    calls = [_call(item, call, place) for place, item in enumerate(as_list(told))]
    content = said.get("content") or (None if calls else "")
    rest = {key: value for key, value in said.items() if key not in ("role", "content", "tool_calls") and value != ""}
    message = {"role": "assistant", "content": content, "refusal": None, **rest}
    return {**message, "tool_calls": calls} if calls else message


def _call(item: Any, call: Call, place: int) -> Json:
    fields = as_dict(item)
    kept = {key: value for key, value in fields.items() if key != "index"}
    return {**kept, "id": call_id(fields.get("id"), call, place), "type": "function", "function": function_of(fields)}


def _logprobs(told: Any) -> list[Any] | None:
    content = told.get("content") if isinstance(told, dict) else None
    return content if isinstance(content, list) else None


def _ending(told: Any) -> str:
    return told if isinstance(told, str) and told != "null" else ""
