"""Kinds of failures, and what follows from each: every row of the table."""

from __future__ import annotations

import json

import pytest

from argoproxy.errors import (
    AuthenticationError,
    BadRequest,
    ConnectTimeout,
    InternalError,
    PluginFailed,
    ProxyError,
    Stopping,
    UpstreamProtocolError,
    UpstreamsLimited,
    UpstreamStatus,
    UpstreamsUnavailable,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from argoproxy.protocol.resilience.failures import (
    CONSEQUENCES,
    DEFAULT_FALLBACK_ON,
    Again,
    Elsewhere,
    FailureKind,
    classify,
    falls_back,
    is_worth_repeating,
)


def reply(status: int, **error: object) -> UpstreamStatus:
    return UpstreamStatus(status, (), json.dumps({"error": {"message": "no", **error}}).encode())


KINDS: list[tuple[ProxyError, FailureKind]] = [
    (UpstreamUnreachable("refused"), FailureKind.CONNECT),
    (UpstreamUnreachable("tls", code="tls_failed"), FailureKind.CONNECT),
    (ConnectTimeout("late"), FailureKind.CONNECT),
    (UpstreamTimeout("silent", code="first_byte_timeout"), FailureKind.TIMEOUT),
    (UpstreamTimeout("silent", code="idle_timeout"), FailureKind.TIMEOUT),
    (UpstreamProtocolError("cut", code="upstream_disconnected"), FailureKind.BROKEN),
    (reply(429), FailureKind.RATE_LIMITED),
    (reply(429, code="context_length_exceeded"), FailureKind.RATE_LIMITED),
    (reply(503), FailureKind.OVERLOADED),
    (reply(529), FailureKind.OVERLOADED),
    (reply(500), FailureKind.SERVER_ERROR),
    (reply(501), FailureKind.SERVER_ERROR),
    (reply(502), FailureKind.SERVER_ERROR),
    (reply(504), FailureKind.SERVER_ERROR),
    (reply(401), FailureKind.CREDENTIALS),
    (reply(402), FailureKind.CREDENTIALS),
    (reply(403), FailureKind.CREDENTIALS),
    (reply(400, code="context_length_exceeded"), FailureKind.CONTEXT_LENGTH),
    (reply(400, type="exceed_context_size_error"), FailureKind.CONTEXT_LENGTH),
    (reply(500, message="the request exceeds the available context size."), FailureKind.CONTEXT_LENGTH),
    (reply(400, code="content_filter"), FailureKind.CONTENT_POLICY),
    (reply(400, code="content_policy_violation"), FailureKind.CONTENT_POLICY),
    (reply(400), FailureKind.REFUSED),
    (reply(404, code="model_not_found"), FailureKind.REFUSED),
    (reply(408), FailureKind.REFUSED),
    (reply(409), FailureKind.REFUSED),
    (reply(422), FailureKind.REFUSED),
    (UpstreamStatus(302, (), b""), FailureKind.REFUSED),
    (BadRequest("wrong"), FailureKind.REFUSED),
    (AuthenticationError("who"), FailureKind.REFUSED),
    (PluginFailed("bug"), FailureKind.REFUSED),
    (InternalError("bug"), FailureKind.REFUSED),
    (Stopping("bye"), FailureKind.REFUSED),
    (UpstreamsUnavailable("all", 1), FailureKind.REFUSED),
    (UpstreamsLimited("all", 1), FailureKind.REFUSED),
]


@pytest.mark.parametrize(("error", "kind"), KINDS, ids=lambda value: str(getattr(value, "status", value)))
def test_each_error_is_of_one_kind(error: ProxyError, kind: FailureKind) -> None:
    assert classify(error) is kind


@pytest.mark.parametrize(("error", "kind"), KINDS, ids=lambda value: str(getattr(value, "status", value)))
def test_the_next_upstream_is_tried_where_a_failure_may_pass(error: ProxyError, kind: FailureKind) -> None:
    passing = (FailureKind.CONNECT, FailureKind.TIMEOUT, FailureKind.BROKEN, FailureKind.RATE_LIMITED)
    servers = (FailureKind.OVERLOADED, FailureKind.SERVER_ERROR)
    expected = kind in passing or (kind in servers and error.status != 501)
    assert falls_back(error, kind, DEFAULT_FALLBACK_ON) is expected
    assert not falls_back(error, kind, ())


def test_retry_4xx() -> None:
    """What a client did wrong stays wrong, unless the operator lists it."""
    for status in (400, 401, 402, 403, 404, 408, 409, 413, 422):
        error = reply(status)
        kind = classify(error)
        assert CONSEQUENCES[kind].again is Again.NEVER
        assert not falls_back(error, kind, DEFAULT_FALLBACK_ON)
        assert falls_back(error, kind, (str(status),))


def test_a_refusal_of_the_proxy_is_final_whatever_is_listed() -> None:
    error = BadRequest("wrong")
    assert not falls_back(error, classify(error), ("400", "connect", "timeout", "broken", "content_policy"))


def test_fallback_around_refusal() -> None:
    """A spare is not asked for what a provider's policy refused, unless the operator wants that."""
    error = reply(400, code="content_filter")
    assert not falls_back(error, classify(error), (*DEFAULT_FALLBACK_ON, "400"))
    assert falls_back(error, classify(error), ("content_policy",))


def test_a_prompt_that_is_too_long_goes_to_a_larger_model_only() -> None:
    error = reply(400, code="context_length_exceeded")
    assert CONSEQUENCES[classify(error)].elsewhere is Elsewhere.LARGER_CONTEXT
    assert not falls_back(error, classify(error), ("400",))


def test_nothing_is_tried_when_the_total_time_is_over() -> None:
    error = UpstreamTimeout("over", code="total_timeout")
    assert not falls_back(error, classify(error), DEFAULT_FALLBACK_ON)


def test_only_a_connection_that_may_be_made_in_a_moment_is_repeated() -> None:
    assert is_worth_repeating(UpstreamUnreachable("refused"))
    assert not is_worth_repeating(UpstreamUnreachable("wrong", code="tls_verification_failed"))
    assert not is_worth_repeating(ConnectTimeout("late"))


def test_the_table_has_each_kind() -> None:
    assert list(CONSEQUENCES) == list(FailureKind)


WORDS = [
    "This model's maximum context length is 8192 tokens. However, your messages resulted in 8545 tokens.",
    "Your input exceeds the context window of this model. Please adjust your input and try again.",
    "The decoder prompt (length 5000) is longer than the maximum model length of 4096.",
    "request (4390 tokens) exceeds the available context size (4096 tokens), try increasing it",
    "Context size has been exceeded.",
    "Requested tokens (2285) exceed context window of 2048",
    "the input length exceeds the context length",
    "prompt too long; exceeded max context length by 12 tokens",
    "The number of tokens to keep from the initial prompt is greater than the context length.",
    "The input (61709 tokens) is longer than the model's context length (40960 tokens).",
    "Input length (160062 tokens) exceeds the maximum allowed length (59862 tokens).",
    "Requested token count exceeds the model's maximum context length of 8192 tokens.",
    "prompt is too long: 208310 tokens > 200000 maximum",
    "input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000",
    "<400> InternalError.Algo.InvalidParameter: Range of input length should be [1, 30720]",
    "The input token count (1196265) exceeds the maximum number of tokens allowed (1048575).",
    "This model's maximum prompt length is 131072 but the request contains 537812 tokens.",
    "Please reduce the length of the messages or completion.",
    "`inputs` tokens + `max_new_tokens` must be <= 4096. Given: 5000 `inputs` tokens and 20 `max_new_tokens`",
    "Prompt contains 40000 tokens, too large for model with 32768 maximum context length",
]


@pytest.mark.parametrize("message", WORDS)
def test_context_words(message: str) -> None:
    """Each server has words of its own for a prompt that is too long, and a place of its own for them."""
    bodies = [{"error": {"message": message}}, {"error": message}, {"object": "error", "message": message}]
    for body in bodies:
        assert classify(UpstreamStatus(400, (), json.dumps(body).encode())) is FailureKind.CONTEXT_LENGTH
    assert classify(UpstreamStatus(400, (), message.encode())) is FailureKind.CONTEXT_LENGTH


@pytest.mark.parametrize(
    "message", ["Unsupported parameter: 'max_tokens'", "Invalid context", "string too long", "max_tokens is too large"]
)
def test_other_words_are_no_prompt_that_is_too_long(message: str) -> None:
    assert classify(reply(400, message=message)) is FailureKind.REFUSED
