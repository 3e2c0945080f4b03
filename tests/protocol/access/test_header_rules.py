from __future__ import annotations

import pytest

from argoproxy.protocol.access.header_rules import (
    request_headers_for_upstream,
    response_headers_for_client,
    response_headers_for_new_body,
)
from argoproxy.protocol.http_messages import drop_unsendable, get_header, without


def names(headers: tuple[tuple[str, str], ...]) -> set[str]:
    return {name for name, _ in headers}


def test_what_goes_up() -> None:
    sent = request_headers_for_upstream(
        (
            ("Host", "door"),
            ("Authorization", "Bearer k"),
            ("Content-Type", "application/json"),
            ("Content-Length", "3"),
            ("Connection", "X-Private, close, Authorization, Content-Type"),
            ("X-Private", "1"),
            ("Keep-Alive", "1"),
            ("TE", "trailers"),
            ("Trailer", "x"),
            ("Transfer-Encoding", "chunked"),
            ("Upgrade", "h2c"),
            ("Proxy-Authorization", "x"),
            ("Proxy-Connection", "x"),
            ("Expect", "100-continue"),
            ("Accept-Encoding", "gzip"),
            ("Cookie", "a=b"),
            ("X-Forwarded-For", "1.2.3.4"),
            ("Forwarded", "x"),
            ("Via", "x"),
            ("CF-Ray", "x"),
            ("X-Upstream-Mode", "stream"),
            ("X-Compatible", "true"),
            ("X-Request-Id", "r"),
            ("OpenAI-Organization", "o"),
            ("traceparent", "t"),
            ("Origin", "http://page"),
            ("X-Original-URL", "/admin"),
            ("X-Rewrite-URL", "/admin"),
            ("X-HTTP-Method-Override", "DELETE"),
            ("X-Method-Override", "DELETE"),
            ("Proxy", "http://evil"),
        )
    )
    assert names(sent) == {
        "Authorization",
        "Content-Type",
        "Cookie",
        "X-Request-Id",
        "OpenAI-Organization",
        "traceparent",
        "Origin",
    }


REPLY = (
    ("Content-Type", "application/json"),
    ("Content-Length", "3"),
    ("Content-Encoding", "gzip"),
    ("ETag", '"x"'),
    ("Date", "now"),
    ("Server", "up"),
    ("Set-Cookie", "a=b"),
    ("Strict-Transport-Security", "x"),
    ("Connection", "X-Hop, keep-alive"),
    ("X-Hop", "1"),
    ("Keep-Alive", "1"),
    ("Retry-After", "5"),
    ("X-RateLimit-Remaining-Requests", "7"),
    ("Vary", "a"),
    ("Vary", "b"),
    ("X-Logging-Id", "theirs"),
    ("X-Split", "a\r\nInjected: b"),
    ("X Odd", "1"),
    ("X-Latin", "caf\xe9"),
)


def test_what_comes_down_with_the_upstreams_own_bytes() -> None:
    passed = response_headers_for_client(drop_unsendable(REPLY))
    assert passed == (
        ("Content-Type", "application/json"),
        ("Content-Length", "3"),
        ("Content-Encoding", "gzip"),
        ("ETag", '"x"'),
        ("Set-Cookie", "a=b"),
        ("Retry-After", "5"),
        ("X-RateLimit-Remaining-Requests", "7"),
        ("Vary", "a"),
        ("Vary", "b"),
        ("X-Latin", "caf\xe9"),
    )


def test_what_comes_down_with_a_body_of_ours() -> None:
    assert names(response_headers_for_new_body(drop_unsendable(REPLY))) == {
        "Content-Type",
        "Set-Cookie",
        "Retry-After",
        "X-RateLimit-Remaining-Requests",
        "Vary",
        "X-Latin",
    }


@pytest.mark.parametrize(("name", "value"), [("retry-after", "5"), ("vary", "a"), ("none", "")])
def test_a_header_is_found_by_its_lower_case_name(name: str, value: str) -> None:
    assert get_header(REPLY, name) == value


def test_fields_are_left_out_by_name() -> None:
    assert without((("A", "1"), ("b", "2")), frozenset(("a",))) == (("b", "2"),)
