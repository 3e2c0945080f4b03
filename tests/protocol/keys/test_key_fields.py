from __future__ import annotations

from typing import Any

import pytest

from argoproxy.errors import BadRequest
from argoproxy.protocol.keys.key_fields import parse_declared_expiry, parse_fields, parse_key_text
from argoproxy.protocol.limits.limits import Budget, Limits, Period


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


def test_limits_are_changed_one_by_one() -> None:
    before = Limits(rpm=5, tpm=7, models=(("m*", Limits(rpm=1)),))
    changed = parse_fields({"rpm": None, "budget": "0.5/day", "model_limits": {"n": {"tpm": 2}}}, 0.0, before)
    assert changed == {
        "limits": Limits(
            tpm=7, budget=Budget(500_000_000, Period.DAY), models=(("m*", Limits(rpm=1)), ("n", Limits(tpm=2)))
        )
    }
    assert parse_fields({"models": ["a"]}, 0.0, before) == {"models": ("a",)}


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
        ("rpm", 5.0),
        ("tpm", True),
        ("concurrent", -1),
        ("budget", 5),
        ("model_limits", {"m": {"models": []}}),
        ("reserve", "all"),
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
