from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argoproxy.protocol.http_messages import BytesBody, ClientRequest
from argoproxy.protocol.messages.model_pages import as_list_request, extend_entry, make_entry, make_page, wants_pages
from argoproxy.protocol.stream.sse import Document

LIST = {"object": "list", "data": [{"id": name, "object": "model", "created": 0} for name in "abcde"]}


def request(query: str = "", *headers: tuple[str, str]) -> ClientRequest:
    return ClientRequest("r", 1, "GET", "/v1/models", query, headers, BytesBody(b""))


def test_whose_client_asks() -> None:
    assert wants_pages(request("", ("Anthropic-Version", "2023-06-01")))
    assert wants_pages(request("limit=1000"))
    assert not wants_pages(request("client_version=1"))
    asked = as_list_request(request("limit=2", ("anthropic-version", "x"), ("X-Api-Key", "k")))
    assert (asked.query, asked.headers) == ("", (("Authorization", "Bearer k"),))


@pytest.mark.parametrize(
    ("query", "names", "has_more"),
    [
        ("", "abcde", False),
        ("limit=1000", "abcde", False),
        ("limit=2", "ab", True),
        ("limit=2&after_id=b", "cd", True),
        ("limit=2&after_id=c", "de", False),
        ("limit=2&before_id=d", "bc", True),
        ("limit=9&before_id=d", "abc", False),
        ("limit=odd&after_id=z", "abcde", False),
        ("after_id=e", "", False),
    ],
)
def test_pages(query: str, names: str, has_more: bool) -> None:
    page = make_page(Document.of(LIST), query).chunk
    assert ("".join(entry["id"] for entry in page["data"]), page["has_more"]) == (names, has_more)
    assert (page["first_id"], page["last_id"]) == ((names[0], names[-1]) if names else (None, None))
    assert page["object"] == "list"


def test_an_entry_serves_both() -> None:
    entry = make_entry(Document.of({"id": "m", "created": 1_790_000_000, "display_name": "M"})).chunk
    assert entry == {
        "type": "model", "display_name": "M", "created_at": "2026-09-21T14:13:20Z", "id": "m", "created": 1_790_000_000,
    }  # fmt: skip


@given(st.integers(0, 10**11 - 1))
def test_times(created: int) -> None:
    assert extend_entry({"created": created})["created_at"] == datetime.fromtimestamp(created, UTC).strftime(
        "%Y-%m-%dT%H:%M:%SZ"
    )


@pytest.mark.parametrize("created", [None, "x", -1, 1e30])
def test_times_that_are_none(created: Any) -> None:
    assert extend_entry({"created": created})["created_at"] == "1970-01-01T00:00:00Z"
