"""Outcomes to tell listeners of."""

from __future__ import annotations

from typing import Any

from argoproxy.errors import Ending
from argoproxy.telemetry.outcome import Outcome


def outcome(**changed: Any) -> Outcome:
    """Give the outcome of a chat that went well, but for what is changed."""
    route = changed.get("route", "/v1/chat/completions")
    given: dict[str, Any] = {
        "id": "i",
        "client_request_id": "",
        "method": "POST",
        "route": route,
        "path": route,
        "model": "m1",
        "upstream": "openai",
        "key": "",
        "send_mode": "non_stream",
        "return_mode": "non_stream",
        "status": 200,
        "ending": Ending.COMPLETE,
        "code": None,
        "first_byte_s": 0.3,
        "overhead_s": 0.001,
        "total_s": 2.3,
        "bytes_sent": 100,
        "prompt_tokens": 20,
        "completion_tokens": 5,
    }
    return Outcome(**{**given, **changed})
