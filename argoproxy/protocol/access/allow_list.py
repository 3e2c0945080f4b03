"""Allowed models: the check of requests for the proxy's own paths, and of requests that are forwarded.

A forwarded request can name its model in many places: keys of a body, a form, a query, a path. Common servers and
frameworks read them differently, so a request passes only if all of them would read the model that was checked.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import unquote_plus

from argoproxy.errors import ModelNotAllowed, ModelUnclear
from argoproxy.protocol.access.forms import Field, FormError, fields_of
from argoproxy.protocol.access.header_rules import ENTITY_HEADERS
from argoproxy.protocol.http_messages import BytesBody, ClientRequest, Headers, get_header, read_up_to, without
from argoproxy.protocol.json_text import Json, JsonError, as_dicts, dumps, parse

#: A body that is forwarded is read for its model up to these sizes.
JSON_LIMIT = 8 * 1024 * 1024
FORM_LIMIT = 32 * 1024 * 1024

_JSON_TYPE = ("Content-Type", "application/json")
_JSON_TYPES = frozenset(("application/json", "application/json;charset=utf-8"))
_CONTENT_TYPE = frozenset(("content-type",))


@dataclass(frozen=True, slots=True)
class AllowList:
    """Names and patterns of the models that may be used; none means all. With `allow_unknown_routes` a forwarded
    request also passes if its model is not known. `of_caller` are lists that hold for the caller besides, those of its
    key and its team: a model must be in each."""

    patterns: Sequence[str] = ()
    allow_unknown_routes: bool = False
    of_caller: Sequence[Sequence[str]] = ()

    @property
    def is_restricted(self) -> bool:
        """Whether there are models that may not be used."""
        return bool(self.patterns or self.of_caller)

    def allows(self, name: str) -> bool:
        """Return whether a model may be used under this name."""
        lists = (self.patterns, *self.of_caller) if self.patterns else self.of_caller
        return all(any(fnmatchcase(name, pattern) for pattern in patterns) for patterns in lists)

    def check(self, name: str) -> None:
        """Raise ModelNotAllowed if a model may not be used under this name."""
        if not self.allows(name):
            raise ModelNotAllowed(
                f"The model {name!r} is not allowed here; /v1/models lists those that are.", param="model"
            )

    def check_others(self, keys: Iterable[str], query: str) -> None:
        """Raise ModelUnclear if another key of a body, or the query, may name another model."""
        if not self.is_restricted:
            return
        if (key := other_model_key(keys)) is not None:
            raise _unclear(f"the key {key[:80]!r} may name another model")
        if query and query_names_a_model(query):
            raise _unclear("the query may name another model")

    def check_request(self, body: Json, query: str) -> None:
        """Raise ModelNotAllowed if something other than the key `model` names another model."""
        self.check_others(body, query)
        self._check_tools(body.get("tools"))

    def _check_tools(self, tools: Any) -> None:
        """Raise ModelNotAllowed if a tool that a provider's server runs names a model that may not be used."""
        for tool in as_dicts(tools):
            self.check_others(tool, "")
            model = tool.get("model")
            if isinstance(model, str):
                self.check(model)
            elif model is not None:
                raise _unclear("a tool names its model by something else than a string")


def check_forwarded(request: ClientRequest, allowed: AllowList) -> ClientRequest:
    """Return a request that may be forwarded; its body is exactly what was checked. Raises ModelNotAllowed,
    PayloadTooLarge."""
    if needs_no_model(request.path):
        return request
    if allowed.allow_unknown_routes:
        return _check_if_known(request, allowed)
    if path_may_name_a_model(request.path):
        raise _unclear("this path may name another model")
    allowed.check_others((), request.query)
    return _with_checked_body(request, request.body.read(_limit_of(request.headers)), allowed)


def _check_if_known(request: ClientRequest, allowed: AllowList) -> ClientRequest:
    request = replace(request, body=read_up_to(request.body, _limit_of(request.headers)))
    if not isinstance(request.body, BytesBody):
        return request
    try:
        return _with_checked_body(request, request.body.text, allowed)
    except ModelUnclear:
        return request


def _with_checked_body(request: ClientRequest, text: bytes, allowed: AllowList) -> ClientRequest:
    if get_header(request.headers, "content-encoding", "identity").lower() != "identity":
        raise _unclear("the body is compressed")
    if not _is_multipart(request.headers):
        return _with_checked_json(request, text, allowed)
    _check_form(text, get_header(request.headers, "content-type"), allowed)
    return replace(request, body=BytesBody(text))


