"""Build DashScope's `parameters`: everything in OpenAI's body that is neither the model nor the messages.

Unknown fields are kept: `top_k`, `repetition_penalty`, `enable_thinking`, `thinking_budget`, `enable_search`,
`search_options` are DashScope's own. Source: "DashScope API reference", September 2026.
"""

from __future__ import annotations

from argoproxy.errors import BadRequest
from argoproxy.protocol.api.endpoints import COMPLETIONS
from argoproxy.protocol.json_text import Json
from argoproxy.protocol.routing.call import Call

#: OpenAI allows a temperature of 2 and a top_p of 0; DashScope's ranges, [0, 2) and (0, 1], exclude both.
MAX_TEMPERATURE = 1.99
MIN_TOP_P = 0.01

_SENT_ELSEWHERE = frozenset("model messages prompt input stream stream_options encoding_format".split())
#: OpenAI's fields without a counterpart in DashScope.
_UNSUPPORTED = frozenset(
    "user metadata store service_tier safety_identifier prompt_cache_key prompt_cache_options prompt_cache_retention"
    " moderation prediction verbosity frequency_penalty logit_bias best_of echo suffix functions function_call".split()
)
_LEGACY_FIELDS = ("suffix", "echo", "best_of", "logprobs")
_TOOL_FIELDS = ("tools", "tool_choice", "parallel_tool_calls")


def chat_parameters(call: Call) -> Json:
    """Return the `parameters` of a completion. Unless the call sets them otherwise, `result_format` is `message`, since
    only this format has tool calls, reasoning and several choices, and streams have `incremental_output: true`. Raises
    BadRequest for a field that DashScope would ignore but the client relies on."""
    _refuse_unsupported(call)
    parameters = _select_parameters(call.body)
    if call.path == COMPLETIONS.path:
        parameters.pop("logprobs", None)
    if not parameters.get("tools"):
        parameters = {key: value for key, value in parameters.items() if key not in _TOOL_FIELDS}
    parameters = _with_thinking(_with_search(_within_limits(_with_max_tokens(parameters))))
    incremental = parameters.pop("incremental_output", True)
    streamed = {"incremental_output": incremental} if call.stream else {}
    return {**parameters, "result_format": parameters.get("result_format", "message"), **streamed}


def embedding_parameters(body: Json) -> Json:
    """Return the `parameters` of an embeddings request."""
    parameters = _select_parameters(body)
    dimension = parameters.pop("dimensions", None)
    return parameters if dimension is None else {**parameters, "dimension": dimension}


def wants_incremental_output(call: Call) -> bool:
    """Tell whether a stream is requested as incremental: each event with the new text only."""
    return call.body.get("incremental_output") is not False


def _select_parameters(body: Json) -> Json:
    left_out = _SENT_ELSEWHERE | _UNSUPPORTED
    return {key: value for key, value in body.items() if key not in left_out and value is not None}


def _refuse_unsupported(call: Call) -> None:
    for name in ("functions", *(_LEGACY_FIELDS if call.path == COMPLETIONS.path else ())):
        value = call.body.get(name)
        if value and not (name == "best_of" and value == 1):
            raise BadRequest(f"DashScope does not support `{name}`.", param=name, code="unsupported_parameter")


def _with_max_tokens(parameters: Json) -> Json:
    if "max_completion_tokens" not in parameters:
        return parameters
    rest = {key: value for key, value in parameters.items() if key != "max_completion_tokens"}
    return {**rest, "max_tokens": parameters["max_completion_tokens"]}


def _within_limits(parameters: Json) -> Json:
    """Replace values that OpenAI allows and DashScope refuses by the nearest ones that it accepts."""
    if _number(parameters, "temperature") >= 2:
        parameters = {**parameters, "temperature": MAX_TEMPERATURE}
    if "top_p" in parameters and _number(parameters, "top_p") <= 0:
        parameters = {**parameters, "top_p": MIN_TOP_P}
    return parameters


def _with_search(parameters: Json) -> Json:
    rest = {key: value for key, value in parameters.items() if key != "web_search_options"}
    return parameters if len(rest) == len(parameters) else {"enable_search": True, **rest}


def _with_thinking(parameters: Json) -> Json:
    """Replace `reasoning_effort` by `enable_thinking`. DashScope's measure of effort is a number of tokens
    (`thinking_budget`), and no source says which number corresponds to which effort."""
    rest = {key: value for key, value in parameters.items() if key != "reasoning_effort"}
    if len(rest) == len(parameters):
        return parameters
    return {"enable_thinking": parameters["reasoning_effort"] not in ("none", False), **rest}


def _number(parameters: Json, name: str) -> float:
    value = parameters.get(name)
    return value if isinstance(value, int | float) else 0.0
