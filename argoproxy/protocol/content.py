"""Parts of messages: what a message's `content` may be, how text is added to it, where images stand in it (OpenAI
API reference, chat)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from argoproxy.protocol.addresses import AddressRule
from argoproxy.protocol.json_text import Json, as_list

Place = tuple[int, int]


@dataclass(frozen=True, slots=True)
class ImageSettings:
    """What is done with images: whether they are fetched, for how long, how many at once, how many bytes all of a
    request's may have (None: whatever they have), which addresses may be asked, whether a failed one is left."""

    inline: bool = False
    timeout_s: float = 30.0
    concurrency: int = 10
    payload_limit: int | None = None
    addresses: AddressRule = AddressRule()
    keeps_failed: bool = False


@dataclass(frozen=True, slots=True)
class Image:
    """An image part: where it stands, and its URL, None when it has none."""

    place: Place
    url: str | None

    @property
    def path(self) -> str:
        """How an error names it."""
        return path_of(self.place)


def path_of(place: Place) -> str:
    """Name a part as OpenAI's errors do."""
    return f"messages[{place[0]}].content[{place[1]}]"


def with_text_for_the_user(messages: list[Any], text: str) -> list[Any]:
    """Append text to the last user message, or add a user message when there is none; a new list."""
    for position in range(len(messages) - 1, -1, -1):
        message = messages[position]
        if isinstance(message, dict) and message.get("role") == "user":
            return [*messages[:position], _with_text(message, text), *messages[position + 1 :]]
    return [*messages, {"role": "user", "content": text}]


def images_in(body: Json) -> Iterator[Image]:
    """Find the image parts of a body's messages."""
    for row, message in enumerate(as_list(body.get("messages"))):
        for column, part in enumerate(as_list(message.get("content") if isinstance(message, dict) else None)):
            if isinstance(part, dict) and part.get("type") == "image_url":
                yield Image((row, column), _url(part.get("image_url")))


def with_images(body: Json, urls: Mapping[Place, str]) -> Json:
    """Give a body with other URLs for some of its images; the very same one when there are none."""
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
