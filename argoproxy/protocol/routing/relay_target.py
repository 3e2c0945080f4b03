"""Where requests for paths go that the proxy does not handle itself: the model in their JSON body decides."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from argoproxy.protocol.access.allow_list import JSON_LIMIT, check_forwarded
from argoproxy.protocol.http_messages import BytesBody, ClientRequest, get_header, read_up_to
from argoproxy.protocol.json_text import JsonError, as_text, loads
from argoproxy.protocol.routing.call import Call, make_call
from argoproxy.protocol.routing.route import Provider, UpstreamT
from argoproxy.protocol.routing.router import Models

#: Other content types under which clients send JSON: none at all, or that of a form, as `curl -d` does.
_WITH_BODY = ("POST", "PUT", "PATCH")
_MAY_BE_JSON = ("", "application/x-www-form-urlencoded")


def find_relay_target(request: ClientRequest, models: Models[UpstreamT]) -> tuple[ClientRequest, Provider[UpstreamT]]:
    """Return a request for another path as it may be forwarded, and the upstream for the model in its JSON body. Raises
    ModelNotAllowed, PayloadTooLarge."""
    if models.allowed.is_restricted:
        request = check_forwarded(request, models.allowed)
    if models.leads_elsewhere and _may_be_json(request):
        request = replace(request, body=read_up_to(request.body, JSON_LIMIT))
    body = request.body
    if not models.leads_elsewhere or not isinstance(body, BytesBody):
        return request, models.default
    return request, models.provider_of(_model_in(body.text))


def read_relayed_call(request: ClientRequest) -> tuple[ClientRequest, Call]:
    """Return a request for another path, and what it asks of a model as far as its body says it: nothing if its method
    sends no body, no more than that if it is no JSON object that can be kept. Raises what reading raises."""
    if request.method not in _WITH_BODY:
        return request, make_call(request, {}, request.path)
    if _may_be_json(request):
        request = replace(request, body=read_up_to(request.body, JSON_LIMIT))
    body = request.body
    value = _parse(body.text) if isinstance(body, BytesBody) else None
    return request, make_call(request, value if isinstance(value, dict) and value else {"model": ""}, request.path)


def _may_be_json(request: ClientRequest) -> bool:
    kind = get_header(request.headers, "content-type").partition(";")[0].strip().lower()
    is_plain = get_header(request.headers, "content-encoding", "identity").lower() == "identity"
    return is_plain and ("json" in kind or kind in _MAY_BE_JSON)


def _model_in(text: bytes) -> str:
    """Return the model that a JSON object names; "" when there is none."""
    value = _parse(text)
    model = value.get("model") if isinstance(value, dict) else None
    return as_text(model)


def _parse(text: bytes) -> Any:
    try:
        return loads(text) if text[:1] in b" \t\r\n{" else None
    except JsonError:
        return None
