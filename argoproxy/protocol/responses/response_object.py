"""The response object around the output: what a request said, usage, status, errors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from argoproxy.errors import BadRequest, ProxyError, UpstreamStatus, to_openai
from argoproxy.protocol.json_text import Json, JsonError, as_dict, as_text, dumps, loads
from argoproxy.protocol.reasoning.makers import no_mark
from argoproxy.protocol.responses.request_conversion import ResponsesRequest

#: What a response says of the request, and what it says where the request says nothing.
_ECHO: Json = {
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "service_tier": None,
    "temperature": None,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": 0,
    "top_p": None,
    "truncation": "disabled",
    "user": None,
}
#: How much deeper the echo is written later, in an event and by functions that are called from others.
_MARGIN = 64
_FINISH = {"length": "max_output_tokens", "content_filter": "content_filter"}
#: Error codes of the API that clients act on: Codex compacts the conversation, waits, or gives up.
_CODES = frozenset(
    "rate_limit_exceeded invalid_prompt context_length_exceeded insufficient_quota usage_not_included "
    "cyber_policy server_is_overloaded slow_down".split()
)
_CODE_BY_STATUS = {429: "rate_limit_exceeded", 503: "server_is_overloaded", 529: "server_is_overloaded"}


@dataclass(frozen=True, slots=True)
class ResponseHead:
    """What a response is known by: an id of letters and digits, the time it was made in seconds, the model, and a
    function that returns the mark of the upstream, which is certain when the first chunk has come."""

    id: str
    created: int
    model: str
    maker: Callable[[], str] = no_mark


def make_response(request: ResponsesRequest, head: ResponseHead) -> Json:
    """Return the response of a request, in progress and without output."""
    body = request.body
    echo = {key: default if body.get(key) is None else body[key] for key, default in _ECHO.items()}
    reasoning = as_dict(body.get("reasoning"))
    return {
        "id": f"resp_{head.id}",
        "object": "response",
        "created_at": head.created,
        "status": "in_progress",
        "background": False,
        "completed_at": None,
        "error": None,
        "incomplete_details": None,
        "model": head.model,
        "output": [],
        "previous_response_id": None,
        "reasoning": {"effort": reasoning.get("effort"), "summary": reasoning.get("summary")},
        "store": False,
        **echo,
        "usage": None,
    }


def check_echo(body: Json) -> None:
    """Check that a response can say what the request said. Raises BadRequest for what is nested too deeply to be
    written within it: else that would be found out when the upstream has answered."""
    echo: Any = [body[key] for key in _ECHO if isinstance(body.get(key), dict | list)]
    for _ in range(_MARGIN):
        echo = [echo]
    try:
        dumps(echo)
    except JsonError as error:
        raise BadRequest(f"The changed request body can't be encoded: {error}.") from None


def end_response(response: Json, output: list[Json], finish_reason: Any, usage: Json) -> Json:
    """Return the response with its output: completed, or incomplete with the reason."""
    reason = _FINISH.get(as_text(finish_reason))
    status = {"status": "incomplete", "incomplete_details": {"reason": reason}} if reason else {"status": "completed"}
    return {**response, **status, "output": output, "usage": convert_usage(usage)}


def fail_response(response: Json, output: list[Json], error: ProxyError) -> Json:
    """Return the response that an error ended."""
    return {**response, "status": "failed", "error": convert_error(error), "output": output}


def convert_error(error: ProxyError) -> Json:
    """Return an error as responses hold it: a message, and a code that clients know."""
    document = to_openai(error)["error"]
    if isinstance(error, UpstreamStatus):
        document |= _read_error(error.body)
    code, kind = document.get("code"), document.get("type")
    known = next((one for one in (code, kind) if isinstance(one, str) and one in _CODES), None)
    message = as_text(document.get("message")) or error.message
    return {"code": known or _CODE_BY_STATUS.get(error.status, "server_error"), "message": message}


def convert_usage(usage: Json) -> Json:
    """Return the usage of a chat as that of a response. Numbers that are not known are 0: clients demand them."""
    prompt, completion = as_dict(usage.get("prompt_tokens_details")), as_dict(usage.get("completion_tokens_details"))
    given, made = _count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens"))
    return {
        "input_tokens": given,
        "input_tokens_details": {
            "cached_tokens": _count(prompt.get("cached_tokens")),
            "cache_write_tokens": _count(prompt.get("cache_write_tokens")),
        },
        "output_tokens": made,
        "output_tokens_details": {"reasoning_tokens": _count(completion.get("reasoning_tokens"))},
        "total_tokens": _count(usage.get("total_tokens")) or given + made,
    }


def _count(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def _read_error(body: bytes) -> Json:
    try:
        return as_dict(as_dict(loads(body)).get("error"))
    except JsonError:
        return {}
