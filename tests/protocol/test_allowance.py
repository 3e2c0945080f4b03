from __future__ import annotations

import pytest

from argoproxy.errors import ModelNotAllowed
from argoproxy.protocol.allowance import FORM_LIMIT, JSON_LIMIT, AllowList, checked, limit_of, must_tell_its_model
from argoproxy.protocol.exchange import ClientRequest, ReadBody

ALLOWED = AllowList(("gpt-4o", "qwen*"))
JSON = (("Content-Type", "application/json"),)
FORM = (("Content-Type", 'multipart/form-data; boundary="XX"'),)


@pytest.mark.parametrize(
    ("name", "is_allowed"), [("gpt-4o", True), ("qwen3", True), ("gpt-4", False), ("GPT-4o", False), ("", False)]
)
def test_names_and_patterns(name: str, is_allowed: bool) -> None:
    assert ALLOWED.allows(name) is is_allowed
    assert AllowList().allows(name)


def test_who_asks_for_another_is_told_its_name() -> None:
    with pytest.raises(ModelNotAllowed, match="'gpt-4'") as caught:
        ALLOWED.check("gpt-4")
    assert (caught.value.status, caught.value.code, caught.value.param) == (403, "model_not_allowed", "model")


def form(*parts: str) -> bytes:
    return ("".join(f"--XX\r\n{part}\r\n" for part in parts) + "--XX--\r\n").encode()


MODEL = 'Content-Disposition: form-data; name="model"\r\n\r\ngpt-4o'
FILE = (
    'Content-Disposition: form-data; name="file"; filename="model"\r\nContent-Type: audio/x\r\n\r\n'
    '\x00name="model"\r\n\r\nx'
)


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b'{"model": "gpt-4o", "input": 1.50}', JSON),
        (b'{"model": "qwen-x"}', ()),
        (form(FILE, MODEL), FORM),
        (form(MODEL.replace('"model"', "model"), FILE), FORM),
        (form(MODEL.replace("\r\n", "\n")), FORM),
    ],
)
def test_a_body_with_an_allowed_model_goes_on_as_it_is(body: bytes, headers: tuple[tuple[str, str], ...]) -> None:
    assert checked(body, headers, ALLOWED) == body


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b'{"model": "gpt-4"}', JSON),
        (b'{"model": "gpt-4o", "model": "gpt-4"}', JSON),
        (b'{"model": 5}', JSON),
        (b"{}", JSON),
        (b"[]", JSON),
        (b"", ()),
        (b"model=gpt-4o", (("Content-Type", "application/x-www-form-urlencoded"),)),
        (b'{"model": "gpt-4o"}', (*JSON, ("Content-Encoding", "gzip"))),
        (form(FILE), FORM),
        (form(MODEL.replace("gpt-4o", "gpt-4")), FORM),
        (form(MODEL, MODEL.replace("gpt-4o", "gpt-4")), FORM),
        (form(MODEL, MODEL.replace('name="model"', "NAME=model").replace("gpt-4o", "gpt-4")), FORM),
    ],
)
def test_any_other_body_is_refused(body: bytes, headers: tuple[tuple[str, str], ...]) -> None:
    with pytest.raises(ModelNotAllowed):
        checked(body, headers, ALLOWED)


def test_what_was_checked_is_what_is_sent() -> None:
    assert checked(b'{"model": "gpt-4", "model": "gpt-4o"}', JSON, ALLOWED) == b'{"model":"gpt-4o"}'


@pytest.mark.parametrize(
    ("method", "path", "must"),
    [
        ("POST", "/v1/responses", True),
        ("POST", "/anything", True),
        ("GET", "/v1/responses", False),
        ("DELETE", "/v1/responses/1", False),
        ("POST", "/v1/files", False),
        ("POST", "/files/", False),
        ("POST", "/v1/uploads/1/parts", False),
        ("POST", "/v1/batches", False),
        ("POST", "/v1/filesystem", True),
        ("POST", "/v2/files", True),
    ],
)
def test_which_requests_must_tell_their_model(method: str, path: str, must: bool) -> None:
    assert must_tell_its_model(ClientRequest("id", 1, method, path, "", (), ReadBody(b""))) is must


def test_how_much_is_read() -> None:
    assert (limit_of(JSON), limit_of(FORM), limit_of(())) == (JSON_LIMIT, FORM_LIMIT, JSON_LIMIT)
    body = ReadBody(b"abc")
    assert (body.length, body.read(1), list(body.pieces())) == (3, b"abc", [b"abc"])
