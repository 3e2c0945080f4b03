"""One client request, parsed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from sys import float_info
from typing import Any

from argoproxy.errors import BadRequest
from argoproxy.protocol.http_messages import ClientRequest, Headers, get_header
from argoproxy.protocol.json_edit import edit_json, is_same_json
from argoproxy.protocol.json_text import Json, JsonError, TooManyValues, as_dict, as_text, dumps, kind_of, parse
from argoproxy.protocol.reasoning.makers import keep_readable
from argoproxy.protocol.routing.frozen_copies import copy_with

#: No model has as long a name; patterns, logs and labels would all have to read it.
LONGEST_MODEL = 1000

_SAME_NAMES = nullcontext()


# Without slots: it is copied by copy_with.
@dataclass(frozen=True)
class Call:
    """A parsed request for a model.

    `body` is the JSON object to send on; never change it, make a copy with `with_body`. `raw` are the client's bytes;
    None if they can't be sent on, because they are not exactly this JSON. `original_body` is what `raw` holds; None as
    long as `body` is that. `requested_model` is the name that the client used, whatever a rule made of it; `caller` the
    name of the client's key or principal, "" if there is none. `origin` is the request as the client made it,
    if that is of another API than chats: this call was converted from it, without the fields and items at the places
    named in `left_out`. `field_names` are pairs of a field of this call and what it was in the origin.
    """

    id: str
    created: int
    path: str
    query: str
    headers: Headers
    body: Json
    raw: bytes | None
    original_body: Json | None = None
    timeout_s: float | None = None
    requested_model: str = ""
    caller: str = ""
    origin: Call | None = None
    left_out: Sequence[str] = ()
    field_names: Sequence[tuple[str, str]] = ()

    @property
    def model(self) -> str:
        """The name of the model; "" if it is missing or not a string."""
        model = self.body.get("model")
        return as_text(model)

    @property
    def asked(self) -> str:
        """The name of `requested_model` before `argoproxy.api` existed."""
        return self.requested_model

    @property
    def stream(self) -> bool:
        """Whether the upstream is to send a stream."""
        return self.body.get("stream") is True

    @property
    def wants_document(self) -> bool:
        """Whether the client wants one document, however the upstream is called."""
        body = self.body if self.original_body is None else self.original_body
        return body.get("stream") is not True

    @property
    def include_usage(self) -> bool:
        """Whether a stream is to end with a chunk that holds the usage."""
        body = self.body
        return "stream_options" in body and as_dict(body["stream_options"]).get("include_usage") is True

    @property
    def max_choices(self) -> int:
        """The highest number of choices in the reply: `n`, times the number of prompts of a legacy completion."""
        body = self.body
        if "n" not in body and "prompt" not in body:
            return 1
        n, prompt = body.get("n"), body.get("prompt")
        prompts = len(prompt) if isinstance(prompt, list) and not _is_tokens(prompt) else 1
        return max(1, n if isinstance(n, int) else 1) * max(1, prompts)

    def for_model(self, model: str) -> Call:
        """Return this call for a model, if the client named none."""
        return replace(self.with_body({**self.body, "model": model}), requested_model=model)

    def for_upstream(self, name: str) -> Call:
        """Return this call, which was converted, without what of its thoughts only another upstream can read."""
        body, left_out = keep_readable(self.body, name)
        return replace(self.with_body(body), left_out=(*self.left_out, *left_out))

    def name_client_fields(self) -> AbstractContextManager[None]:
        """Change a BadRequest about this call so that it names the field of its origin: all that the client knows."""
        return self._rename_fields() if self.field_names else _SAME_NAMES

    @contextmanager
    def _rename_fields(self) -> Iterator[None]:
        try:
            yield
        except BadRequest as error:
            for ours, theirs in self.field_names:
                if error.param and re.match(rf"{ours}(?![a-z_])", error.param):
                    error.message = error.message.replace(error.param, theirs).replace(f"`{ours}`", f"`{theirs}`")
                    error.param = theirs
                    break
            raise

    def with_body(self, body: Json) -> Call:
        """Return a call with another body; this very call if the body is the same."""
        return self if is_same_json(body, self.body) else change_body(self, body)

    def payload(self) -> bytes:
        """Return the bytes to send: the client's own, edited in place where `body` differs. Raises BadRequest."""
        try:
            if self.raw is None:
                return dumps(self.body)
            return self.raw if self.original_body is None else edit_json(self.raw, self.original_body, self.body)
        except JsonError as error:
            raise BadRequest(f"The changed request body can't be encoded: {error}.") from None


def parse_call(request: ClientRequest, text: bytes, path: str) -> Call:
    """Parse a body that must be a JSON object; its `timeout`, meant for us, is taken out. Raises BadRequest."""
    try:
        body, exact = parse(text)
    except TooManyValues as error:
        raise BadRequest(f"The request body is too complex: {error}.") from None
    except JsonError as error:
        raise BadRequest(f"The request body is not valid JSON: {error}.") from None
    if not isinstance(body, dict):
        raise BadRequest(f"The request body must be a JSON object, not {kind_of(body)}.")
    call = make_call(request, body, path, text if exact else None)
    if len(call.requested_model) > LONGEST_MODEL:
        raise BadRequest(f"`model` is longer than {LONGEST_MODEL} characters.", param="model")
    return _with_timeout(call) if "timeout" in body else call


def make_call(request: ClientRequest, body: Json, path: str, raw: bytes | None = None) -> Call:
    """Return a call with the head of a request and the given body."""
    return Call(
        id=request.id,
        created=request.created,
        path=path,
        query=request.query,
        headers=request.headers,
        body=body,
        raw=raw,
        requested_model=as_text(body.get("model")),
        caller=request.caller,
    )


def change_body(call: Call, body: Json) -> Call:
    """Return a call with another body, which is known to differ."""
    return copy_with(call, body=body, original_body=call.body if call.original_body is None else call.original_body)


def _with_timeout(call: Call) -> Call:
    timeout_s = call.body["timeout"]
    is_number = isinstance(timeout_s, int | float) and not isinstance(timeout_s, bool)
    if not is_number or not 0 < timeout_s <= float_info.max:
        raise BadRequest("`timeout` must be a number of seconds greater than 0.", param="timeout")
    body = {key: value for key, value in call.body.items() if key != "timeout"}
    return replace(call.with_body(body), timeout_s=float(timeout_s))


def _is_tokens(prompt: list[Any]) -> bool:
    return bool(prompt) and isinstance(prompt[0], int)


_BEARER = re.compile(r"^bearer(\s+|$)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Identity:
    """The user in whose name an upstream is asked: `user` is the configured name; with `passes_callers` the caller, if
    it is known, by the name of its key or else by the key itself."""

    user: str = ""
    passes_callers: bool = False

    def user_for(self, call: Call) -> str:
        """Return the user of a call, "" if none is known."""
        return self.caller_of(call) or self.user

    def caller_of(self, call: Call) -> str:
        """Return the name of the caller, where that counts: keys come in Authorization, X-API-Key or API-Key."""
        keys = (get_header(call.headers, name).strip() for name in ("authorization", "x-api-key", "api-key"))
        names = (_BEARER.sub("", key, count=1) for key in keys)
        return next(filter(None, (call.caller, *names)), "") if self.passes_callers else ""
