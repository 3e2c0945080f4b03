"""A request that is handed over in its client's own words: what rules have changed in the chat made of it, and its
images."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from argoproxy.protocol.content import Image, ImageParts, Place
from argoproxy.protocol.json_text import Json, as_dict, as_dicts, as_list, as_text
from argoproxy.protocol.messages.answers.signatures import is_ours
from argoproxy.protocol.routing.call import Call

#: Fields of a chat that have another name, or that belong to the conversion.
_RENAMED = {"max_completion_tokens": "max_tokens", "stop": "stop_sequences"}
_OF_THE_CHAT = frozenset(
    "messages tools tool_choice parallel_tool_calls stream stream_options user service_tier response_format"
    " reasoning_effort".split()
)


def hand_over(call: Call) -> Call:
    """Return the origin of a call, with the fields that a rule has set or removed, with the text that one has appended,
    and without thoughts that this proxy signed: no provider takes those."""
    origin = call.origin
    if origin is None:
        return call
    before = call.body if call.original_body is None else call.original_body
    body = _edit_fields(origin.body, before, call.body)
    kept = [_without_own_thoughts(message) for message in origin.body["messages"]]
    body["messages"] = _append(kept, _appended_text(before, call.body))
    return origin.with_body(body)


def _edit_fields(origin: Json, before: Json, after: Json) -> Json:
    body = dict(origin)
    for key in {**before, **after}:
        if key in _OF_THE_CHAT or before.get(key, ...) == after.get(key, ...):
            continue
        name = _RENAMED.get(key, key)
        if key not in after:
            body.pop(name, None)
        else:
            is_single = name == "stop_sequences" and isinstance(after[key], str)
            body[name] = [after[key]] if is_single else after[key]
    effort = after.get("reasoning_effort")
    if effort != before.get("reasoning_effort"):
        config = {key: value for key, value in as_dict(origin.get("output_config")).items() if key != "effort"}
        body["output_config"] = config if effort is None else {**config, "effort": effort}
    return body


def _appended_text(before: Json, after: Json) -> str:
    """Return the text that a rule has appended to the last message of the user."""
    old, new = _last_of_user(before), _last_of_user(after)
    if isinstance(old, str) and isinstance(new, str):
        return new.removeprefix(old) if new.startswith(old) else ""
    if isinstance(old, list) and isinstance(new, list) and new[: len(old)] == old:
        return "".join(as_text(part.get("text")) for part in as_dicts(new[len(old) :]))
    return ""


def _last_of_user(chat: Json) -> Any:
    contents = [message.get("content") for message in as_dicts(chat.get("messages")) if message.get("role") == "user"]
    return contents[-1] if contents else ""


def _append(messages: list[Json], text: str) -> list[Json]:
    """Return messages with text appended to the last one of the user, or with one of its own if there is none."""
    if not text:
        return messages
    for position in range(len(messages) - 1, -1, -1):
        message = messages[position]
        if message["role"] == "user":
            content = message["content"]
            longer = content + text if isinstance(content, str) else [*content, {"type": "text", "text": text}]
            return [*messages[:position], {**message, "content": longer}, *messages[position + 1 :]]
    return [*messages, {"role": "user", "content": text}]


def _without_own_thoughts(message: Json) -> Json:
    content = message["content"]
    if isinstance(content, str) or not any(map(is_ours, content)):
        return message
    return {**message, "content": [block for block in content if not is_ours(block)]}


def _find_images(body: Json) -> Iterator[Image]:
    """Yield the images by URL and in base64, also those within results of tools."""
    for row, message in enumerate(as_list(body.get("messages"))):
        content = as_dict(message).get("content")
        yield from _find_in_blocks(content, ("messages", row, "content"))
        for column, block in enumerate(as_list(content)):
            if as_dict(block).get("type") == "tool_result":
                yield from _find_in_blocks(block.get("content"), ("messages", row, "content", column, "content"))


def _find_in_blocks(blocks: Any, place: Place) -> Iterator[Image]:
    for position, block in enumerate(as_list(blocks)):
        source = as_dict(as_dict(block).get("source"))
        if as_dict(block).get("type") != "image" or source.get("type") not in ("url", "base64"):
            continue
        data = f"data:{as_text(source.get('media_type'))};base64,{as_text(source.get('data'))}"
        yield Image((*place, position), as_text(source.get("url")) if source["type"] == "url" else data)


def _with_url(block: Json, url: str) -> Json:
    """Return a block with the image of a data URL."""
    head, _, data = url.partition(";base64,")
    return {**block, "source": {"type": "base64", "media_type": head.removeprefix("data:"), "data": data}}


MESSAGES_IMAGES = ImageParts(_find_images, _with_url)
