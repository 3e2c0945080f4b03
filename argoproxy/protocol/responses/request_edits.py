"""What rules have changed in a chat, carried back into the request that the chat was made of."""

from __future__ import annotations

from argoproxy.protocol.json_text import Json, as_dict, as_list
from argoproxy.protocol.responses.request_conversion import convert_request
from argoproxy.protocol.routing.call import Call

#: Fields of a chat that have another name in a request.
_NAMES = {"max_tokens": "max_output_tokens", "max_completion_tokens": "max_output_tokens"}
#: Fields that are made by the conversion, and have their own form in a request.
_OWN_FORM = frozenset(("messages", "stream", "stream_options", "tools", "tool_choice", "response_format"))


def edit_origin(origin: Call, call: Call) -> Call:
    """Return a client's request with what differs in a call from the chat that it was converted to."""
    before, after = convert_request(origin.body).chat, call.body
    body = dict(origin.body)
    for key in {**before, **after}:
        if key not in _OWN_FORM and before.get(key) != after.get(key):
            _set(body, key, after)
    text = _find_appended(as_list(before.get("messages")), as_list(after.get("messages")))
    return origin.with_body({**body, "input": _append(body["input"], text)} if text else body)


def _set(body: Json, key: str, after: Json) -> None:
    if key == "reasoning_effort":
        body["reasoning"] = {**as_dict(body.get("reasoning")), "effort": after.get(key)}
    elif key in after:
        body[_NAMES.get(key, key)] = after[key]
    else:
        body.pop(_NAMES.get(key, key), None)


def _find_appended(before: list[Json], after: list[Json]) -> str:
    """Return the text that a rule appended to the last message of the user, "" if there is none."""
    old, new = _last_texts(before), _last_texts(after)
    return new[len(old) :] if new.startswith(old) else ""


def _last_texts(messages: list[Json]) -> str:
    for message in reversed(messages):
        if message.get("role") == "user":
            content = message.get("content")
            return content if isinstance(content, str) else "".join([part.get("text") or "" for part in content or ()])
    return ""


def _append(items: str | list[Json], text: str) -> str | list[Json]:
    """Return the input with text at the end of the last message of the user."""
    if isinstance(items, str):
        return items + text
    for index in range(len(items) - 1, -1, -1):
        content = items[index].get("content")
        if items[index].get("role") == "user":
            longer = (
                content + text if isinstance(content, str) else [*(content or ()), {"type": "input_text", "text": text}]
            )
            return [*items[:index], {**items[index], "content": longer}, *items[index + 1 :]]
    return [*items, {"role": "user", "content": text}]
