"""Which models may be asked for, on our routes and in requests that are passed on."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from argoproxy.errors import ModelNotAllowed
from argoproxy.protocol.exchange import ClientRequest, Headers, header
from argoproxy.protocol.json_text import JsonError, dumps, parse

#: A body that is passed on is read for its model up to these sizes.
JSON_LIMIT = 8 * 1024 * 1024
FORM_LIMIT = 32 * 1024 * 1024

_WITHOUT_A_MODEL = re.compile(r"(?:/v1)?/(?:files|uploads|batches)(?:/.*)?")
_BOUNDARY = re.compile(r'multipart/form-data\s*;.*?boundary="?([^";]+)', re.IGNORECASE)
_MODEL_FIELD = re.compile(rb'(?i)^content-disposition:[^\r\n]*[;\s]name="?model"?\s*(?:;|\r?\n|$)', re.MULTILINE)


@dataclass(frozen=True, slots=True)
class AllowList:
    """Names and patterns of the models that may be asked for; all of them where there are none."""

    patterns: Sequence[str] = ()

    def allows(self, name: str) -> bool:
        """Tell whether a model may be asked for by this name."""
        return not self.patterns or any(fnmatchcase(name, pattern) for pattern in self.patterns)

    def check(self, name: str) -> None:
        """Raise ModelNotAllowed for a name that is not allowed."""
        if not self.allows(name):
            raise ModelNotAllowed(f"The model {name!r} is not allowed here.", param="model")


def limit_of(headers: Headers) -> int:
    """Tell how much of a body is to be read to find its model."""
    return FORM_LIMIT if _BOUNDARY.match(header(headers, "content-type")) else JSON_LIMIT


def must_tell_its_model(request: ClientRequest) -> bool:
    """Tell whether a request that is passed on is one for a model."""
    return request.method == "POST" and not _WITHOUT_A_MODEL.fullmatch(request.path.rstrip("/"))


def checked(body: bytes, headers: Headers, allowed: AllowList) -> bytes:
    """Give a body that may be passed on: what was checked is what is sent. Raises ModelNotAllowed, also when no model
    can be told."""
    boundary = _BOUNDARY.match(header(headers, "content-type"))
    if header(headers, "content-encoding", "identity").lower() != "identity":
        raise _untold()
    if boundary:
        names = list(_fields(body, boundary.group(1).strip().encode("latin-1", "replace")))
    else:
        body, names = _of_json(body)
    if not names:
        raise _untold()
    for name in names:
        allowed.check(name)
    return body


def _of_json(text: bytes) -> tuple[bytes, list[str]]:
    try:
        value, exact = parse(text)
    except JsonError:
        raise _untold() from None
    model = value.get("model") if isinstance(value, dict) else None
    return text if exact else dumps(value), [model] if isinstance(model, str) else []


def _fields(body: bytes, boundary: bytes) -> Iterator[str]:
    """Give the values of all parts that call themselves `model`."""
    for part in body.split(b"--" + boundary):
        head, _, value = part.lstrip(b"\r\n").replace(b"\r\n", b"\n").partition(b"\n\n")
        if _MODEL_FIELD.search(head):
            yield value.removesuffix(b"\n").decode("utf-8", "replace")


def _untold() -> ModelNotAllowed:
    return ModelNotAllowed(
        "Only some models are allowed here, and this request does not tell its model.", param="model"
    )
