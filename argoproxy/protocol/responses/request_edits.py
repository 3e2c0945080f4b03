"""What rules have changed in a chat, carried back into the request that the chat was made of; and its images."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from argoproxy.protocol.content import Image, ImageParts
from argoproxy.protocol.json_text import Json, as_dict, as_dicts, as_list, as_text
from argoproxy.protocol.responses.carrier import is_own_thought
from argoproxy.protocol.routing.call import Call

#: Fields of a chat that have another name in a request.
_NAMES = {"max_tokens": "max_output_tokens", "max_completion_tokens": "max_output_tokens"}
#: Fields that have a form of their own in a request.
_OWN_FORM = frozenset(("messages", "stream", "stream_options", "tools", "tool_choice", "response_format", "verbosity"))


def edit_origin(origin: Call, call: Call) -> Call:
    """Return a client's request with what differs in a call from the chat that it was converted to: fields, and text
    after the last message of the user. Thoughts that this proxy encoded are left out: no server can read them."""
    before, after = call.body if call.original_body is None else call.original_body, call.body
    body = dict(origin.body)
    for key in {**before, **after}:
        if key not in _OWN_FORM and before.get(key, ...) != after.get(key, ...):
            _set(body, key, after)
    if isinstance(body.get("input"), list):
        body["input"] = [item for item in body["input"] if not is_own_thought(item)]
    text = _last_text(after).removeprefix(_last_text(before))
    return origin.with_body({**body, "input": _append(body.get("input"), text)} if text else body)


def _set(body: Json, key: str, after: Json) -> None:
    name = _NAMES.get(key, key)
    if key == "reasoning_effort":
        body["reasoning"] = {**as_dict(body.get("reasoning")), "effort": after.get(key)}
    elif key in after:
        body[name] = after[key]
    else:
        body.pop(name, None)


def _last_text(body: Json) -> str:
    """Return the text of the last message of the user."""
    for message in reversed(as_dicts(body.get("messages"))):
        if message.get("role") == "user":
            return _text_of(message.get("content"))
    return ""


def _text_of(content: Any) -> str:
    return as_text(content) or "".join([as_text(part.get("text")) for part in as_dicts(content)])


def _append(items: Any, text: str) -> Any:
    """Return the input with text at the end of the last message of the user."""
    if isinstance(items, str):
        return items + text
    for index, item in reversed(list(enumerate(as_list(items)))):
        if isinstance(item, dict) and item.get("role") == "user":
            content = item.get("content")
            part = {"type": "input_text", "text": text}
            longer = content + text if isinstance(content, str) else [*as_list(content), part]
            return [*items[:index], {**item, "content": longer}, *items[index + 1 :]]
    return [*as_list(items), {"role": "user", "content": text}]


def _find_images(body: Json) -> Iterator[Image]:
    """Yield the images that have a URL, also those within outputs of tools."""
    for row, item in enumerate(as_list(body.get("input"))):
        for field in ("content", "output"):
            for position, part in enumerate(as_list(as_dict(item).get(field))):
                url = as_dict(part).get("image_url")
                if as_dict(part).get("type") == "input_image" and isinstance(url, str):
                    yield Image(("input", row, field, position), url)


def _with_url(part: Json, url: str) -> Json:
    return {**part, "image_url": url}


RESPONSES_IMAGES = ImageParts(_find_images, _with_url)
