from __future__ import annotations

import pytest

from argoproxy.upstreams.dashscope.adapter import DashScopeUrls, is_multimodal

BASE = "https://dashscope.aliyuncs.com/api/v1"
TEXT = f"{BASE}/services/aigc/text-generation/generation"
MULTIMODAL = f"{BASE}/services/aigc/multimodal-generation/generation"
EMBEDDINGS = f"{BASE}/services/embeddings/text-embedding/text-embedding"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (BASE, ""),
        (BASE + "/", ""),
        ("https://dashscope.aliyuncs.com", ""),
        ("https://dashscope.aliyuncs.com/", ""),
        (TEXT, TEXT),
        (TEXT + "/", TEXT),
        (MULTIMODAL, MULTIMODAL),
        (EMBEDDINGS, ""),
        (f"{BASE}/services/aigc/", ""),
        (f"{BASE}/services/aigc", ""),
        (f"{BASE}/services/", ""),
        (f"{BASE}/services/aigc/text-generation", ""),
        (f"{BASE}/services/embeddings/text-embedding/", ""),
    ],
)
def test_a_base_or_an_endpoint(text: str, named: str) -> None:
    assert DashScopeUrls.parse(text) == DashScopeUrls(TEXT, MULTIMODAL, EMBEDDINGS, named)


def test_a_base_of_another_kind_and_a_query_are_kept() -> None:
    urls = DashScopeUrls.parse("http://up:8000/mirror/qwen?k=v")
    assert urls.text == "http://up:8000/mirror/qwen/services/aigc/text-generation/generation?k=v"
    urls = DashScopeUrls.parse(f"{MULTIMODAL}?k=v")
    assert (urls.fixed, urls.multimodal, urls.embeddings) == (
        f"{MULTIMODAL}?k=v",
        f"{MULTIMODAL}?k=v",
        EMBEDDINGS + "?k=v",
    )


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("dashscope.aliyuncs.com", "http"),
        ("https://dashscope.aliyuncs.com/compatible-mode/v1", "compatible mode"),
        ("https://dashscope.aliyuncs.com/compatible-mode/v1/chat/completions", "compatible mode"),
    ],
)
def test_what_is_no_native_url(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        DashScopeUrls.parse(text)


@pytest.mark.parametrize(
    "model",
    """qwen-vl-max qwen-vl-plus-latest qwen2.5-vl-72b-instruct qwen3-vl-plus QVQ-max qwen-omni-turbo qwen3-omni-flash
    qwen2-audio-instruct qwen-audio-turbo qwen3.5-plus qwen3.7-plus qwen3.6-27b qwen3.10-flash qwen4-max""".split(),
)
def test_models_that_see_and_hear(model: str) -> None:
    assert is_multimodal(model)


@pytest.mark.parametrize(
    "model",
    "qwen-max qwen-plus qwen3-max qwen3-235b-a22b qwen2.5-72b-instruct qwq-plus deepseek-v3 qwen3-coder".split(),
)
def test_models_of_text(model: str) -> None:
    assert not is_multimodal(model)
