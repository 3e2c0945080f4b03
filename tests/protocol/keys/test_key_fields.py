from __future__ import annotations

from typing import Any

import pytest

from argoproxy.errors import BadRequest
from argoproxy.protocol.keys.key_fields import parse_declared_expiry, parse_fields, parse_key_text


def test_fields_become_attributes() -> None:
    fields = {"models": "a, b*,", "team": "", "disabled": True, "metadata": {"a": 1}, "expires": "1d"}
    assert parse_fields(fields, 10.0) == {
        "models": ("a", "b*"),
        "team": "",
        "is_disabled": True,
        "metadata": {"a": 1},
        "expires": 86_410.0,
    }
    assert parse_fields({"expires": None, "models": None, "team": "t"}, 0.0) == {
        "expires": None,
        "models": (),
        "team": "t",
    }
    assert parse_fields({"expires": "never", "models": ["x"]}, 0.0) == {"expires": None, "models": ("x",)}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("models", 1),
        ("models", [1]),
        ("models", ["x" * 201]),
        ("models", ["x"] * 201),
        ("team", "a b"),
        ("team", 1),
        ("disabled", "yes"),
        ("metadata", []),
        ("metadata", {1: 1}),
        ("metadata", {"a": "x" * 5000}),
        ("expires", "x"),
        ("expires", "1970-01-01"),
        ("limits", {}),
    ],
)
def test_mistakes_name_the_field(name: str, value: Any) -> None:
    with pytest.raises(BadRequest) as caught:
        parse_fields({name: value}, 1e9)
    assert caught.value.param == name


@pytest.mark.parametrize("text", ["short", "x" * 15, "with blanks 0123456789", None, 1, "\u00fc" * 20])
def test_a_text_that_can_be_no_key(text: Any) -> None:
    with pytest.raises(ValueError, match="must be a text"):
        parse_key_text(text)


def test_what_the_config_file_holds() -> None:
    assert parse_key_text("k-0123456789abcdef") == "k-0123456789abcdef"
    assert parse_declared_expiry("1970-01-01") == 86_400.0
    with pytest.raises(ValueError, match="must be a date"):
        parse_declared_expiry("90d")
