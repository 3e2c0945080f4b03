"""`/admin/keys`: manage keys over HTTP, with a key of its own.

GET lists them, POST creates one; below a key's name GET shows it, PATCH changes it, and POST to `rotate` or `disable`
does that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from argoproxy.errors import BadRequest, MethodNotAllowed, NotFound
from argoproxy.protocol.api.endpoints import JSON_TYPE
from argoproxy.protocol.http_messages import ClientRequest, ClientResponse, get_header
from argoproxy.protocol.json_text import Json, JsonError, dumps, loads_strict
from argoproxy.protocol.keys.expiry import parse_duration
from argoproxy.protocol.keys.key_changes import Rotation
from argoproxy.stores.keys.key_admin import KeyAdmin

BODY_LIMIT = 64 * 1024
LONGEST_REQUEST_KEY = 255
_OK, _CREATED = 200, 201
#: Answers hold keys: no cache may keep them.
_HEADERS = (("Content-Type", JSON_TYPE), ("Cache-Control", "no-store"))

Operation = Callable[[ClientRequest, str, KeyAdmin], tuple[int, Json]]


def manage_keys(request: ClientRequest, rest: str, admin: KeyAdmin) -> ClientResponse:
    """Serve a request below /admin/keys; `rest` is the path behind it. Raises ProxyError."""
    name, _, action = rest.rstrip("/").partition("/")
    operations = _OF_A_KEY.get(action) if name else _OF_ALL
    if operations is None:
        raise NotFound("Unknown path. Below /admin/keys there are NAME, NAME/rotate and NAME/disable.")
    if request.method not in operations:
        raise MethodNotAllowed(
            f"This path does not accept {request.method}; use {', '.join(operations)}.", tuple(operations)
        )
    status, document = operations[request.method](request, name, admin)
    return ClientResponse(status, _HEADERS, dumps(document))


def _list(request: ClientRequest, name: str, admin: KeyAdmin) -> tuple[int, Json]:
    return _OK, admin.list_all()


def _create(request: ClientRequest, name: str, admin: KeyAdmin) -> tuple[int, Json]:
    fields = _read_body(request)
    return _CREATED, admin.create(fields.pop("name", None), fields, _request_key(request))


def _show(request: ClientRequest, name: str, admin: KeyAdmin) -> tuple[int, Json]:
    return _OK, admin.show(name)


def _change(request: ClientRequest, name: str, admin: KeyAdmin) -> tuple[int, Json]:
    return _OK, admin.change(name, _read_body(request))


def _disable(request: ClientRequest, name: str, admin: KeyAdmin) -> tuple[int, Json]:
    return _OK, admin.change(name, {"disabled": True})


def _rotate(request: ClientRequest, name: str, admin: KeyAdmin) -> tuple[int, Json]:
    fields = _read_body(request)
    if unknown := fields.keys() - {"overlap", "replace_new"}:
        raise BadRequest("This is not an option of a rotation.", param=min(unknown)[:80])
    try:
        overlap_s = parse_duration(fields.get("overlap", 0))
    except ValueError as error:
        raise BadRequest(f"`overlap` {error}.", param="overlap") from None
    replaces_new = fields.get("replace_new", False)
    if not isinstance(replaces_new, bool):
        raise BadRequest("`replace_new` must be true or false.", param="replace_new")
    return _OK, admin.rotate(name, Rotation(overlap_s, replaces_new), _request_key(request))


_OF_ALL: Mapping[str, Operation] = {"GET": _list, "POST": _create}
_OF_A_KEY: Mapping[str, Mapping[str, Operation]] = {
    "": {"GET": _show, "PATCH": _change},
    "rotate": {"POST": _rotate},
    "disable": {"POST": _disable},
}


def _read_body(request: ClientRequest) -> dict[str, Any]:
    """Return the object that a body holds, {} for an empty one. Raises BadRequest, PayloadTooLarge."""
    text = request.body.read(BODY_LIMIT)
    try:
        body = loads_strict(text) if text.strip() else {}
    except JsonError:
        body = None
    if not isinstance(body, dict):
        raise BadRequest("The body must be a JSON object.")
    return dict(body)


def _request_key(request: ClientRequest) -> str:
    """Return the idempotency key of a request, "" if it has none. Raises BadRequest."""
    key = get_header(request.headers, "idempotency-key")
    if len(key) > LONGEST_REQUEST_KEY:
        raise BadRequest("The header Idempotency-Key is too long.")
    return key
