"""Upstreams of the kind `anthropic` in the config file."""

from __future__ import annotations

from pathlib import Path

import pytest

from argoproxy.config.kinds.anthropic_kind import AnthropicTarget
from argoproxy.protocol.http_messages import BytesBody, ClientRequest
from argoproxy.upstreams.anthropic.adapter import AnthropicOptions, AnthropicUpstream
from argoproxy.upstreams.anthropic.messages import LaterSystem
from tests.support.configs import find_mistakes_in, load_text

MODELS = ClientRequest("id", 7, "GET", "/v1/models", "", (), BytesBody(b""))


def target_of(folder: Path, options: str = "") -> AnthropicTarget:
    (upstream,) = load_text(folder, f"upstreams: {{a: {{kind: anthropic{options}}}}}").upstreams
    assert isinstance(upstream.target, AnthropicTarget)
    assert upstream.is_keyed == ("api_key" in options)
    return upstream.target


def test_nothing_has_to_be_set(tmp_path: Path) -> None:
    target = target_of(tmp_path)
    assert (target.url, target.request_options) == ("https://api.anthropic.com", AnthropicOptions())
    assert target.adapter("mine").name == "mine"


@pytest.mark.parametrize(
    ("base_url", "url"),
    [
        ("http://x", "http://x/v1/models?limit=1000"),
        ("http://x/", "http://x/v1/models?limit=1000"),
        ("http://x/v1", "http://x/v1/models?limit=1000"),
        ("http://x/apps/anthropic", "http://x/apps/anthropic/v1/models?limit=1000"),
        ("http://x/v1/messages", "http://x/v1/models?limit=1000"),
        ("http://x/apps/anthropic/v1/messages/", "http://x/apps/anthropic/v1/models?limit=1000"),
    ],
)
def test_any_form_of_the_base_url(tmp_path: Path, base_url: str, url: str) -> None:
    adapter = target_of(tmp_path, f", base_url: '{base_url}'").adapter("a")
    assert adapter.model_list_request(MODELS).url == url


def test_options(tmp_path: Path) -> None:
    options = ", api_key: sk-ant-123456, max_tokens: 5, anthropic_beta: 'a-1, b-2', later_system: keep"
    target = target_of(tmp_path, options)
    assert target.request_options == AnthropicOptions(5, "a-1,b-2", LaterSystem.KEEP)
    adapter = target.adapter("a")
    assert isinstance(adapter, AnthropicUpstream)
    assert adapter.key == "sk-ant-123456"
    assert "sk-ant-123456" not in repr(adapter)


@pytest.mark.parametrize(
    "options",
    ["max_tokens: 0", "max_tokens: many", "later_system: away", "max_token: 5", "base_url: x", "model_map: {a: b}"],
)
def test_mistakes_are_named(tmp_path: Path, options: str) -> None:
    (mistake,) = find_mistakes_in(tmp_path, f"upstreams: {{a: {{kind: anthropic, {options}}}}}")
    assert options.partition(":")[0] in mistake


def test_the_proxy_itself_is_no_upstream(tmp_path: Path) -> None:
    text = "port: 5000\nupstreams: {a: {kind: anthropic, base_url: 'http://127.0.0.1:5000'}}"
    assert find_mistakes_in(tmp_path, text)
