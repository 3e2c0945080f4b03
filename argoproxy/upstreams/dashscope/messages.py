"""Build DashScope's `input` from OpenAI's messages or from the prompt of a legacy completion.

On the text path a content is a string. On the multimodal path it is a list of parts that have a key in place of a type:
`{"image": url}`, `{"audio": url}`, `{"video": url or frames, "fps": 2}`, `{"text": …}`. Other fields of OpenAI's parts
(`fps`, `min_pixels`, `cache_control`) are kept. Source: "DashScope API reference", September 2026.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from argoproxy.errors import BadRequest
from argoproxy.protocol.content import path_of
from argoproxy.protocol.json_text import Json, as_dict, as_list, as_text

#: DashScope's key for each type of a part, or for its only key if it has no type.
_KEYS: Mapping[str, str] = {
    "text": "text",
    "refusal": "text",
    "image_url": "image",
    "image": "image",
    "input_audio": "audio",
    "audio_url": "audio",
    "audio": "audio",
    "video_url": "video",
    "video": "video",
}


def text_input(body: Json) -> Json:
    """Return the `input` of a chat on the text path. Raises BadRequest."""
    return {"messages": [_make_message(place, message, _make_text) for place, message in _messages(body)]}


def multimodal_input(body: Json) -> Json:
    """Return the `input` of a chat on the multimodal path. Raises BadRequest."""
    return {"messages": [_make_message(place, message, _make_parts) for place, message in _messages(body)]}


def prompt_input(body: Json) -> Json:
    """Return the `input` of a legacy completion on the text path. Raises BadRequest."""
    return {"prompt": _prompt(body)}


def prompt_message_input(body: Json) -> Json:
    """Return the `input` of a legacy completion on the multimodal path, which accepts only messages. Raises
    BadRequest."""
    return {"messages": [{"role": "user", "content": [{"text": _prompt(body)}]}]}


def has_media(body: Json) -> bool:
    """Tell whether a chat contains images, audio or video."""
    messages = body.get("messages")
    contents = (message.get("content") for message in as_list(messages) if isinstance(message, dict))
    return any(_KEYS.get(_kind(part), "text") != "text" for content in contents for part in as_list(content))


def _messages(body: Json) -> Iterator[tuple[int, Json]]:
    messages = body.get("messages")
    if not isinstance(messages, list):
        raise BadRequest("`messages` must be a list of messages.", param="messages")
    for place, message in enumerate(messages):
        if not isinstance(message, dict):
            raise BadRequest("A message must be an object.", param=f"messages[{place}]")
        yield place, message


def _make_message(place: int, message: Json, content: Callable[[Any, int], Any]) -> Json:
    """Return a message with a role and a content that DashScope accepts, without fields that are null."""
    kept = {key: value for key, value in message.items() if value is not None}
    if kept.get("role") == "developer":
        kept["role"] = "system"
    return {**kept, "content": content(message.get("content"), place)}


def _make_text(content: Any, place: int) -> str:
    if not isinstance(content, list):
        return as_text(content)
    parts = [_make_part(part, (place, column)) for column, part in enumerate(content)]
    for column, part in enumerate(parts):
        if "text" not in part:
            raise BadRequest("This endpoint accepts text only.", param=_path_of((place, column)))
    return "".join(part["text"] for part in parts)


def _path_of(place: tuple[int, int]) -> str:
    return path_of(("messages", place[0], "content", place[1]))


def _make_parts(content: Any, place: int) -> list[Json]:
    if not isinstance(content, list):
        return [{"text": as_text(content)}]
    return [_make_part(part, (place, column)) for column, part in enumerate(content)]


def _make_part(part: Any, place: tuple[int, int]) -> Json:
    if isinstance(part, str):
        return {"text": part}
    kind = _kind(part)
    key = _KEYS.get(kind)
    source = _source(part.get(kind)) if key else None
    if key is None or source is None or (key == "text" and not isinstance(source, str)):
        raise BadRequest("DashScope does not support this kind of content part.", param=_path_of(place))
    return {key: source, **{name: value for name, value in part.items() if name not in ("type", kind)}}


def _kind(part: Any) -> str:
    """Return the type of a part, "" if it has none; a part without a type has the one of its first known key."""
    fields = as_dict(part)
    kind = fields.get("type")
    return kind if isinstance(kind, str) else next((key for key in fields if key in _KEYS), "")


def _source(value: Any) -> Any:
    """Return the URL of a part's data, or the URLs of a video's frames; None if it has none. Base64 data becomes a data
    URL."""
    if isinstance(value, list):
        frames = [_source(frame) for frame in value]
        return None if None in frames else frames
    if not isinstance(value, dict):
        return value if isinstance(value, str) else None
    data = value.get("data")
    if not isinstance(data, str):
        return value["url"] if isinstance(value.get("url"), str) else None
    is_url = data.startswith("data:") or "://" in data[:16]
    return data if is_url else f"data:audio/{value.get('format') or 'wav'};base64,{data}"


def _prompt(body: Json) -> str:
    prompt = body.get("prompt")
    texts = prompt if isinstance(prompt, list) else [prompt]
    if len(texts) != 1 or not isinstance(texts[0], str):
        raise BadRequest(
            "`prompt` must be one string; DashScope does not accept tokens or lists of prompts.", param="prompt"
        )
    return texts[0]
