"""What a request asks for, estimated before its upstream has counted anything."""

from __future__ import annotations

from typing import NamedTuple

from argoproxy.protocol.limits.limits import Reserve
from argoproxy.protocol.limits.prompt_estimate import bound_prompt, estimate_prompt
from argoproxy.protocol.routing.call import Call

_BOUNDS = ("max_completion_tokens", "max_tokens")
#: Paths whose upstreams do not read `max_output_tokens`.
_COMPLETIONS = ("/v1/chat/completions", "/v1/completions")
_COUNTING, _EMBEDDINGS = "/v1/messages/count_tokens", "/v1/embeddings"


class AskedTokens(NamedTuple):
    """The tokens that a request asks for: its prompt, as estimated and as reserved, and what is reserved for its output
    (None: not known)."""

    prompt: int
    reserved_prompt: int
    output: int | None

    @property
    def total(self) -> int:
        return self.reserved_prompt + (self.output or 0)


#: Of requests that a limit on tokens does not concern.
NO_TOKENS = AskedTokens(0, 0, 0)


def ask_tokens(call: Call, reserve: Reserve, expected: int, max_output: int | None) -> AskedTokens:
    """Return what a call asks for, and which output is reserved for it. `expected` is what an answer usually has at
    most, `max_output` the most that the model answers with."""
    origin = call.origin or call
    if origin.path == _COUNTING or not origin.body:  # asks no model
        return NO_TOKENS
    prompt = estimate_prompt(origin.body)
    reserved = bound_prompt(origin.body) if reserve is Reserve.MAX else prompt
    if origin.path == _EMBEDDINGS:
        return AskedTokens(prompt, reserved, 0)
    bound = _bound_of(call)
    if reserve is Reserve.EXPECTED:
        output: int | None = expected if bound is None else min(bound, expected)
    else:
        output = max_output if bound is None else bound
    return AskedTokens(prompt, reserved, None if output is None else output * call.max_choices)


def _bound_of(call: Call) -> int | None:
    """Return the most tokens that an answer may have, None if the request does not say. Of several bounds the largest
    is taken: which of them an upstream reads is not known."""
    names = _BOUNDS if call.path in _COMPLETIONS else (*_BOUNDS, "max_output_tokens")
    most = -1
    for name in names:
        bound = call.body.get(name)
        if type(bound) is int and bound > most:
            most = bound
    return None if most < 0 else most
