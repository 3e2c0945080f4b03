"""What a request does at a moment, for the console; read from another thread, so nothing is changed."""

from __future__ import annotations

from argoproxy.pipeline.context import RequestContext
from argoproxy.telemetry.live.live_files import OpenRequest
from argoproxy.telemetry.live.live_requests import to_ms


def describe_now(context: RequestContext, now: float) -> OpenRequest:
    """Return what a request does; `now` is in seconds since 1970."""
    meter, account = context.meter, context.account
    elapsed_s = meter.elapsed_s()
    return {
        "id": context.id,
        "at": round(now - elapsed_s, 3),
        "model": context.model_name,
        "sent_model": context.sent_model,
        "upstream": context.upstream_name,
        "key": context.key_name,
        "phase": _find_phase(context),
        "is_stream": context.wants_stream,
        "elapsed_ms": round(1000 * elapsed_s, 1),
        "first_byte_ms": to_ms(meter.first_byte_s),
        "silent_ms": round(1000 * meter.silent_s(), 1),
        "bytes_sent": meter.bytes_sent,
        "tokens": account.meter.peek() if account and account.counts_tokens else None,
    }


def _find_phase(context: RequestContext) -> str:
    if context.meter.first_byte_s is not None:
        return "sent"
    if context.is_queued:
        return "waits"
    if context.has_reply:
        return "answered"
    return "asked" if context.upstream_name else "read"
