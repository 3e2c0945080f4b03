"""Where DashScope is asked: text models at one path, models that see and hear at another, embeddings at a third.

Asked at the wrong path, a model answers 400 "url error, please check url". Source: "DashScope API reference", Alibaba
Cloud Model Studio, September 2026.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Self

from argoproxy.upstreams.base_url import BaseUrl

_TEXT = "/services/aigc/text-generation/generation"
_MULTIMODAL = "/services/aigc/multimodal-generation/generation"
_EMBEDDINGS = "/services/embeddings/text-embedding/text-embedding"
_ENDPOINTS = (_TEXT, _MULTIMODAL, _EMBEDDINGS)
#: The endpoints and the paths that lead to them, longest first: a URL may end anywhere on the way.
_PATHS = sorted(
    {"/".join(path.split("/")[:length]) for path in _ENDPOINTS for length in range(2, 6)}, key=len, reverse=True
)
_VERSION = "/api/v1"

#: Models that are served on the multimodal path only, plain text too: "Multimodal models (such as qwen3.7-plus or
#: qwen3-vl-plus)", the same reference; Qwen3.5 and Qwen3.6: agentscope-ai/agentscope issues 1316 and 1394.
MULTIMODAL_MODELS = (
    "*-vl",
    "*-vl-*",
    "qvq*",
    "*omni*",
    "qwen*-audio*",
    "qwen3.[5-9]*",
    "qwen3.[1-9][0-9]*",
    "qwen[4-9]*",
)


@dataclass(frozen=True, slots=True)
class DashScopeUrls:
    """The URLs of generation and embeddings; `named` is the one of generation that was named, "" when none was."""

    text: str
    multimodal: str
    embeddings: str
    named: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a base (`https://dashscope.aliyuncs.com/api/v1`), a full endpoint, or a path between the two. Raises
        ValueError."""
        base = BaseUrl.parse(text)
        if "/compatible-mode/" in base.root + "/":
            raise ValueError("DashScope's compatible mode speaks OpenAI's dialect, its native one is below /api/v1")
        below = next((path for path in _PATHS if base.root.endswith(path)), "")
        endpoint = below if below in _ENDPOINTS else ""
        root = base.root.removesuffix(below)
        root = root if "/" in root.partition("://")[2] else root + _VERSION
        query = "?" + base.query if base.query else ""
        named = root + endpoint + query if endpoint in (_TEXT, _MULTIMODAL) else ""
        return cls(root + _TEXT + query, root + _MULTIMODAL + query, root + _EMBEDDINGS + query, named)


def is_multimodal(model: str) -> bool:
    """Tell whether a model is served on the multimodal path only."""
    return any(fnmatchcase(model.lower(), pattern) for pattern in MULTIMODAL_MODELS)
