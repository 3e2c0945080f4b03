from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from argoproxy.protocol.content import Image, images_in, with_images

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


def test_where_images_stand() -> None:
    assert list(images_in(BODY)) == [
        Image((2, 1), "http://a"),
        Image((2, 3), "http://b"),
        Image((2, 4), None),
        Image((2, 5), None),
    ]
    assert Image((2, 1), None).path == "messages[2].content[1]"


@pytest.mark.parametrize("body", [{}, {"messages": None}, {"messages": [None, {"content": None}]}])
def test_bodies_without_images(body: Any) -> None:
    assert list(images_in(body)) == []


def test_urls_are_replaced_where_they_stand() -> None:
    before = deepcopy(BODY)
    changed = with_images(BODY, {(2, 1): "data:1", (2, 3): "data:2"})
    assert [image.url for image in images_in(changed)] == ["data:1", "data:2", None, None]
    assert changed["messages"][2]["content"][1]["image_url"] == {"url": "data:1", "detail": "low"}
    assert before == BODY
    assert with_images(BODY, {}) is BODY
