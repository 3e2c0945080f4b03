from __future__ import annotations

import json

import pytest

from argoproxy.errors import ModelNotAllowed, ModelUnclear, PayloadTooLarge
from argoproxy.protocol.access.allow_list import FORM_LIMIT, JSON_LIMIT, AllowList, check_forwarded
from argoproxy.protocol.http_messages import BytesBody, ClientRequest, Headers, PartlyReadBody, get_header
from tests.support import evasions
from tests.support.doubles import BodyInPieces

ALLOWED = AllowList(("gpt-4o", "qwen*", evasions.ALLOWED))
LENIENT = AllowList(ALLOWED.patterns, allow_unknown_routes=True)
JSON = (("Content-Type", "application/json"),)
FORM = (("Content-Type", 'multipart/form-data; boundary="XX"'),)


def request(body: bytes, headers: Headers = JSON, target: str = "/v1/responses", method: str = "POST") -> ClientRequest:
    path, _, query = target.partition("?")
    return ClientRequest("id", 1, method, path, query, headers, BodyInPieces(body, length=len(body)))


def sent(body: bytes, headers: Headers = JSON, allowed: AllowList = ALLOWED) -> bytes:
    return b"".join(check_forwarded(request(body, headers), allowed).body.iter_bytes())


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
        (b'{"model": "qwen-x", "model_name": "x"}', ()),
        (form(FILE, MODEL), FORM),
        (form(MODEL.replace('"model"', "model"), FILE), FORM),
    ],
)
@pytest.mark.parametrize("allowed", [ALLOWED, LENIENT])
def test_a_body_with_an_allowed_model_goes_on_as_it_is(body: bytes, headers: Headers, allowed: AllowList) -> None:
    assert sent(body, headers, allowed) == body


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b'{"model": "gpt-4"}', JSON),
        (b'{"model": "gpt-4o", "model": "gpt-4"}', JSON),
        (b'{"model": "gpt-4", "Model": "gpt-4o"}', JSON),
        (form(MODEL.replace("gpt-4o", "gpt-4")), FORM),
        (form(MODEL, MODEL.replace("gpt-4o", "gpt-4")), FORM),
        (form(MODEL, MODEL.replace('name="model"', "NAME=model").replace("gpt-4o", "gpt-4")), FORM),
    ],
)
@pytest.mark.parametrize("allowed", [ALLOWED, LENIENT])
def test_a_body_with_another_model_is_refused(body: bytes, headers: Headers, allowed: AllowList) -> None:
    with pytest.raises(ModelNotAllowed):
        sent(body, headers, allowed)


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b'{"model": 5}', JSON),
        (b"{}", JSON),
        (b"[]", JSON),
        (b"", ()),
        (b"\xff", JSON),
        (b"model=gpt-4o", (("Content-Type", "application/x-www-form-urlencoded"),)),
        (b'{"model": "gpt-4o"}', (*JSON, ("Content-Encoding", "gzip"))),
        (b'{"model": "gpt-4o"}', FORM),
        (form(FILE), FORM),
        (form(MODEL.replace("\r\n", "\n")), FORM),
        (form(MODEL).replace(b"gpt-4o", b"gpt\xff"), FORM),
        (form(MODEL), JSON),
    ],
)
def test_a_body_that_does_not_tell_its_model_is_refused_unless_it_may_be_unknown(body: bytes, headers: Headers) -> None:
    with pytest.raises(ModelUnclear):
        sent(body, headers)
    assert sent(body, headers, LENIENT) == body


@pytest.mark.parametrize(
    "more",
    [
        b'"tools": [{"type": "image_generation", "model": "gpt-4"}]',
        b'"tools": [{"type": "x", "model": ["gpt-4"]}]',
        b'"tools": [{"type": "x", "Model": "gpt-4"}]',
        b'"requests": [{"params": {"model": "gpt-4"}}]',
    ],
)
def test_a_model_within_a_request_is_checked_too(more: bytes) -> None:
    with pytest.raises(ModelNotAllowed):
        sent(b'{"model": "gpt-4o", ' + more + b"}")
    allowed = b'{"model": "gpt-4o", "tools": [{"type": "x", "model": "gpt-4o"}, {"model": null}, 1]}'
    assert sent(allowed) == allowed


def test_what_was_checked_is_what_is_sent() -> None:
    twice = request(b'{"model": "gpt-4", "model": "gpt-4o"}', (*JSON, ("Content-MD5", "x"), ("X-Other", "y")))
    going = check_forwarded(twice, ALLOWED)
    assert (going.body.read(99), going.headers) == (b'{"model":"gpt-4o"}', (*JSON, ("X-Other", "y")))


@pytest.mark.parametrize(
    ("said", "sent"),
    [
        ("application/json", "application/json"),
        ("Application/JSON; charset=UTF-8", "Application/JSON; charset=UTF-8"),
        ("application/x-www-form-urlencoded", "application/json"),
        ("application/json; charset=utf-7", "application/json"),
        ("text/plain", "application/json"),
        ("x; multipart/form-data; boundary=y", "application/json"),
        (None, "application/json"),
    ],
)
def test_what_was_read_as_json_is_sent_as_json(said: str | None, sent: str) -> None:
    """A server that reads `{"model":"gpt-4o","x":"&model=other"}` as a form finds another model."""
    headers = (("Content-Type", said),) if said else ()
    going = check_forwarded(request(b'{"model": "gpt-4o", "x": "&model=other"}', headers), ALLOWED)
    assert [value for name, value in going.headers if name == "Content-Type"] == [sent]
    assert get_header(going.headers, "content-type") == sent


