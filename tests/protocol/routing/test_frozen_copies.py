"""A copy is what `dataclasses.replace` makes."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace

import pytest

from argoproxy.protocol.routing.call import Call
from argoproxy.protocol.routing.frozen_copies import copy_with


def test_a_copy_has_the_other_values_and_leaves_its_original() -> None:
    call = Call("1", 7, "/v1/chat/completions", "", (), {"model": "a"}, b'{"model":"a"}', caller="ann")
    copy = copy_with(call, body={"model": "b"}, original_body=call.body)
    assert copy == replace(call, body={"model": "b"}, original_body=call.body)
    assert (call.body, call.original_body, copy.caller) == ({"model": "a"}, None, "ann")
    assert copy_with(call) == call
    with pytest.raises(FrozenInstanceError):
        copy.path = "/"  # type: ignore[misc]