def _with_checked_json(request: ClientRequest, text: bytes, allowed: AllowList) -> ClientRequest:
    """Check a JSON object. It is sent with the type of JSON, whatever its client declared: a server that parses it as a
    form, or in another charset, would find other fields."""
    try:
        value, exact = parse(text)
    except JsonError:
        raise _unclear("the body is neither JSON nor a form") from None
    model = value.get("model") if isinstance(value, dict) else None
    if not isinstance(model, str):
        raise _unclear("the body does not name its model")
    allowed.check(model)
    allowed.check_request(value, "")
    headers = request.headers
    if not exact:
        text, headers = dumps(value), without(headers, ENTITY_HEADERS)
    if get_header(headers, "content-type").lower().replace(" ", "") not in _JSON_TYPES:
        headers = (*without(headers, _CONTENT_TYPE), _JSON_TYPE)
    return replace(request, headers=headers, body=BytesBody(text))


def _check_form(body: bytes, content_type: str, allowed: AllowList) -> None:
    try:
        fields = list(fields_of(body, content_type))
    except FormError as error:
        raise _unclear(str(error)) from None
    models = [_text_of(field) for field in fields if field.name == "model"]
    if not models:
        raise _unclear("the form does not name its model")
    for model in models:
        allowed.check(model)
    allowed.check_others((field.name for field in fields), "")


def _text_of(field: Field) -> str:
    if field.value is None:
        raise _unclear("the model's name is not plain text")
    try:
        return field.value.decode("utf-8")
    except UnicodeDecodeError:
        raise _unclear("the model's name is not UTF-8") from None


def _is_multipart(headers: Headers) -> bool:
    return get_header(headers, "content-type").strip().lower().startswith("multipart/")


def _limit_of(headers: Headers) -> int:
    return FORM_LIMIT if _is_multipart(headers) else JSON_LIMIT


def _unclear(reason: str) -> ModelUnclear:
    return ModelUnclear(
        f"Only some models are allowed here, and the model of this request is not certain: {reason}.", param="model"
    )


#: Keys of a body that name models: `models` and `fallbacks` are lists of further ones (OpenRouter, LiteLLM, Anthropic),
#: `requests` is a list of whole requests (Anthropic's batches), and servers that match keys without regard to case
#: (Go's encoding/json) read `Model` as `model`.
_KEYS = frozenset(("model", "models", "modellist", "fallbacks", "requests"))
_QUERY_WORDS = ("model", "deployment", "engine")
#: Segments that are followed by a model's name: Azure, OpenAI's old engines, Gemini, Bedrock, Hugging Face.
_PATH_WORDS = frozenset(("model", "models", "deployment", "deployments", "engine", "engines"))
#: Words and versions. Names of models have digits, dots or colons nearly always, ids of things too.
_PLAIN_PATH = re.compile(r"(?:/(?:v\d{1,4}(?:(?:alpha|beta)\d{0,4})?|[A-Za-z][A-Za-z_-]*))+/?")
_WITHOUT_A_MODEL = re.compile(r"(?:/v1)?/(?:files|uploads|batches)(?:/[A-Za-z0-9_-]+)*/?")


def needs_no_model(path: str) -> bool:
    """Whether a path is one of files, uploads or batches, plainly written."""
    return bool(_WITHOUT_A_MODEL.fullmatch(path))


def other_model_key(keys: Iterable[str]) -> str | None:
    """Return the first key that could name a model and is not `model` itself."""
    return next((key for key in keys if key != "model" and _normalize(key.partition("[")[0]) in _KEYS), None)


def path_may_name_a_model(path: str) -> bool:
    """Whether a path names a model, or has segments that are no plain words and could be one."""
    return not _PLAIN_PATH.fullmatch(path) or not _PATH_WORDS.isdisjoint(path.lower().split("/"))


def query_names_a_model(query: str) -> bool:
    """Whether a parameter of a query is called like a model."""
    names = (_normalize(_decode(part.partition("=")[0])) for part in re.split("[&;]", query))
    return any(word in name for name in names for word in _QUERY_WORDS)


def _normalize(name: str) -> str:
    """Return a name without case, separators and invisible characters."""
    return "".join(filter(str.isalnum, unicodedata.normalize("NFKC", name).casefold()))


def _decode(text: str) -> str:
    """Return a text without its escapes; some servers decode twice."""
    return unquote_plus(unquote_plus(text))
