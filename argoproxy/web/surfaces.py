"""The APIs beside OpenAI's chats, by their paths."""

from __future__ import annotations

from collections.abc import Mapping

from argoproxy.protocol.api.endpoints import CHAT, Endpoint
from argoproxy.protocol.http_messages import Headers, get_header
from argoproxy.protocol.messages.endpoint import MESSAGES
from argoproxy.protocol.responses.responses_endpoint import RESPONSES

#: The endpoint of a path, and of all paths below it.
SURFACES: Mapping[str, Endpoint] = {MESSAGES.path: MESSAGES, RESPONSES.path: RESPONSES}


def find_endpoint(path: str, headers: Headers) -> Endpoint:
    """Return the endpoint in whose shape the clients of a path expect errors, also if the path is not served."""
    path = "/v1/" + path.strip("/").removeprefix("v1").lstrip("/")
    for base, endpoint in SURFACES.items():
        if path == base or path.startswith(base + "/"):
            return endpoint
    if path.startswith("/v1/models") and get_header(headers, "anthropic-version"):
        return MESSAGES
    return CHAT
