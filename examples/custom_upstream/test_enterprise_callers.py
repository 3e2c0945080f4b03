from __future__ import annotations

import time
from typing import Any

import jwt
import pytest
from enterprise_callers import Tokens

from argoproxy.api import AuthenticationError, Principal

SECRET, OTHER = "x" * 32, "y" * 32
#: Longer than any run of the tests.
A_YEAR_S = 365 * 24 * 3600
DOOR = Tokens(secret=SECRET, audience="argoproxy")


def token(secret: str = SECRET, algorithm: str = "HS256", **claims: Any) -> str:
    usual = {"sub": "ann", "aud": "argoproxy", "exp": int(time.time()) + A_YEAR_S}
    told = {name: value for name, value in {**usual, **claims}.items() if value is not None}
    return jwt.encode(told, secret, algorithm)


@pytest.mark.parametrize("scheme", ["Bearer", "bearer"])
def test_a_good_token_tells_the_callers_name(scheme: str) -> None:
    headers = (("Host", "door"), ("Authorization", f"{scheme} {token()}"))
    assert DOOR.authenticate(headers) == Principal("ann")


REFUSED = {
    "another secret": (token(OTHER), "not valid"),
    "another algorithm": (token("z" * 64, "HS512"), "not valid"),
    "another algorithm with our secret": (token(SECRET * 2, "HS512"), "not valid"),
    "no algorithm": (token("", "none"), "not valid"),
    "another audience": (token(aud="payroll"), "not valid"),
    "no audience": (token(aud=None), "not valid"),
    "no end": (token(exp=None), "not valid"),
    "no name": (token(sub=None), "not valid"),
    "an empty name": (token(sub=""), "no subject"),
    "expired": (token(exp=1), "has expired"),
    "not yet": (token(nbf=int(time.time()) + A_YEAR_S), "not valid"),
    "no token": ("abc", "not valid"),
    "nothing": ("", "not valid"),
}


@pytest.mark.parametrize(("sent", "told"), REFUSED.values(), ids=REFUSED.keys())
def test_any_other_token_is_refused(sent: str, told: str) -> None:
    with pytest.raises(AuthenticationError, match=told) as caught:
        DOOR.authenticate((("Authorization", f"Bearer {sent}"),))
    assert caught.value.status == 401


@pytest.mark.parametrize("headers", [(), (("Authorization", "Basic abc"),), (("X-API-Key", token()),)])
def test_who_sends_no_token_is_told_how(headers: Any) -> None:
    with pytest.raises(AuthenticationError, match="Authorization: Bearer"):
        DOOR.authenticate(headers)


@pytest.mark.parametrize("options", [{"secret": "short"}, {"secret": ""}, {"audience": ""}, {"audience": ["a"]}])
def test_mistakes_in_the_file_are_named(options: Any) -> None:
    with pytest.raises(ValueError, match=f"`{next(iter(options))}`"):
        Tokens(**{"secret": SECRET, "audience": "argoproxy", **options})
