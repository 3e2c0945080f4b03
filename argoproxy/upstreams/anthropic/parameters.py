"""Build the body of POST /v1/messages from the body of a chat or legacy completion.

A parameter that would change the form of the answer, and that Anthropic does not have, is refused. One that only
affects sampling (seed, penalties, logit_bias) is left out, and so is every field that Anthropic does not know: it
refuses those. Anthropic's own fields, if clients send them beside OpenAI's, are sent as they are. Source: Anthropic
API reference, Messages.
"""

from __future__ import annotations

from typing import Any

from argoproxy.errors import BadRequest
from argoproxy.protocol.api.endpoints import COMPLETIONS
from argoproxy.protocol.json_text import Json, as_dict, as_text
from argoproxy.protocol.routing.call import Call
from argoproxy.upstreams.anthropic.blocks import limit_marks
from argoproxy.upstreams.anthropic.messages import LaterSystem, make_conversation
from argoproxy.upstreams.anthropic.models import default_max_tokens
from argoproxy.upstreams.anthropic.thinking import make_effort, make_thinking, resolve_conflicts
from argoproxy.upstreams.anthropic.tools import make_tools

#: Anthropic's own fields, for which OpenAI has no other name.
_OWN_FIELDS = (
    "cache_control",
    "container",
    "context_management",
    "fallbacks",
    "inference_geo",
    "mcp_servers",
    "speed",
    "top_k",
)
_REFUSED = {
    "n": "returns one choice only",
    "best_of": "returns one choice only",
    "logprobs": "returns no log probabilities",
    "top_logprobs": "returns no log probabilities",
    "functions": "has `tools` instead",
    "function_call": "has `tool_choice` instead",
    "echo": "does not repeat a prompt",
    "suffix": "does not complete a text in its middle",
}
_SERVICE_TIERS = {"auto": "auto", "default": "standard_only", "standard_only": "standard_only"}


def make_messages_body(call: Call, max_tokens: int | None, later_system: LaterSystem) -> Json:
    """Return the body to send; `max_tokens` is the limit for requests without one, None for the model's own. Raises
    BadRequest, which names the parameter."""
    body, model = call.body, call.model
    _refuse_unsupported(body)
    messages = [_prompt_message(body)] if call.path == COMPLETIONS.path else body.get("messages")
    system, turns = make_conversation(messages, later_system)
    asked = _first(body.get("max_completion_tokens"), body.get("max_tokens"))
    longest = _first(asked, max_tokens, default_max_tokens(model))
    request: Json = {
        "model": body.get("model"),
        "max_tokens": longest,
        **make_tools(body),
        "system": system,
        "messages": turns,
        "stop_sequences": _make_stops(body.get("stop")),
        "temperature": _limit_temperature(body.get("temperature")),
        "top_p": None if body.get("top_p") == 1 else body.get("top_p"),
        "stream": True if call.stream else None,
        "metadata": _make_metadata(body),
        "service_tier": _SERVICE_TIERS.get(as_text(body.get("service_tier"))),
        "output_config": {**make_effort(body, model), **_make_format(body), **as_dict(body.get("output_config"))},
        "thinking": make_thinking(body, model, longest if isinstance(longest, int) else 0),
        **{name: body[name] for name in _OWN_FIELDS if name in body},
    }
    request = resolve_conflicts(request, asked)
    return limit_marks({name: value for name, value in request.items() if value not in (None, [], {})})


def _refuse_unsupported(body: Json) -> None:
    for param, why in _REFUSED.items():
        value = body.get(param)
        if value and not (param in ("n", "best_of") and value == 1):
            raise BadRequest(f"Anthropic {why}.", param=param, code="unsupported_parameter")
    modalities = body.get("modalities")
    if isinstance(modalities, list) and set(map(str, modalities)) - {"text"}:
        raise BadRequest("Anthropic answers in text only.", param="modalities", code="unsupported_value")


def _prompt_message(body: Json) -> Json:
    """Return the prompt of a legacy completion as a message."""
    prompt = body.get("prompt")
    texts = prompt if isinstance(prompt, list) else [prompt]
    if len(texts) != 1 or not isinstance(texts[0], str):
        raise BadRequest(
            "`prompt` must be one string; Anthropic does not accept tokens or lists of prompts.", param="prompt"
        )
    return {"role": "user", "content": texts[0]}


def _make_format(body: Json) -> Json:
    """Return the JSON schema of answers as a part of `output_config`, {} for text."""
    response_format = as_dict(body.get("response_format"))
    kind = response_format.get("type", "text")
    if kind == "text":
        return {}
    schema = as_dict(response_format.get("json_schema")).get("schema")
    if kind != "json_schema" or not isinstance(schema, dict):
        raise BadRequest("Anthropic needs a schema for JSON: use the type `json_schema`.", param="response_format")
    return {"format": {"type": "json_schema", "schema": schema}}


def _make_stops(stop: Any) -> list[Any]:
    stops = stop if isinstance(stop, list) else [] if stop is None else [stop]
    if any(isinstance(text, str) and not text.strip() for text in stops):
        raise BadRequest("Anthropic does not accept blank stop sequences.", param="stop", code="unsupported_value")
    return stops


def _limit_temperature(value: Any) -> Any:
    """Limit a temperature to Anthropic's range, 0 to 1; OpenAI's is 0 to 2."""
    return min(value, 1) if isinstance(value, int | float) else value


def _make_metadata(body: Json) -> Json:
    user = body.get("safety_identifier") or body.get("user")
    return {"user_id": user} if user else {}


def _first(*values: Any) -> Any:
    """Return the first value that is not None."""
    return next((value for value in values if value is not None), None)
