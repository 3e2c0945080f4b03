"""How DashScope is to answer: everything in an OpenAI body that is neither the model nor what is said to it.

Unknown fields go up as they are: `top_k`, `repetition_penalty`, `enable_thinking`, `thinking_budget`,
`enable_search`, `search_options` are DashScope's own. Source: "DashScope API reference", September 2026.
"""

from __future__ import annotations

from argoproxy.errors import BadRequest
from argoproxy.protocol.api.endpoints import COMPLETIONS
from argoproxy.protocol.json_text import Json
from argoproxy.protocol.routing.call import Call

#: The largest temperature below 2, the smallest top_p above 0 with two digits: both limits are excluded.
MOST_TEMPERATURE = 1.99
LEAST_TOP_P = 0.01

_SAID_ELSEWHERE = frozenset("model messages prompt input stream stream_options encoding_format".split())
#: OpenAI's fields that mean nothing to DashScope.
_WITHOUT_A_PLACE = frozenset(
    "user metadata store service_tier safety_identifier prompt_cache_key prompt_cache_options prompt_cache_retention"
    " moderation prediction verbosity frequency_penalty logit_bias best_of echo suffix functions function_call".split()
)
_OF_COMPLETIONS = ("suffix", "echo", "best_of", "logprobs")
_OF_TOOLS = ("tools", "tool_choice", "parallel_tool_calls")


def chat_parameters(call: Call) -> Json:
    """Give the `parameters` of a completion: `result_format` is `message` and, in a stream, `incremental_output` true,
    unless the call says otherwise. Raises BadRequest for what DashScope would leave undone."""
    _refuse_what_is_missed(call)
    given = _given(call.body)
    if call.path == COMPLETIONS.path:
        given.pop("logprobs", None)
    if not given.get("tools"):
        given = {key: value for key, value in given.items() if key not in _OF_TOOLS}
    given = _with_thinking(_with_search(_within_limits(_with_max_tokens(given))))
    incremental = given.pop("incremental_output", True)
    streamed = {"incremental_output": incremental} if call.stream else {}
    return {**given, "result_format": given.get("result_format", "message"), **streamed}


def embedding_parameters(body: Json) -> Json:
    """Give the `parameters` of a request for embeddings."""
    given = _given(body)
    dimension = given.pop("dimensions", None)
    return given if dimension is None else {**given, "dimension": dimension}


def asks_for_increments(call: Call) -> bool:
    """Tell whether a stream is asked to tell what is new in each event, not all that was said."""
    return call.body.get("incremental_output") is not False


def _given(body: Json) -> Json:
    left_out = _SAID_ELSEWHERE | _WITHOUT_A_PLACE
    return {key: value for key, value in body.items() if key not in left_out and value is not None}


def _refuse_what_is_missed(call: Call) -> None:
    """Refuse what would be left out in silence and would be missed."""
    for name in ("functions", *(_OF_COMPLETIONS if call.path == COMPLETIONS.path else ())):
        value = call.body.get(name)
        if value and not (name == "best_of" and value == 1):
            raise BadRequest(f"DashScope knows no `{name}`.", param=name, code="unsupported_parameter")


def _with_max_tokens(given: Json) -> Json:
    if "max_completion_tokens" not in given:
        return given
    rest = {key: value for key, value in given.items() if key != "max_completion_tokens"}
    return {**rest, "max_tokens": given["max_completion_tokens"]}


def _within_limits(given: Json) -> Json:
    """Move what OpenAI allows and DashScope refuses to the nearest value it takes."""
    if _number(given, "temperature") >= 2:
        given = {**given, "temperature": MOST_TEMPERATURE}
    if "top_p" in given and _number(given, "top_p") <= 0:
        given = {**given, "top_p": LEAST_TOP_P}
    return given


def _with_search(given: Json) -> Json:
    rest = {key: value for key, value in given.items() if key != "web_search_options"}
    return given if len(rest) == len(given) else {"enable_search": True, **rest}


def _with_thinking(given: Json) -> Json:
    """Turn an effort into whether to think: how much of it is a number of tokens, which no source gives."""
    rest = {key: value for key, value in given.items() if key != "reasoning_effort"}
    if len(rest) == len(given):
        return given
    return {"enable_thinking": given["reasoning_effort"] not in ("none", False), **rest}


def _number(given: Json, name: str) -> float:
    value = given.get(name)
    return value if isinstance(value, int | float) else 0.0
