"""What is known of a request when it comes in, and what it came to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from argoproxy.errors import Ending


@dataclass(frozen=True, slots=True)
class RequestInfo:
    """What is known of a request when it comes in. `route` is its template, `path` what was asked for."""

    id: str
    client_request_id: str
    method: str
    route: str
    path: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a request came to. Seconds count from its arrival; None where a thing never came or was not told.

    `key` is the name of the caller's key, `return_mode` how a model's answer was asked for (`stream`, `non_stream`),
    `send_mode` how the upstream was; "" where there is none. `overhead_s` is the time to the first byte in which nobody
    was waited for. `reason` and `address` (host:port) tell why no connection to the upstream could be made, and where.
    `upstream_model` is the name that the model was asked by upstream, where that is another one than `model`.
    """

    id: str
    client_request_id: str
    method: str
    route: str
    path: str
    model: str
    upstream: str
    key: str
    send_mode: str
    return_mode: str
    status: int
    ending: Ending
    code: str | None
    first_byte_s: float | None
    overhead_s: float | None
    total_s: float
    bytes_sent: int
    prompt_tokens: int | None
    completion_tokens: int | None
    reason: str = ""
    address: str = ""
    upstream_model: str = ""


Listener = Callable[[Outcome], None]
