from __future__ import annotations

import pytest

from argoproxy.protocol.access.secrets import credentials_in_query, drop_credentials, drop_secrets


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
        ("key", ""),
    ],
)
def test_credentials_are_left_out_and_all_else_is_kept(query: str, kept: str) -> None:
    assert drop_credentials(query) == kept


def test_what_holds_a_secret_is_left_out_whatever_it_is_called() -> None:
    query = "a=b&key=sk-1&x=a+sk%2d1&sk-1=y&c=sk-2"
    assert drop_secrets(query, ["sk-1"]) == "a=b&c=sk-2"
    assert drop_secrets(query, []) == query


def test_the_credentials_of_a_query_are_told() -> None:
    assert list(credentials_in_query("a=b&key=sk%2B1&api_key=&API-KEY=two")) == ["sk+1", "two"]
    assert list(credentials_in_query("")) == []
