"""Paths that are ours, for upstreams behind which there are no others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NoReturn

from argoproxy.errors import MethodNotAllowed, NotFound
from argoproxy.protocol.http_messages import ClientRequest
from argoproxy.upstreams.base_url import checked_path

SERVED: Mapping[str, str] = {
    "/v1/chat/completions": "POST",
    "/v1/completions": "POST",
    "/v1/embeddings": "POST",
    "/v1/models": "GET",
}


def refuse(request: ClientRequest, serves: Mapping[str, str] = SERVED) -> NoReturn:
    """Say that nothing stands behind a path. Raises MethodNotAllowed for one that is served, else NotFound."""
    path = "/v1/" + checked_path(request.path).strip("/").removeprefix("v1").strip("/")
    known = "/v1/models" if path.startswith("/v1/models/") else path
    if known in serves:
        allowed = serves[known]
        raise MethodNotAllowed(f"{request.method} is not served here; {allowed} is.", (allowed,))
    served = ", ".join(f"{method} {path}" for path, method in serves.items())
    raise NotFound(f"There is no such path here. Served are {served}.")
