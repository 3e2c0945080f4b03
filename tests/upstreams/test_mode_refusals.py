from __future__ import annotations

import json

import pytest

from argoproxy.errors import UpstreamProtocolError, UpstreamStatus
from argoproxy.upstreams.error_replies import refuses_mode

#: Who writes so, and what.
REFUSALS = [
    ("Alibaba, QwQ", "This model only support stream mode, please enable the stream parameter to access the model. "),
    ("Alibaba, thinking", "parameter.enable_thinking must be set to false for non-streaming calls"),
    ("Alibaba, Omni", "current user api does not support http call"),
    ("Alibaba, thinking", 'The incremental_output parameter must be "true" when enable_thinking is true'),
    (
        "OpenAI, o1",
        "Unsupported value: 'stream' does not support true with this model. Only the default value is supported.",
    ),
    (
        "OpenAI, later",
        "Unsupported value: 'stream' does not support true with this model. Supported values are: false",
    ),
    ("OpenAI, o3", "Your organization must be verified to stream this model. Please go to: https://…"),
    ("azure-openai-proxy", "Streaming completion is not support yet, please remove 'stream' key value in the request."),
    ("Hugging Face", "Error in `stream`: `stream` is not supported for this model"),
    ("vLLM", "Streaming is not currently supported with beam search"),
    ("vLLM, pooling", "Streaming is not yet supported with this model"),
    ("Bedrock", "The model is unsupported for streaming. This model doesn't support streaming."),
    ("gateways", "non-streaming mode is not supported"),
    ("gateways", "Only streaming is supported for this model"),
    ("gateways", "only non-stream requests are supported"),
    ("gateways", "This endpoint requires streaming"),
    ("gateways", "Please set stream to true"),
    ("gateways", "please set `stream=true`"),
    ("gateways", "stream must be true"),
    ("SDKs of Anthropic", "Streaming is strongly recommended; streaming is required for operations that take longer"),
]
OTHERS = [
    "Unknown parameter: 'stream_options'.",
    "'stream_options' is not supported with this model.",
    "The 'stream_options' parameter is only allowed when 'stream' is enabled.",
    "parallel_tool_calls is not supported while streaming",
    "n > 1 is not supported",
    "The model `stream-1` does not exist",
    "max_tokens must be set",
    "The upstream does not support tools",
    "Upstream is not available for this model",
    "function 'livestream' is not allowed",
]


def error(status: int, message: str) -> UpstreamStatus:
    return UpstreamStatus(status, (), json.dumps({"error": {"message": message}}, ensure_ascii=False).encode())


@pytest.mark.parametrize("said", [said for _, said in REFUSALS])
def test_a_refused_mode_is_understood(said: str) -> None:
    assert refuses_mode(error(400, said))
    assert refuses_mode(error(501, said))
    assert not refuses_mode(error(503, said)), "a failure is no refusal"
    assert not refuses_mode(error(429, said)), "who asks too often is asked to wait"


@pytest.mark.parametrize("said", OTHERS)
def test_other_refusals_are_none_of_a_mode(said: str) -> None:
    assert not refuses_mode(error(400, said))


def test_what_no_upstream_said_refuses_no_mode() -> None:
    assert not refuses_mode(UpstreamProtocolError("only streaming is supported"))
