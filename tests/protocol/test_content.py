from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from argoproxy.protocol.content import CHAT_IMAGES, Image, Place
from argoproxy.protocol.messages.edits import MESSAGES_IMAGES
from argoproxy.protocol.responses.request_edits import RESPONSES_IMAGES

BODY: dict[str, Any] = {
    "messages": [
        {"role": "user", "content": "text"},
        "odd",
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "x"},
                {"type": "image_url", "image_url": {"url": "http://a", "detail": "low"}},
                "odd",
                {"type": "image_url", "image_url": "http://b"},
                {"type": "image_url", "image_url": {"url": 5}},
                {"type": "image_url"},
            ],
        },
    ]
}


def place(part: int) -> Place:
    return ("messages", 2, "content", part)


def test_where_images_stand() -> None:
    assert list(CHAT_IMAGES.find(BODY)) == [
        Image(place(1), "http://a"),
        Image(place(3), "http://b"),
        Image(place(4), None),
        Image(place(5), None),
    ]
    assert Image(place(1), None).path == "messages[2].content[1]"


@pytest.mark.parametrize("body", [{}, {"messages": None}, {"messages": [None, {"content": None}]}])
def test_bodies_without_images(body: Any) -> None:
    assert list(CHAT_IMAGES.find(body)) == []


def test_urls_are_replaced_where_they_stand() -> None:
    before = deepcopy(BODY)
    changed = CHAT_IMAGES.replace(BODY, {place(1): "data:1", place(3): "data:2"})
    assert [image.url for image in CHAT_IMAGES.find(changed)] == ["data:1", "data:2", None, None]
    assert changed["messages"][2]["content"][1]["image_url"] == {"url": "data:1", "detail": "low"}
    assert before == BODY
    assert CHAT_IMAGES.replace(BODY, {}) is BODY


IMAGE = {"type": "image", "source": {"type": "url", "url": "http://a"}, "cache_control": {}}
PICTURE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBO"}}
MESSAGE: dict[str, Any] = {
    "messages": [
        {"role": "user", "content": "text"},
        "odd",
        {"role": "user", "content": [IMAGE, {"type": "image", "source": {"type": "file", "file_id": "f"}}, "odd"]},
        {"role": "user", "content": [{"type": "tool_result", "content": [PICTURE, IMAGE, "odd", {"type": "image"}]}]},
        {"role": "user", "content": [{"type": "tool_result", "content": "text"}]},
    ]
}


def test_images_of_messages() -> None:
    before = deepcopy(MESSAGE)
    images = list(MESSAGES_IMAGES.find(MESSAGE))
    assert [(image.path, image.url) for image in images] == [
        ("messages[2].content[0]", "http://a"),
        ("messages[3].content[0].content[0]", "data:image/png;base64,iVBO"),
        ("messages[3].content[0].content[1]", "http://a"),
    ]
    changed = MESSAGES_IMAGES.replace(MESSAGE, {image.place: "data:image/gif;base64,R0lG" for image in images})
    source = {"type": "base64", "media_type": "image/gif", "data": "R0lG"}
    assert changed["messages"][2]["content"][0] == {**IMAGE, "source": source}
    assert changed["messages"][3]["content"][0]["content"][:2] == [
        {**PICTURE, "source": source},
        {**IMAGE, "source": source},
    ]
    assert before == MESSAGE


def test_images_of_responses() -> None:
    image = {"type": "input_image", "image_url": "http://a", "detail": "low"}
    body: dict[str, Any] = {
        "input": [
            "odd",
            {"role": "user", "content": [image, {"type": "input_image", "file_id": "f"}, "odd"]},
            {"type": "function_call_output", "output": [image]},
            {"type": "function_call_output", "output": "text"},
        ]
    }
    images = list(RESPONSES_IMAGES.find(body))
    assert [image.path for image in images] == ["input[1].content[0]", "input[2].output[0]"]
    changed = RESPONSES_IMAGES.replace(body, {images[1].place: "data:1"})
    assert [image.url for image in RESPONSES_IMAGES.find(changed)] == ["http://a", "data:1"]
    assert changed["input"][2]["output"] == [{**image, "image_url": "data:1"}]
    assert list(RESPONSES_IMAGES.find({"input": "text"})) == []
