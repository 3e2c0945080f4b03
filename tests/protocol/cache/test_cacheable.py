"""Which requests may be answered with a kept answer."""

from __future__ import annotations

from typing import Any

import pytest

from argoproxy.protocol.cache.cache_policy import CachePolicy
from argoproxy.protocol.cache.cacheable import find_obstacle

POLICY = CachePolicy(60)
SAMPLED = CachePolicy(60, with_sampling=True)
COLD: dict[str, Any] = {"model": "m1", "messages": [{"role": "user", "content": "Hi"}], "temperature": 0}


def obstacle(**fields: Any) -> str:
    return find_obstacle({**COLD, **fields}, POLICY)


def parts(*content: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": list(content)}]}


@pytest.mark.parametrize(
    "fields", [{}, {"temperature": 0.0}, {"temperature": 1, "seed": 7}, {"temperature": None, "seed": 0}]
)
def test_fixed_sampling_is_kept(fields: dict[str, Any]) -> None:
    assert obstacle(**fields) == ""


@pytest.mark.parametrize(
    "fields", [{"temperature": None}, {"temperature": 0.1}, {"temperature": False}, {"temperature": 1, "seed": True}]
)
def test_free_sampling_is_kept_only_where_the_rule_says_so(fields: dict[str, Any]) -> None:
    assert obstacle(**fields) == "sampling"
    assert find_obstacle({**COLD, **fields}, SAMPLED) == ""


@pytest.mark.parametrize(
    "fields",
    [{"store": True}, {"previous_response_id": "resp_1"}, {"conversation": {"id": "c"}}, {"background": True}],
)
def test_what_a_server_keeps_is_not_kept_here(fields: dict[str, Any]) -> None:
    assert obstacle(**fields) == "state"


@pytest.mark.parametrize(
    "fields", [{"store": False}, {"store": None}, {"previous_response_id": None}, {"modalities": ["text"]}]
)
def test_fields_that_ask_for_nothing_do_not_matter(fields: dict[str, Any]) -> None:
    assert obstacle(**fields) == ""


@pytest.mark.parametrize("fields", [{"modalities": ["text", "audio"]}, {"audio": {"voice": "a"}}])
def test_spoken_answers_are_not_kept(fields: dict[str, Any]) -> None:
    assert obstacle(**fields) == "audio"


@pytest.mark.parametrize("fields", [{"web_search_options": {}}, {"tools": [{"type": "web_search"}]}])
def test_what_servers_look_up_is_not_kept(fields: dict[str, Any]) -> None:
    assert obstacle(**fields) == "tools"


def test_tools_that_clients_run_are_kept() -> None:
    assert obstacle(tools=[{"type": "function", "function": {"name": "f"}}, {"type": "custom"}, {}]) == ""


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": "https://a.example/cat.png"}},
        {"type": "image_url", "image_url": "HTTP://a.example/cat.png"},
        {"type": "video", "video": ["gs://bucket/1.png"]},
        {"type": "file", "file": {"file_id": "file-1"}},
    ],
)
def test_what_lies_elsewhere_may_change(part: dict[str, Any]) -> None:
    assert obstacle(**parts({"type": "text", "text": "https://a.example is"}, part)) == "files"


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA", "detail": "low"}},
        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
        {"type": "file", "file": {"file_id": None, "file_data": "AAAA", "size": 3}},
        {"type": "text", "text": "https://a.example/cat.png"},
    ],
)
def test_what_the_request_holds_itself_is_kept(part: dict[str, Any]) -> None:
    assert obstacle(**parts(part)) == ""


def test_audio_of_an_earlier_answer_is_an_id() -> None:
    assert obstacle(messages=[{"role": "assistant", "audio": {"id": "audio_1"}}]) == "files"
    assert obstacle(messages=[{"role": "assistant", "audio": None, "content": "https://a.example"}]) == ""
