"""Copies of frozen dataclasses that a request makes: `dataclasses.replace` takes twice as long."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from functools import cache
from operator import attrgetter
from typing import Any, TypeVar

FrozenT = TypeVar("FrozenT")


def copy_with(original: FrozenT, **changes: Any) -> FrozenT:
    """Return a copy of an instance of a dataclass with other values. The class has slots, at least two fields, no
    default that is made for each instance, and no `__post_init__`."""
    kind: type = type(original)
    read, setters = _members_of(kind)
    copy: FrozenT = object.__new__(kind)
    for set_field, value in zip(setters, read(original), strict=True):
        set_field(copy, value)
    for name, value in changes.items():
        object.__setattr__(copy, name, value)
    return copy


@cache
def _members_of(
    kind: type,
) -> tuple[Callable[[object], Sequence[Any]], Sequence[Callable[[object, Any], None]]]:
    names = [field.name for field in fields(kind)]
    return attrgetter(*names), [vars(kind)[name].__set__ for name in names]
