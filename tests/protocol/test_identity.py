from __future__ import annotations

import pytest

from argoproxy.protocol.identity import Identity


@pytest.mark.parametrize(
    ("headers", "caller"),
    [
        ((("Authorization", "Bearer ann"),), "ann"),
        ((("authorization", "bearer  ann "),), "ann"),
        ((("Authorization", "ann"),), "ann"),
        ((("X-API-Key", "bob"),), "bob"),
        ((("API-Key", "eve"),), "eve"),
        ((("API-Key", "eve"), ("X-API-Key", "bob"), ("Authorization", "Bearer ann")), "ann"),
        ((("X-API-Key", "bob"), ("Authorization", "Bearer ")), "bob"),
        ((("X-API-Key", " "),), ""),
        ((), ""),
    ],
)
def test_who_asks(headers: tuple[tuple[str, str], ...], caller: str) -> None:
    passing = Identity("me", passes_callers=True)
    assert passing.caller(headers) == caller
    assert passing.of(headers) == (caller or "me")
    assert Identity("me").caller(headers) == ""
    assert Identity("me").of(headers) == "me"
    assert Identity().of(headers) == ""
