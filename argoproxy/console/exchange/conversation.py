"""The messages of requests, and the choices of answers, of all APIs that the proxy speaks: OpenAI's chats, completions
and responses, Anthropic's messages, Argo's and DashScope's own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from argoproxy.console.exchange.exchange_shapes import OfferedTool, ShownPart, ShownTurn
from argoproxy.console.exchange.parts import make_part, read_content, read_item, read_message, shorten
from argoproxy.protocol.json_text import Json, as_dict, as_list, as_text

#: Fields of a request that hold its messages and tools; all others are parameters.
CONVERSATION = frozenset(("messages", "system", "prompt", "input", "instructions", "tools", "functions"))
#: What a choice holds beside its message.
_ENDS = ("finish_reason", "stop_reason", "status")


def read_turns(body: Json) -> list[ShownTurn]:
    """Return the messages of a request."""
    return [turn for turn in _turns_of(body) if turn["parts"]]


def read_tools(body: Json) -> list[OfferedTool]:
    """Return the tools that a request offers."""
    inner = _inner_parameters(body)
    listed = as_list(body.get("tools")) or as_list(body.get("functions")) or as_list(inner.get("tools"))
    functions = [as_dict(as_dict(one).get("function")) or as_dict(one) for one in listed]
    return [
        {"name": as_text(one.get("name")) or as_text(one.get("type")), "description": as_text(one.get("description"))}
        for one in functions
    ]


def read_parameters(body: Json) -> Json:
    """Return the fields of a request that are neither messages nor tools."""
    own = {name: value for name, value in body.items() if name not in CONVERSATION and name != "parameters"}
    return {**own, **{name: value for name, value in _inner_parameters(body).items() if name != "tools"}}


def read_answer(body: Json) -> list[ShownTurn]:
    """Return the choices of an answer, each as a message; none if it holds nothing of the kind, as vectors."""
    inner = as_dict(body.get("output"))
    choices = as_list(body.get("choices")) or as_list(inner.get("choices"))
    if choices:
        turns = [_read_choice(as_dict(choice)) for choice in choices]
    elif isinstance(body.get("output"), list):
        turns = [_turn("assistant", _read_items(body["output"]), body)]
    elif isinstance(body.get("content"), list | str):
        turns = [_turn("assistant", read_content(body["content"], "content"), body)]
    else:
        turns = [_turn("assistant", _read_plain(body, inner), body)]
    return [turn for turn in turns if turn["parts"] or turn["finish"]]


def read_error(body: Json) -> str:
    """Return the message of the error with which an answer ended, "" if it did not."""
    error = body.get("error")
    if not error:
        return ""
    if isinstance(error, dict):
        code = error.get("code") or error.get("type")
        return as_text(error.get("message")) + (f" ({code})" if isinstance(code, str) else "") or shorten(error)
    return error if isinstance(error, str) else shorten(error)


def _turns_of(body: Json) -> Iterator[ShownTurn]:
    system = body.get("instructions") or body.get("system")
    yield _turn("system", read_content(system, "system"), {})
    inner = as_dict(body.get("input"))
    for message in as_list(body.get("messages")) or as_list(inner.get("messages")):
        yield _turn(as_text(as_dict(message).get("role")), read_message(as_dict(message)), {})
    prompts = body.get("prompt") if "prompt" in body else inner.get("prompt")
    yield _turn("user", read_content(prompts, "prompt"), {})
    entries = body.get("input")
    if isinstance(entries, str):
        yield _turn("user", read_content(entries, "input"), {})
    for item in as_list(entries):
        yield _read_input(item)


def _read_input(item: Any) -> ShownTurn:
    """Return an item of the input of a response, or a text of that of an embedding."""
    entry = as_dict(item)
    if not entry:
        return _turn("user", read_content(item, "input"), {})
    return _turn(as_text(entry.get("role")) or _role_of(entry), _read_items([entry]), {})


def _role_of(item: Json) -> str:
    return "tool" if as_text(item.get("type")).endswith("output") else "assistant"


def _read_items(items: Any) -> Iterator[ShownPart]:
    for item in as_list(items):
        entry = as_dict(item)
        if "role" in entry and "type" not in entry:
            yield from read_message(entry)
        else:
            yield from read_item(entry, "input")


def _read_choice(choice: Json) -> ShownTurn:
    message = as_dict(choice.get("message"))
    if message:
        return _turn(as_text(message.get("role")) or "assistant", read_message(message), choice)
    return _turn("assistant", read_content(choice.get("text"), "text"), choice)


def _read_plain(body: Json, inner: Json) -> Iterator[ShownPart]:
    """Yield the answer of Argo's own API, which is a text or a message, or the text of another one."""
    response = body.get("response")
    if isinstance(response, dict):
        yield from read_message(response)
    else:
        yield from read_content(response or inner.get("text") or body.get("text"), "response")
    if isinstance(body.get("data"), list) and body.get("object") == "list":
        yield make_part("other", f"{len(body['data'])} entries", "data")


def _inner_parameters(body: Json) -> Json:
    """Return the parameters of a DashScope request."""
    return as_dict(body.get("parameters")) if isinstance(body.get("input"), dict) else {}


def _turn(role: str, parts: Iterator[ShownPart], end: Json) -> ShownTurn:
    finish = next((as_text(end.get(name)) for name in _ENDS if end.get(name)), "")
    return {"role": role or "user", "finish": finish, "parts": list(parts)}
