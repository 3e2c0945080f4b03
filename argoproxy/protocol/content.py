"""The `content` of messages: append text, find and replace images (OpenAI's API reference, chat)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from argoproxy.protocol.addresses import AddressRule
from argoproxy.protocol.json_text import Json, as_list

Place = tuple[int, int]


@dataclass(frozen=True, slots=True)
class ImageSettings:
    """How images in requests are handled: whether their URLs are replaced by data URLs, the time-out and number of
    fetches at once, the limit of bytes for all images of a request (None: no limit), which addresses may be contacted,
    and whether the URL of a failed image is kept."""

    inline: bool = False
    timeout_s: float = 30.0
    concurrency: int = 10
    payload_limit: int | None = None
    addresses: AddressRule = AddressRule()
    keeps_failed: bool = False


@dataclass(frozen=True, slots=True)
class Image:
    """An image part: its position (message, part), and its URL if it has one."""

    place: Place
    url: str | None

    @property
    def path(self) -> str:
        """Its position, as errors name it."""
        return path_of(self.place)


def path_of(place: Place) -> str:
    """Return the position of a part as OpenAI's errors name it."""
    return f"messages[{place[0]}].content[{place[1]}]"


def with_text_for_the_user(messages: list[Any], text: str) -> list[Any]:
    """Return a new list with text appended to the last user message, or with a user message added if there is none."""
    for position in range(len(messages) - 1, -1, -1):
        message = messages[position]
        if isinstance(message, dict) and message.get("role") == "user":
            return [*messages[:position], _with_text(message, text), *messages[position + 1 :]]
    return [*messages, {"role": "user", "content": text}]


def images_in(body: Json) -> Iterator[Image]:
    """Yield the image parts in a body's messages."""
    for row, message in enumerate(as_list(body.get("messages"))):
        for column, part in enumerate(as_list(message.get("content") if isinstance(message, dict) else None)):
            if isinstance(part, dict) and part.get("type") == "image_url":
                yield Image((row, column), _url(part.get("image_url")))


def with_images(body: Json, urls: Mapping[Place, str]) -> Json:
    """Return a body with some image URLs replaced; the same object if there are none to replace."""
    if not urls:
        return body
    messages, copied = list(body["messages"]), set[int]()
    for (row, column), url in urls.items():
        if row not in copied:
            messages[row] = {**messages[row], "content": list(messages[row]["content"])}
            copied.add(row)
        parts = messages[row]["content"]
        image = parts[column]["image_url"]
        parts[column] = {**parts[column], "image_url": {**image, "url": url} if isinstance(image, dict) else url}
    return {**body, "messages": messages}


def _with_text(message: Json, text: str) -> Json:
    content = message.get("content")
    if isinstance(content, list):
        return {**message, "content": [*content, {"type": "text", "text": text}]}
    return {**message, "content": content + text if isinstance(content, str) else text}


def _url(image: Any) -> str | None:
    url = image.get("url") if isinstance(image, dict) else image
    return url if isinstance(url, str) else None
