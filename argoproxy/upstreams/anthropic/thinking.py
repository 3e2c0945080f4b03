"""Thinking: from `reasoning_effort` to the parameters of a model, and what Anthropic refuses together with it.

Source: Anthropic API reference, Extended thinking, Adaptive thinking, Effort.
"""

from __future__ import annotations

from typing import Any

from argoproxy.errors import BadRequest
from argoproxy.protocol.json_text import Json, as_dict, as_list, as_text
from argoproxy.upstreams.anthropic.messages import lacks_thinking
from argoproxy.upstreams.anthropic.models import Thinking, thinking_of

#: The smallest budget that Anthropic accepts.
LEAST_BUDGET = 1024

_EFFORTS = {"minimal": "low", **{effort: effort for effort in ("low", "medium", "high", "xhigh", "max")}}
#: The share of `max_tokens` that is the budget of an effort, as OpenRouter has it (Reasoning tokens).
_SHARES = {"minimal": 0.1, "low": 0.2, "medium": 0.5, "high": 0.8, "xhigh": 0.95, "max": 0.95}
#: Without `display` the newest models do not return their thinking.
_ADAPTIVE: Json = {"type": "adaptive", "display": "summarized"}
_DISABLED: Json = {"type": "disabled"}
#: The smallest `top_p` that is accepted with thinking.
_LEAST_TOP_P = 0.95


def make_thinking(body: Json, model: str, max_tokens: int) -> Json | None:
    """Return the parameter `thinking`: the client's own, else what its `reasoning_effort` means for the model. Raises
    BadRequest."""
    effort, kind = _effort_of(body), thinking_of(model)
    if isinstance(body.get("thinking"), dict):
        return as_dict(body["thinking"])
    if effort is None or kind is Thinking.NONE:
        return None
    if effort == "none":
        return _DISABLED
    if kind is Thinking.ADAPTIVE:
        return _ADAPTIVE
    return {"type": "enabled", "budget_tokens": max(LEAST_BUDGET, int(max_tokens * _SHARES[effort]))}


def make_effort(body: Json, model: str) -> Json:
    """Return the effort as a part of `output_config`, {} for a model that knows none. Raises BadRequest."""
    effort = _effort_of(body)
    if effort is None or effort == "none" or thinking_of(model) is not Thinking.ADAPTIVE:
        return {}
    return {"effort": _EFFORTS[effort]}


def resolve_conflicts(request: Json, asked_max_tokens: Any) -> Json:
    """Return a request without what Anthropic refuses together. Without `asked_max_tokens` the client set no limit, and
    `max_tokens` grows with a budget; else the budget is cut."""
    request = _fit_budget(request, asked_max_tokens)
    if not _is_thinking(request.get("thinking")):
        without = {"top_p"} if request.get("temperature") is not None else set()
        return _without(_keep_context(request), without)
    must_call = as_dict(request.get("tool_choice")).get("type") in ("any", "tool")
    needs_thoughts = request["thinking"].get("type") == "enabled" and lacks_thinking(request["messages"])
    if must_call or needs_thoughts:
        return resolve_conflicts(_without(request, {"thinking"}), asked_max_tokens)
    top_p = request.get("top_p")
    has_low_top_p = isinstance(top_p, int | float) and top_p < _LEAST_TOP_P
    return _without(request, {"temperature", "top_k", *(("top_p",) if has_low_top_p else ())})


def _effort_of(body: Json) -> str | None:
    effort = body.get("reasoning_effort")
    if effort is None or (isinstance(effort, str) and effort in ("none", *_EFFORTS)):
        return effort
    raise BadRequest(f"`reasoning_effort` is none, {', '.join(_EFFORTS)}.", param="reasoning_effort")


def _fit_budget(request: Json, asked_max_tokens: Any) -> Json:
    """Return a request whose thinking budget is between Anthropic's minimum and `max_tokens`; without thinking if that
    leaves no room for a budget."""
    thinking, max_tokens = as_dict(request.get("thinking")), request["max_tokens"]
    budget = thinking.get("budget_tokens")
    if thinking.get("type") != "enabled" or not isinstance(budget, int | float) or not isinstance(max_tokens, int):
        return request
    budget = max(LEAST_BUDGET, int(budget))
    if asked_max_tokens is None:
        max_tokens += budget if budget >= max_tokens else 0
    elif max_tokens <= LEAST_BUDGET:
        return _without(request, {"thinking"})
    elif budget >= max_tokens:
        budget = max(LEAST_BUDGET, max_tokens // 2)
    return {**request, "max_tokens": max_tokens, "thinking": {**thinking, "budget_tokens": budget}}


def _keep_context(request: Json) -> Json:
    """Return a request without edits of the context that need thinking."""
    context = as_dict(request.get("context_management"))
    edits = as_list(context.get("edits"))
    kept = [edit for edit in edits if not as_text(as_dict(edit).get("type")).startswith("clear_thinking")]
    return request if kept == edits else {**request, "context_management": {**context, "edits": kept} if kept else None}


def _is_thinking(thinking: Any) -> bool:
    return bool(as_dict(thinking).get("type", "disabled") != "disabled")


def _without(request: Json, names: set[str]) -> Json:
    return {name: value for name, value in request.items() if name not in names}
