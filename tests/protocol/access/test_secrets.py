from __future__ import annotations

from base64 import b64encode
from typing import Any

import pytest

from argoproxy.protocol.access.secrets import (
    Secret,
    credentials_in_body,
    credentials_in_query,
    drop_credentials,
    drop_secrets,
    is_key_name,
    is_secret_name,
    secrets_in_header,
    secrets_in_options,
    secrets_in_query,
    secrets_in_url,
)


def basic(text: str) -> str:
    return b64encode(text.encode()).decode()


def test_a_secret_is_shown_only_by_its_text() -> None:
    secret = Secret("sk-123456")
    assert f"{secret} {secret!r} {[secret]}" == "*** *** [***]"
    assert secret.text == "sk-123456"


@pytest.mark.parametrize(
    "name",
    ["api_key", "App-Key", "X-Auth-Id", "X-Passwd", "X-Signature", "sig", "Cookie", "PWD", "client_secret",
     "x-credential"],
)  # fmt: skip
def test_names_of_secrets(name: str) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize("name", ["client_keys", "Idempotency-Key", "design", "Sec-WebSocket-Key", "model", "user"])
def test_names_without_a_secret(name: str) -> None:
    assert not is_secret_name(name)


def test_a_signature_does_not_authenticate() -> None:
    assert is_key_name("X-Api-Key")
    assert is_secret_name("X-Signature")
    assert not is_key_name("X-Signature")


@pytest.mark.parametrize(
    ("name", "value", "secrets"),
    [
        ("Authorization", "Bearer sk-1", ["sk-1"]),
        ("authorization", " token  sk-1 ", ["sk-1"]),
        ("Authorization", "ApiKey sk-1", ["sk-1"]),
        ("Authorization", f"Basic {basic('me:pass')}", [basic("me:pass"), "pass"]),
        ("Authorization", f"Basic {basic('sk-1:')}", [basic("sk-1:"), "sk-1"]),
        ("Authorization", f"Basic {basic('no colon')}", [basic("no colon")]),
        ("Authorization", "Basic %", ["%"]),
        ("Proxy-Authorization", f"basic {b64encode(bytes([255])).decode()}", ["/w=="]),
        ("X-Passwd", "correct horse", ["correct horse"]),
        ("X-Api-Key", "Bearer sk-1", ["sk-1"]),
        ("Cookie", 'a=one==; b="two"; three', ["one==", "two", "three"]),
    ],
)
def test_what_is_secret_in_a_header(name: str, value: str, secrets: list[str]) -> None:
    assert list(secrets_in_header(name, value)) == secrets


@pytest.mark.parametrize(
    ("url", "secrets"),
    [
        ("http://a/v1?v=1", []),
        ("http://me:p%40ss@a/", [basic("me:p@ss"), "p@ss"]),
        ("http://sk-1@a/", [basic("sk-1:"), "sk-1"]),
        ("http://a/?key=k%2B1&sig=s&page=2&token=", ["k+1", "s"]),
        ("http://[a", []),
        ("localhost,.internal", []),
    ],
)
def test_what_is_secret_in_a_url(url: str, secrets: list[str]) -> None:
    assert list(secrets_in_url(url)) == secrets


def test_parameters_with_secret_names() -> None:
    assert list(secrets_in_query("a=b;access_token=t&X-Amz-Signature=s")) == ["t", "s"]


@pytest.mark.parametrize(
    ("options", "secrets"),
    [
        ({"api_key": "one", "user": "me", "size": 1}, ["one"]),
        ({"server": {"password": "one"}, "servers": [{"token": "two"}, "text"]}, ["one", "two"]),
        ({"keys": ["one", {"x": "two"}, 3]}, ["one", "two"]),
        ({"url": "http://me:pass@a/"}, [basic("me:pass"), "pass"]),
    ],
)
def test_what_is_secret_in_options(options: Any, secrets: list[str]) -> None:
    assert list(secrets_in_options(options)) == secrets


def test_credentials_in_a_body_have_names_of_their_own() -> None:
    body = {"api_key": "one", "max_tokens": "5", "extra": [{"Authorization": ["two"]}], "token": "x", "n": 1}
    assert list(credentials_in_body(body)) == ["one", "two"]


@pytest.mark.parametrize(
    ("query", "kept"),
    [
        ("", ""),
        ("alt=sse&a=%2f+&b", "alt=sse&a=%2f+&b"),
        ("key=k&alt=sse", "alt=sse"),
        ("alt=sse&KEY=k", "alt=sse"),
        ("a=b;key=k;c", "a=b&c"),
        ("k%65y=k&a=b", "a=b"),
        ("api-key=k&api_key=k&apikey=k&access_token=k&keys=1", "keys=1"),
        ("page_token=t", "page_token=t"),
        ("key", ""),
    ],
)
def test_credentials_are_dropped_from_a_query_and_all_else_is_kept(query: str, kept: str) -> None:
    assert drop_credentials(query) == kept


def test_parameters_with_a_secret_are_dropped_whatever_their_name() -> None:
    query = "a=b&key=sk-1&x=a+sk%2d1&sk-1=y&c=sk-2"
    assert drop_secrets(query, ["sk-1"]) == "a=b&c=sk-2"
    assert drop_secrets(query, []) == query


def test_the_credentials_in_a_query() -> None:
    assert list(credentials_in_query("a=b&key=sk%2B1&api_key=&API-KEY=two")) == ["sk+1", "two"]
    assert list(credentials_in_query("")) == []
