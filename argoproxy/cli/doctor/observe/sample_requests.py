"""What upstreams are asked: short chats, and lists of models."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from argoproxy.protocol.http_messages import BytesBody, ClientRequest
from argoproxy.protocol.routing.call import Call, make_call

CHAT = "/v1/chat/completions"
MODELS_REQUEST = ClientRequest("doctor", 0, "GET", "/v1/models", "", (), BytesBody(b""))
#: Paths beside chats that are asked for with an empty body.
SURFACES = ("/v1/completions", "/v1/embeddings", "/v1/responses", "/v1/messages")
WHOLE = {"messages": [{"role": "user", "content": "Say hello in one word."}], "max_tokens": 16}
STREAM = {
    "messages": [{"role": "user", "content": "Count from 1 to 30, with a comma and a space between the numbers."}],
    "max_tokens": 400,
    "stream": True,
}
TOOLS = {
    "messages": [{"role": "user", "content": "What time is it in Paris? Use the function."}],
    "max_tokens": 200,
    "tools": [
        {
            "type": "function",
            "function": {
                "name": "get_time",
                "description": "Return the current time in a city",
                "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
            },
        }
    ],
    "tool_choice": "required",
}


def make_chat(model: str, body: Mapping[str, Any]) -> Call:
    """Return a call for a model, with this body."""
    request = replace(MODELS_REQUEST, method="POST", path=CHAT)
    full = {"model": model, **body}
    return make_call(request, full, CHAT, json.dumps(full).encode())
