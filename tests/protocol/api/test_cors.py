from __future__ import annotations

import pytest

from argoproxy.errors import OriginNotAllowed
from argoproxy.protocol.api.cors import Cors, is_preflight, without_cors

PAGE = "https://app.example"
SOME = Cors(frozenset((PAGE, "null")))
ALL = Cors(frozenset(("*",)))


@pytest.mark.parametrize(
    ("cors", "origin", "allowed"),
    [
        (SOME, PAGE, PAGE),
        (SOME, "HTTPS://APP.example", "HTTPS://APP.example"),
        (SOME, "null", "null"),
        (SOME, "https://other.example", None),
        (SOME, "https://app.example.evil", None),
        (SOME, "", None),
        (ALL, "https://other.example", "*"),
        (ALL, "", "*"),
    ],
)
def test_which_origin_an_answer_allows(cors: Cors, origin: str, allowed: str | None) -> None:
    headers = dict(cors.headers_for((("Origin", origin),) if origin else ()))
    assert headers.get("Access-Control-Allow-Origin") == allowed
    assert headers["Vary"] == "Origin"
    assert ("X-Logging-Id" in headers.get("Access-Control-Expose-Headers", "")) is (allowed is not None)


def test_a_preflight_is_answered_with_what_it_asks_for() -> None:
    asked = (("Origin", PAGE), ("Access-Control-Request-Method", "POST"))
    wished = ("Access-Control-Request-Headers", "authorization,x-stainless-os")
    headers = dict(SOME.preflight_headers((*asked, wished)))
    assert headers["Access-Control-Allow-Headers"] == "authorization,x-stainless-os"
    assert "POST" in headers["Access-Control-Allow-Methods"]
    assert "Access-Control-Allow-Headers" not in dict(SOME.preflight_headers(asked))
    with pytest.raises(OriginNotAllowed) as caught:
        SOME.preflight_headers((("Origin", "https://other.example"), *asked[1:]))
    assert (caught.value.status, caught.value.code) == (403, "origin_not_allowed")


@pytest.mark.parametrize(
    ("method", "names", "expected"),
    [
        ("OPTIONS", ("Origin", "Access-Control-Request-Method"), True),
        ("OPTIONS", ("Origin",), False),
        ("OPTIONS", ("Access-Control-Request-Method",), False),
        ("POST", ("Origin", "Access-Control-Request-Method"), False),
    ],
)
def test_what_is_a_preflight(method: str, names: tuple[str, ...], expected: bool) -> None:
    assert is_preflight(method, tuple((name, "x") for name in names)) is expected


def test_what_an_upstream_says_of_origins_is_left_out() -> None:
    assert without_cors((("access-control-allow-origin", "*"), ("Vary", "Accept"))) == (("Vary", "Accept"),)