@pytest.mark.parametrize(("content_type", "text"), evasions.FORMS.values(), ids=evasions.FORMS)
def test_no_form_is_forwarded_in_which_another_parser_finds_another_model(content_type: str, text: str) -> None:
    body = text.encode("latin-1")
    try:
        going = check_forwarded(request(body, (("Content-Type", content_type),)), ALLOWED)
    except ModelNotAllowed:
        return
    for parser in (evasions.models_by_werkzeug, evasions.models_by_email):
        found = list(parser(get_header(going.headers, "content-type"), going.body.read(FORM_LIMIT)))
        assert found == [evasions.ALLOWED], parser.__name__


@pytest.mark.parametrize("text", evasions.JSON.values(), ids=evasions.JSON)
def test_no_json_is_forwarded_in_which_another_parser_finds_another_model(text: str) -> None:
    try:
        going = check_forwarded(request(text.encode("utf-8", "surrogatepass")), ALLOWED)
    except ModelNotAllowed:
        return
    pairs = json.loads(going.body.read(JSON_LIMIT), object_pairs_hook=list)
    assert [value for key, value in pairs if key.lower() == "model"] == [evasions.ALLOWED]


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PURGE"])
def test_every_method_must_tell_its_model(method: str) -> None:
    with pytest.raises(ModelUnclear):
        check_forwarded(request(b"", (), "/v1/responses", method), ALLOWED)
    with pytest.raises(ModelNotAllowed, match="'gpt-4'"):
        check_forwarded(request(b'{"model": "gpt-4"}', JSON, "/v1/chat/completions", method), ALLOWED)
    assert check_forwarded(request(b'{"model": "gpt-4o"}', JSON, "/v1/chat/completions", method), ALLOWED)


@pytest.mark.parametrize("target", evasions.TARGETS)
def test_a_path_or_query_that_may_name_a_model_is_refused(target: str) -> None:
    with pytest.raises(ModelUnclear):
        check_forwarded(request(b'{"model": "allowed"}', JSON, target), ALLOWED)
    assert check_forwarded(request(b'{"model": "allowed"}', JSON, target), LENIENT)


@pytest.mark.parametrize(
    "target",
    """/v1/responses /v1/messages/count_tokens /api/chat /v2/rerank /v1beta/x /tokenize /v1/audio/speech/ /x/y
    /openai/v1/responses?api-version=2025-04-01-preview /v1/images/generations?a=b&c""".split(),
)
def test_ordinary_paths_and_queries_pass(target: str) -> None:
    assert check_forwarded(request(b'{"model": "allowed"}', JSON, target), ALLOWED)


@pytest.mark.parametrize(
    "target",
    """/v1/files /files/ /v1/files/file-a1_B/content /v1/uploads/upload_1/parts /v1/batches?limit=2 /batches/b1/cancel
    """.split(),
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_files_uploads_and_batches_need_no_model_and_are_not_read(method: str, target: str) -> None:
    asked = request(b"any", (), target, method)
    assert check_forwarded(asked, ALLOWED) is asked


@pytest.mark.parametrize("path", ["/v1/filesystem", "/v1/Files", "/v2/files", "/v1/files;x", "/v1/files/../x"])
def test_what_only_looks_like_them_needs_a_model(path: str) -> None:
    with pytest.raises(ModelUnclear):
        check_forwarded(request(b"any", (), path), ALLOWED)


@pytest.mark.parametrize(("headers", "limit"), [(JSON, JSON_LIMIT), (FORM, FORM_LIMIT), ((), JSON_LIMIT)])
def test_what_is_too_long_to_look_at_is_413_unless_it_may_be_unknown(headers: Headers, limit: int) -> None:
    long = PartlyReadBody([b"x" * limit], iter([b"x"]), None)
    asked = ClientRequest("id", 1, "POST", "/v1/responses", "", headers, long)
    with pytest.raises(PayloadTooLarge):
        check_forwarded(asked, ALLOWED)
    long = PartlyReadBody([b"x" * limit], iter([b"x"]), None)
    asked = ClientRequest("id", 1, "POST", "/v1/responses", "", headers, long)
    going = check_forwarded(asked, LENIENT)
    assert not isinstance(going.body, BytesBody)
    assert sum(map(len, going.body.iter_bytes())) == limit + 1


@pytest.mark.parametrize("key", ["Model", "models", "MODELS", "model_", "fallbacks", "mod\ud800el", "\uff4dodel"])
def test_a_key_that_may_name_another_model_is_refused_while_there_is_a_list(key: str) -> None:
    with pytest.raises(ModelUnclear):
        ALLOWED.check_others({"model": "allowed", key: "x"}, "")
    AllowList().check_others({"model": "allowed", key: "x"}, "model=x")


def test_a_model_must_be_in_each_list() -> None:
    allowed = AllowList(("a*", "b"), of_caller=(("ab", "b", "c"), ("*b",)))
    assert [name for name in ("a", "ab", "b", "c", "abb") if allowed.allows(name)] == ["ab", "b"]
    assert AllowList(of_caller=(("x",),)).is_restricted
    assert AllowList(of_caller=(("x",),)).allows("x")
    assert not AllowList().is_restricted
