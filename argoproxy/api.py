"""The public interface for plug-ins: upstreams, authenticators, request signers and listeners of your own.

Import everything from here, `from argoproxy.api import Call, Document`, and nothing from other modules of the package:
those may change in any release, while the names in `__all__` follow semantic versioning. docs/extending.md explains
every name, with examples.
"""

from __future__ import annotations

from argoproxy.errors import (
    AuthenticationError,
    BadRequest,
    ClientGone,
    Ending,
    MethodNotAllowed,
    NotFound,
    PayloadTooLarge,
    ProxyError,
    UpstreamProtocolError,
    UpstreamStatus,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from argoproxy.protocol.access.auth import Authenticator, Principal
from argoproxy.protocol.http_messages import Body, BytesBody, ClientRequest, Headers, get_header
from argoproxy.protocol.json_text import Json, JsonError, dumps, loads, loads_strict
from argoproxy.protocol.routing.call import Call, make_call
from argoproxy.protocol.stream.assembly import assemble_completion
from argoproxy.protocol.stream.chunks import choice_index, is_completion, iterate_choices, split_completion
from argoproxy.protocol.stream.filters import Filter, apply_filters
from argoproxy.protocol.stream.sse import (
    DONE,
    Batch,
    Document,
    Event,
    EventDecoder,
    check_reply_size,
    decode_events,
    encode_json,
    event_data,
    is_done,
)
from argoproxy.telemetry.outcome import Listener, Outcome
from argoproxy.upstreams import Reply, UpstreamRequest
from argoproxy.upstreams.base import BaseUpstream
from argoproxy.upstreams.base_url import BaseUrl, validate_path
from argoproxy.upstreams.error_replies import error_from_reply, error_in_success, loads_or_none, refuses_mode
from argoproxy.upstreams.openai import OpenAIUpstream

__all__ = [
    "DONE",
    "AuthenticationError",
    "Authenticator",
    "BadRequest",
    "BaseUpstream",
    "BaseUrl",
    "Batch",
    "Body",
    "BytesBody",
    "Call",
    "ClientGone",
    "ClientRequest",
    "Document",
    "Ending",
    "Event",
    "EventDecoder",
    "Filter",
    "Headers",
    "Json",
    "JsonError",
    "Listener",
    "MethodNotAllowed",
    "NotFound",
    "OpenAIUpstream",
    "Outcome",
    "PayloadTooLarge",
    "Principal",
    "ProxyError",
    "Reply",
    "UpstreamProtocolError",
    "UpstreamRequest",
    "UpstreamStatus",
    "UpstreamTimeout",
    "UpstreamUnreachable",
    "apply_filters",
    "assemble_completion",
    "check_reply_size",
    "choice_index",
    "decode_events",
    "dumps",
    "encode_json",
    "error_from_reply",
    "error_in_success",
    "event_data",
    "get_header",
    "is_completion",
    "is_done",
    "iterate_choices",
    "loads",
    "loads_or_none",
    "loads_strict",
    "make_call",
    "refuses_mode",
    "split_completion",
    "validate_path",
]
