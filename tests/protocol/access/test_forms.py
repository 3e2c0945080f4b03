from __future__ import annotations

import time
from contextlib import suppress

import pytest

from argoproxy.protocol.access.forms import LONGEST_PART_HEAD, MOST_PARTS, Field, FormError, fields_of

FORM = "multipart/form-data; boundary=XX"


def part(head: str, value: str = "m1") -> str:
    return f"--XX\r\n{head}\r\n\r\n{value}\r\n"


def form(*parts: str, end: str = "--XX--\r\n") -> bytes:
    return ("".join(parts) + end).encode("latin-1")


def named(name: str, more: str = "") -> str:
    return f'Content-Disposition: form-data; name="{name}"{more}'


def test_fields_come_in_their_order() -> None:
    body = form(
        part(named("file", '; filename="caf\xe9; name=x.wav"') + "\r\nContent-Type: audio/wav", "a\nb--X\x00"),
        part("content-disposition:form-data;name=model\r\ncontent-type:text/plain; charset=UTF-8", "m1"),
        part(named("empty"), ""),
    )
    assert list(fields_of(body, FORM)) == [Field("file", None), Field("model", b"m1"), Field("empty", b"")]


@pytest.mark.parametrize(
    "content_type",
    [
        "multipart/form-data; boundary=XX",
        ' Multipart/Form-Data;boundary="XX"',
        "multipart/form-data; charset=utf-8; boundary=XX",
        'multipart/form-data; Boundary=XX; charset="UTF-8"',
    ],
)
def test_content_types_of_ordinary_clients(content_type: str) -> None:
    assert list(fields_of(form(part(named("model"))), content_type)) == [Field("model", b"m1")]


@pytest.mark.parametrize(
    "boundary",
    ["----WebKitFormBoundary7MA4YWxkTrZu0gW", "------------------------d74496d66958873e", "dart-http-boundary-x+y._"],
)
def test_boundaries_of_ordinary_clients(boundary: str) -> None:
    body = form(part(named("a")), part(named("model"))).replace(b"XX", boundary.encode())
    assert len(list(fields_of(body, f"multipart/form-data; boundary={boundary}"))) == 2


@pytest.mark.parametrize(
    "head",
    [
        named("model", "; filename*=utf-8''a%20b; filename=\"a b\""),
        named("model") + "\r\nContent-Type: application/json",
        named("model") + "\r\nContent-Type: text/plain; charset=utf-7",
        named("model", "; filename=x"),
    ],
)
def test_a_file_or_another_type_has_no_value(head: str) -> None:
    assert list(fields_of(form(part(head)), FORM)) == [Field("model", None)]


@pytest.mark.parametrize("head", ["Content-Length: 2", "Content-Transfer-Encoding: binary"])
def test_part_heads_of_older_clients(head: str) -> None:
    assert list(fields_of(form(part(f"{named('model')}\r\n{head}")), FORM)) == [Field("model", b"m1")]


def test_the_last_line_break_may_be_missing() -> None:
    assert list(fields_of(form(part(named("model")), end="--XX--"), FORM)) == [Field("model", b"m1")]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"--XX--\r\n",
        b"\r\n" + form(part(named("model"))),
        form(part(named("model")), end=""),
        form(part(named("model")), end="--XX\r\n"),
        form(part(named("model")), end="--XX-\r\n"),
        form(part(named("model")), end="--XX--x"),
        form(part(named("model")), end="--XX --\r\n"),
        form(part(named("model"), "a XX b")),
        form(part(named("model"), "a\n--XX\nb")),
        form(part("")),
        form(part("X-Other: a")),
        form(part(named("model") + "\r\nX-Other: a")),
        form(part("Content-Type: text/plain")),
        form(part("Content-Disposition: attachment; name=model")),
        form(part("Content-Disposition: form-data")),
        form(part(named("model", "; size=5"))),
        form(part(named("model", ";"))),
        form(part(named(""))),
        form(part(named("mod\xe9l"))),
        form(part(named("_charset_"))),
        form(part(named("model") + "\r\nContent-Type: multipart/mixed; boundary=YY")),
        form(part(named("model") + "\r\nContent-Type: message/rfc822")),
        form(part(named("model") + "\r\nContent-Type: text")),
        form(part(named("model") + "\r\nContent-Transfer-Encoding: base64")),
        form(part(named("model") + "\r\nContent-Length: 1")),
        form(part(named("model") + "; name=x")),
        form(part(named("model") + "\r\n" + named("model"))),
        form(part(named("model") + "\r\nContent-Type: text/plain" + " " * LONGEST_PART_HEAD)),
        form(*[part(named("a"))] * (MOST_PARTS + 1)),
    ],
)
def test_a_form_that_is_not_plainly_written_is_refused(body: bytes) -> None:
    with pytest.raises(FormError):
        list(fields_of(body, FORM))


def cpu_s(body: bytes, content_type: str = FORM) -> float:
    begun = time.process_time()
    for _ in range(20):
        with suppress(FormError):
            list(fields_of(body, content_type))
    return time.process_time() - begun


@pytest.mark.parametrize(
    "made",
    [
        lambda size: form(part(named("model"), "-" * size)),
        lambda size: form(part(named("model"), "\r\n--X" * (size // 5))),
        lambda size: form(part("Content-Disposition: form-data" + '; name="a"' * (size // 10))),
        lambda size: form(part(named("model"), " " * size)),
        lambda size: b"--XX\r\n" + b"Content-Type: " + b"a" * size,
    ],
)
def test_reading_a_form_is_linear(made: object) -> None:
    small, large = (cpu_s(made(size)) for size in (100_000, 1_000_000))  # type: ignore[operator]
    assert large < 40 * (small + 0.001), "ten times as much takes about ten times as long"
