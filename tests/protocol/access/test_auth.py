from __future__ import annotations

import pytest

from argoproxy.errors import AuthenticationError
from argoproxy.protocol.access.auth import Key, Principal, authenticate, drop_keys, find_sent_keys
from argoproxy.protocol.access.secrets import Secret

KEYS = (Key("ann", Secret("k-ann")), Key("bob", Secret("k-bob")))


@pytest.mark.parametrize(
    ("name", "value", "who"),
    [
        ("Authorization", "Bearer k-ann", "ann"),
        ("authorization", "bearer   k-bob ", "bob"),
        ("Authorization", "k-ann", "ann"),
        ("X-API-Key", "k-bob", "bob"),
        ("x-api-key", "Bearer k-bob", "bob"),
    ],
)
def test_who_has_a_key_comes_in(name: str, value: str, who: str) -> None:
    assert authenticate(((name, value),), KEYS) == Principal(who)
    assert authenticate((("X-API-Key", "wrong"), (name, value)), KEYS) == Principal(who)


@pytest.mark.parametrize(
    "headers",
    [
        (),
        (("Authorization", ""),),
        (("Authorization", "Bearer "),),
        (("Authorization", "Bearer k-an"),),
        (("Authorization", "Bearer k-annx"),),
        (("Authorization", "Bearer k-ann,Bearer k-ann"),),
        (("Authorization", "Basic k-ann"),),
        (("Authorization", "Bearer K-ANN"),),
        (("Authorization", "Bearer \u00fc\udcff"),),
        (("Authorization", "Bearer " + "x" * 60_000),),
        (("API-Key", "k-ann"), ("Cookie", "k-ann")),
    ],
)
def test_who_has_none_stays_out(headers: tuple[tuple[str, str], ...]) -> None:
    with pytest.raises(AuthenticationError) as caught:
        authenticate(headers, KEYS)
    assert (caught.value.status, caught.value.code) == (401, "invalid_api_key")
    assert caught.value.headers == (("WWW-Authenticate", "Bearer"),)
    assert "k-ann" not in caught.value.message


def test_no_header_with_a_key_in_it_goes_on() -> None:
    theirs = (("Authorization", "Bearer theirs"), ("X-Other", "o"))
    ours = (("X-API-Key", "k-ann"), ("Api-Key", "k-bob"), ("X-Copy", "it is k-bob, you know"))
    assert drop_keys((*ours, *theirs), KEYS) == theirs
    assert drop_keys((*ours, *theirs), ()) == (*ours, *theirs)


def test_the_keys_a_caller_sent_are_told_wherever_they_stand() -> None:
    headers = (
        ("Authorization", "Bearer a-long-enough-key-1"),
        ("X-Goog-Api-Key", "a-long-enough-key-2"),
        ("Cookie", 'a="a-long-enough-key-3"; b=short; c=a-long-enough-key-4'),
        ("X-Other", "a-long-enough-text"),
    )
    query = "key=a-long-enough-key-5&q=a-long-enough-text"
    assert sorted(find_sent_keys(headers, query)) == [f"a-long-enough-key-{number}" for number in range(1, 6)]
    assert find_sent_keys((), "") == ()
