from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.support.fixtures import Serve
from tests.support.processes import Proxy, Upstream
from tests.support.providers.anthropic_rules import KEY
from tests.support.stand_ins import stand_in


@pytest.fixture(scope="session")
def anthropic_port() -> Iterator[int]:
    with stand_in("anthropic") as port:
        yield port


@pytest.fixture(scope="session")
def proxy(serve: Serve, upstream: Upstream, anthropic_port: int, tmp_path_factory: pytest.TempPathFactory) -> Proxy:
    """The proxy in front of chats (the model `chat`), the demo, DashScope (`qwen`), Argo (`gpt`), Anthropic
    (`claude`)."""
    upstreams = {
        "chats": {"kind": "openai", "base_url": f"{upstream.url}/v1", "api_key": "k", "responses": "convert"},
        "demo": {"kind": "demo"},
        "dashscope": {"kind": "dashscope", "base_url": f"{upstream.url}/api/v1", "api_key": "k"},
        "argo": {"kind": "argo", "base_url": f"{upstream.url}/argoapi", "user": "me"},
        "anthropic": {"kind": "anthropic", "base_url": f"http://127.0.0.1:{anthropic_port}", "api_key": KEY},
    }
    models = {
        "chat": {"upstream": "chats", "upstream_model_name": "m1", "reasoning": "field"},
        "demo": {"upstream": "demo", "reasoning": "field"},
        "qwen": {"upstream": "dashscope", "upstream_model_name": "qwen-plus", "reasoning": "field"},
        "gpt": {"upstream": "argo", "upstream_model_name": "argo:gpt-4o", "reasoning": "field"},
        "claude": {"upstream": "anthropic", "upstream_model_name": "claude-opus-4-6", "reasoning": "field"},
    }
    file = tmp_path_factory.mktemp("clients") / "config.yaml"
    file.write_text(json.dumps({"upstreams": upstreams, "models": models}))
    return serve(CONFIG_PATH=str(file))
