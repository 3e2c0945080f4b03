"""The `content` of messages: append text, find and replace images (OpenAI's API reference, chat)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from argoproxy.protocol.addresses import AddressRule
from argoproxy.protocol.json_text import Json, as_list

#: How a line of Claude Code's system prompt begins that differs in each request (`cch=…`). Anthropic takes it out; as a
#: part of the prompt it would only defeat caches.
ATTRIBUTION = "x-anthropic-billing-header"
#: The way to a value within a body: names and indexes.
Place = tuple[int | str, ...]


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
    """An image part: its position, and its URL if it has one."""

    place: Place
    url: str | None

    @property
    def path(self) -> str:
        """Its position, as errors name it."""
        return path_of(self.place)


@dataclass(frozen=True, slots=True)
class ImageParts:
    """Where requests of an API hold images: `find` yields them, `with_url` returns a part with another URL."""

    find: Callable[[Json], Iterator[Image]]
    with_url: Callable[[Json, str], Json]

    def replace(self, body: Json, urls: Mapping[Place, str]) -> Json:
        """Return a body with some image URLs replaced; the same object if there are none to replace."""
        changed: Json = self._replace_within(body, list(urls.items()), 0) if urls else body
        return changed

    def _replace_within(self, value: Any, urls: list[tuple[Place, str]], depth: int) -> Any:
        """Return a copy of a value that is so many steps within a body."""
        if depth == len(urls[0][0]):
            return self.with_url(value, urls[0][1])
        inner: dict[Any, list[tuple[Place, str]]] = {}
        for place, url in urls:
            inner.setdefault(place[depth], []).append((place, url))
        copy = dict(value) if isinstance(value, dict) else list(value)
        for step, within in inner.items():
            copy[step] = self._replace_within(value[step], within, depth + 1)
        return copy


def path_of(place: Place) -> str:
    """Return a position as OpenAI's errors name it: `messages[0].content[1]`."""
    steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in place)
    return "".join(steps).removeprefix(".")


def with_text_for_the_user(messages: list[Any], text: str) -> list[Any]:
    """Return a new list with text appended to the last user message, or with a user message added if there is none."""
    for position in range(len(messages) - 1, -1, -1):
        message = messages[position]
        if isinstance(message, dict) and message.get("role") == "user":
            return [*messages[:position], _with_text(message, text), *messages[position + 1 :]]
    return [*messages, {"role": "user", "content": text}]


def _images_of_chat(body: Json) -> Iterator[Image]:
    """Yield the image parts in the messages of a chat."""
    for row, message in enumerate(as_list(body.get("messages"))):
        for column, part in enumerate(as_list(message.get("content") if isinstance(message, dict) else None)):
            if isinstance(part, dict) and part.get("type") == "image_url":
                yield Image(("messages", row, "content", column), _url(part.get("image_url")))


def _with_url(part: Json, url: str) -> Json:
    image = part["image_url"]
    return {**part, "image_url": {**image, "url": url} if isinstance(image, dict) else url}


def _with_text(message: Json, text: str) -> Json:
    content = message.get("content")
    if isinstance(content, list):
        return {**message, "content": [*content, {"type": "text", "text": text}]}
    return {**message, "content": content + text if isinstance(content, str) else text}


def _url(image: Any) -> str | None:
    url = image.get("url") if isinstance(image, dict) else image
    return url if isinstance(url, str) else None


CHAT_IMAGES = ImageParts(_images_of_chat, _with_url)
