"""What is known of a request when it arrives, and its outcome."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from argoproxy.errors import Ending
from argoproxy.protocol.json_text import Json


@dataclass(frozen=True, slots=True)
class RequestInfo:
    """What is known of a request when it arrives. `route` is the template of its path, `path` the path itself."""

    id: str
    client_request_id: str
    method: str
    route: str
    path: str


class AttemptSummary(NamedTuple):
    """What became of one attempt: its upstream, the kind of its failure ("" for the one that the answer is from), and
    how long it took."""

    upstream: str
    failure: str
    seconds: float

    def __str__(self) -> str:
        return f"{self.upstream}:{self.failure or 'ok'}:{1000 * self.seconds:.0f}ms"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a request ended. Seconds count from its arrival; None stands for what did not happen or is not known.

    `key` is the name of the caller's key. `return_mode` is how the client wanted its answer (`stream`, `non_stream`),
    `send_mode` how the upstream was asked; "" if no model was. `overhead_s` is the part of the time to the first byte
    in which neither the client nor the upstream, nor a place there, was waited for.
    `code` is that of the error the client got. `reason`
    and `address` (host:port) say why no connection to the upstream could be made, and where to. `upstream_model` is
    the model's name upstream, if it is another one than `model`. `attempts` are those to have a
    chat or an embedding answered that failed, and the one that brought an answer.
    `queue_s` is how long the request waited for a place at an upstream, if it did. `cost_nanos` is what it cost, in
    billionths of the currency of the prices; `unpriced` is why that is not known where prices are used: "model" has no
    price, or there was no "usage". `cache` is what the cache did (`hit`, `miss`, `bypass`), "" where there is none; the
    tokens of a hit are those of the kept answer: no upstream was asked. `limit` names the limit that refused the
    request: `key.rpm`. `trace_id` is the trace that it belongs to, where traces are sent or lines of the log are JSON.
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
    attempts: tuple[AttemptSummary, ...] = ()
    queue_s: float | None = None
    cost_nanos: int | None = None
    unpriced: str = ""
    cache: str = ""
    limit: str = ""
    trace_id: str = ""


Listener = Callable[[Outcome], None]


def read_count(usage: Json, name: str) -> int | None:
    """Return a number of tokens, None if it is missing or no number."""
    value = usage.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else None
