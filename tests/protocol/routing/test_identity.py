from __future__ import annotations

from dataclasses import replace

import pytest

from argoproxy.protocol.routing.call import Call, Identity


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
    call = Call("id", 1, "/v1/chat/completions", "", headers, {}, None)
    assert passing.caller_of(call) == caller
    assert passing.user_for(call) == (caller or "me")
    assert passing.user_for(replace(call, caller="key-1")) == "key-1", "the name of our key"
    assert Identity("me").caller_of(call) == ""
    assert Identity("me").user_for(call) == "me"
    assert Identity().user_for(call) == ""
