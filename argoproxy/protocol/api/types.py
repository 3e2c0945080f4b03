"""What a JSON value may be: shapes, of which tables are made, and the fault of a value that does not fit.

A shape describes what it expects and returns the first fault it finds, or None. Checking a value that fits costs little
more than comparing types. Shapes are only as deep as their table, so no value is nested too deeply for them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from math import inf
from typing import Any, ClassVar, Protocol

from argoproxy.protocol.json_text import kind_of

#: How many characters of a number are quoted in a message.
_LONGEST_NUMBER = 24


class Problem(StrEnum):
    """What can be wrong; the values are OpenAI's error codes."""

    TYPE = "invalid_type"
    VALUE = "invalid_value"
    MISSING = "missing_required_parameter"


NO_TYPES: frozenset[type] = frozenset()

_SENTENCES = {
    Problem.TYPE: "Invalid type for '{0}': expected {1}, but got {2} instead.",
    Problem.VALUE: "Invalid value for '{0}': expected {1}, but got {2} instead.",
    Problem.MISSING: "Missing required parameter: '{0}'. Expected {1}.",
}


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with a value: what was expected, what was sent, and the path to it."""

    problem: Problem
    expected: str
    actual: str = ""
    steps: tuple[str | int, ...] = ()

    @property
    def place(self) -> str:
        """The path as OpenAI's errors write it: `messages[2].role`."""
        named = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in self.steps)
        return "".join(named).removeprefix(".")

    @property
    def message(self) -> str:
        return _SENTENCES[self.problem].format(self.place, self.expected, self.actual)

    def inside(self, step: str | int) -> Fault:
        """Return the fault as one of the object or array that contains the value under this name or index."""
        return replace(self, steps=(step, *self.steps))


class Shape(Protocol):
    """What a value may be, and how to check it."""

    @property
    def expected(self) -> str:
        """The description for messages, with an article."""

    @property
    def fitting(self) -> frozenset[type]:
        """The types whose values all fit. They are asked for first: most fields are strings and booleans."""

    def fault(self, value: Any) -> Fault | None:
        """Return the first fault of a value, None if it fits."""


@dataclass(frozen=True, slots=True)
class Plain:
    """A value of one of these types, which passes a test if there is one."""

    expected: str
    types: frozenset[type]
    test: Callable[[Any], bool] | None = None
    fitting: frozenset[type] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "fitting", NO_TYPES if self.test else self.types)

    def fault(self, value: Any) -> Fault | None:
        if type(value) not in self.types:
            return _wrong_type(self, value)
        if self.test is None or self.test(value):
            return None
        return Fault(Problem.VALUE, self.expected, _quote(value))


@dataclass(frozen=True, slots=True)
class ListOf:
    """An array of `least` items or more. Items of a `sure` type fit, whatever they are: long ones are fast."""

    expected: str
    item: Shape
    least: int = 0
    sure: frozenset[type] = frozenset()
    fitting: ClassVar[frozenset[type]] = NO_TYPES

    def fault(self, value: Any) -> Fault | None:
        if type(value) is not list:
            return _wrong_type(self, value)
        if len(value) < self.least:
            return Fault(Problem.VALUE, self.expected, _quote(value))
        if self.sure.issuperset(map(type, value)):
            return None
        for index, item in enumerate(value):
            if fault := self.item.fault(item):
                return fault.inside(index)
        return None


@dataclass(frozen=True, slots=True)
class Object:
    """An object. A field may be null or missing, an unknown one may be anything. Of each group in `needs` one field
    must be there; an error names the first."""

    expected: str
    fields: Mapping[str, Shape]
    needs: Sequence[Sequence[str]] = ()
    fitting: ClassVar[frozenset[type]] = NO_TYPES

    def fault(self, value: Any) -> Fault | None:
        if type(value) is not dict:
            return _wrong_type(self, value)
        for group in self.needs:
            if not _has_one(value, group):
                return self._lacks(group[0], value)
        for name, item in value.items():
            shape = self.fields.get(name)
            if shape is None or item is None or type(item) in shape.fitting:
                continue
            if fault := shape.fault(item):
                return fault.inside(name)
        return None

    def _lacks(self, name: str, value: Mapping[str, Any]) -> Fault:
        shape = self.fields[name]
        fault = _wrong_type(shape, None) if name in value else Fault(Problem.MISSING, shape.expected)
        return fault.inside(name)


@dataclass(frozen=True, slots=True)
class Kinds(Object):
    """An object whose `type` tells what else it is (None: when it has none); one of an unknown type is not looked
    into."""

    kinds: Mapping[str | None, Object] = field(default_factory=dict)

    def fault(self, value: Any) -> Fault | None:
        if fault := Object.fault(self, value):
            return fault
        kind = self.kinds.get(value.get("type"))
        return kind.fault(value) if kind else None


@dataclass(frozen=True, slots=True)
class Either:
    """A value of one of several shapes; its type tells which."""

    expected: str
    by_type: Mapping[type, Shape]
    fitting: frozenset[type] = field(init=False)

    def __post_init__(self) -> None:
        fitting = frozenset(kind for kind, shape in self.by_type.items() if kind in shape.fitting)
        object.__setattr__(self, "fitting", fitting)

    def fault(self, value: Any) -> Fault | None:
        shape = self.by_type.get(type(value))
        return shape.fault(value) if shape else _wrong_type(self, value)


_NUMBERS = frozenset((int, float))

STRING = Plain("a string", frozenset((str,)))
NAME = Plain("a non-empty string", frozenset((str,)), bool)
BOOLEAN = Plain("a boolean", frozenset((bool,)))
OBJECT = Plain("an object", frozenset((dict,)))


def number(least: float = -inf, most: float = inf) -> Plain:
    """Make the shape of a number in a range."""
    return Plain(_range("a number", least, most), _NUMBERS, lambda value: least <= value <= most)


def integer(least: float = -inf, most: float = inf) -> Plain:
    """Make the shape of a whole number in a range; 1.0 is one."""
    words = _range("a whole number", least, most)
    return Plain(words, _NUMBERS, lambda value: least <= value <= most and value % 1 == 0)


def _range(what: str, least: float, most: float) -> str:
    if most < inf:
        return f"{what} from {least} to {most}"
    return f"{what} of at least {least}" if least > -inf else what


def _has_one(value: Mapping[str, Any], names: Sequence[str]) -> bool:
    for name in names:  # noqa: SIM110 a generator would double the price of a small message
        if value.get(name) is not None:
            return True
    return False


def _wrong_type(shape: Shape, value: Any) -> Fault:
    return Fault(Problem.TYPE, shape.expected, kind_of(value))


def _quote(value: Any) -> str:
    """Return how a message describes a value of the right type."""
    if isinstance(value, int | float):
        return f"{value!r:.{_LONGEST_NUMBER}}"
    kind = kind_of(value)
    return kind if value else f"an empty {kind.split()[1]}"
