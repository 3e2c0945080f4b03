from __future__ import annotations

from typing import Any

import pytest

from argoproxy.errors import BadRequest
from argoproxy.upstreams.dashscope.messages import (
    has_media,
    multimodal_input,
    prompt_input,
    prompt_message_input,
    text_input,
)

Json = dict[str, Any]
URL = "https://example.com/a.png"


def user(*parts: Any) -> Json:
    return {"messages": [{"role": "user", "content": list(parts)}]}


@pytest.mark.parametrize(
    ("message", "sent"),
    [
        ({"role": "user", "content": "Hi", "name": "n"}, {"role": "user", "content": "Hi", "name": "n"}),
        ({"role": "developer", "content": "Be brief."}, {"role": "system", "content": "Be brief."}),
        (
            {"role": "user", "content": [{"type": "text", "text": "a"}, "b", {"type": "refusal", "refusal": "c"}]},
            {"role": "user", "content": "abc"},
        ),
        (
            {"role": "assistant", "content": None, "refusal": None, "tool_calls": [{"id": "c"}]},
            {"role": "assistant", "content": "", "tool_calls": [{"id": "c"}]},
        ),
        ({"role": "assistant", "tool_calls": []}, {"role": "assistant", "content": "", "tool_calls": []}),
        (
            {"role": "tool", "tool_call_id": "c", "content": [{"type": "text", "text": "42"}]},
            {"role": "tool", "tool_call_id": "c", "content": "42"},
        ),
        (
            {"role": "assistant", "content": "x", "reasoning_content": "y"},
            {"role": "assistant", "content": "x", "reasoning_content": "y"},
        ),
    ],
)
def test_messages_on_the_text_path(message: Json, sent: Json) -> None:
    kept = dict(message)
    assert text_input({"messages": [message]}) == {"messages": [sent]}
    assert message == kept


@pytest.mark.parametrize(
    ("part", "sent"),
    [
        ("Hi", {"text": "Hi"}),
        ({"type": "text", "text": "Hi"}, {"text": "Hi"}),
        ({"type": "text", "text": "Hi", "cache_control": {"type": "ephemeral"}}, None),
        ({"text": "Hi"}, {"text": "Hi"}),
        ({"type": "image_url", "image_url": {"url": URL, "detail": "low"}}, {"image": URL}),
        ({"type": "image_url", "image_url": URL, "min_pixels": 4}, {"image": URL, "min_pixels": 4}),
        ({"image_url": {"url": URL}}, {"image": URL}),
        ({"type": "image", "image": "oss://a"}, {"image": "oss://a"}),
        (
            {"type": "input_audio", "input_audio": {"data": "QQ==", "format": "mp3"}},
            {"audio": "data:audio/mp3;base64,QQ=="},
        ),
        ({"type": "input_audio", "input_audio": {"data": "QQ=="}}, {"audio": "data:audio/wav;base64,QQ=="}),
        ({"type": "input_audio", "input_audio": {"data": "data:;base64,QQ=="}}, {"audio": "data:;base64,QQ=="}),
        (
            {"type": "input_audio", "input_audio": {"data": "https://x/a.wav", "format": "wav"}},
            {"audio": "https://x/a.wav"},
        ),
        ({"type": "audio_url", "audio_url": {"url": "https://x/a.wav"}}, {"audio": "https://x/a.wav"}),
        (
            {"type": "video_url", "video_url": {"url": "https://x/v.mp4"}, "fps": 2},
            {"video": "https://x/v.mp4", "fps": 2},
        ),
        ({"type": "video", "video": ["a", {"url": "b"}]}, {"video": ["a", "b"]}),
    ],
)
def test_parts_on_the_multimodal_path_are_keyed(part: Any, sent: Any) -> None:
    sent = sent or {"text": "Hi", "cache_control": {"type": "ephemeral"}}
    assert multimodal_input(user(part)) == user(sent)


@pytest.mark.parametrize(("content", "parts"), [("Hi", [{"text": "Hi"}]), (None, [{"text": ""}]), ([], [])])
def test_a_content_on_the_multimodal_path_is_a_list(content: Any, parts: Any) -> None:
    sent = multimodal_input({"messages": [{"role": "developer", "content": content}]})
    assert sent == {"messages": [{"role": "system", "content": parts}]}


@pytest.mark.parametrize(
    "part",
    [
        None,
        3,
        {},
        {"type": "file", "file": {"file_id": "f"}},
        {"type": "text"},
        {"type": "text", "text": ["a"]},
        {"type": "image_url", "image_url": {}},
        {"type": "image_url", "image_url": 3},
        {"type": "video", "video": ["a", {}]},
        {"type": None, "mystery": "x"},
    ],
)
def test_parts_that_have_no_place_are_named(part: Any) -> None:
    for shape in (text_input, multimodal_input):
        with pytest.raises(BadRequest) as caught:
            shape(user("a", part))
        assert caught.value.param == "messages[0].content[1]"


def test_the_text_path_takes_text_only() -> None:
    with pytest.raises(BadRequest, match="text only") as caught:
        text_input(user("a", {"type": "image_url", "image_url": URL}))
    assert caught.value.param == "messages[0].content[1]"


@pytest.mark.parametrize(
    ("body", "param"), [({}, "messages"), ({"messages": "Hi"}, "messages"), ({"messages": [3]}, "messages[0]")]
)
def test_what_is_no_list_of_messages(body: Json, param: str) -> None:
    for shape in (text_input, multimodal_input):
        with pytest.raises(BadRequest) as caught:
            shape(body)
        assert caught.value.param == param


@pytest.mark.parametrize("prompt", ["Hi", ["Hi"]])
def test_a_prompt(prompt: Any) -> None:
    assert prompt_input({"prompt": prompt}) == {"prompt": "Hi"}
    assert prompt_message_input({"prompt": prompt}) == user({"text": "Hi"})


@pytest.mark.parametrize("prompt", [None, [], ["a", "b"], [1, 2], [[1]], 3])
def test_prompts_that_are_not_one_text(prompt: Any) -> None:
    with pytest.raises(BadRequest, match="one string") as caught:
        prompt_input({"prompt": prompt})
    assert caught.value.param == "prompt"


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (user("a", {"type": "text", "text": "b"}), False),
        (user({"type": "image_url", "image_url": URL}), True),
        (user({"input_audio": {"data": "QQ=="}}), True),
        (user({"type": "video", "video": []}), True),
        (user({"type": "file"}, None), False),
        ({"messages": [3, {"role": "user", "content": "a"}, {"role": "assistant"}]}, False),
        ({"messages": "Hi"}, False),
        ({"prompt": "Hi"}, False),
    ],
)
def test_whether_there_is_anything_to_see_or_hear(body: Json, found: bool) -> None:
    assert has_media(body) is found
