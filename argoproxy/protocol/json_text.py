"""Parse and write JSON, strictly where the standard library is lenient."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from json.encoder import (  # type: ignore[attr-defined]
    c_make_encoder,
    encode_basestring,
    encode_basestring_ascii,
)
from typing import Any, NoReturn

#: A JSON object.
Json = dict[str, Any]


class JsonError(ValueError):
    """The text is not JSON, or the value can't be written as JSON. The message gives the position, never the text."""


class TooManyValues(JsonError):
    """The text contains too many values: they take many times the memory of their text."""


@dataclass(frozen=True, slots=True)
class JsonLimits:
    """How many containers (arrays and objects) and values a text may contain: a base, and one more for so many bytes.

    Two bytes of text become an empty array of 64 bytes or an object of 230; three bytes another value of up to 80.
    """

    containers: int = 250_000
    values: int = 1_000_000
    bytes_a_container: float = math.inf
    bytes_a_value: float = math.inf

    def check(self, text: bytes) -> None:
        """Raise TooManyValues for a text that contains more. A text shorter than the base is not counted."""
        size = len(text)
        if size < self.containers:
            return
        containers = self.containers + size / self.bytes_a_container
        values = self.values + size / self.bytes_a_value
        if _containers(text) <= containers and text.count(b",") <= values:
            return
        found_containers = found_values = 0
        for bare in _without_strings(text):
            found_containers += _containers(bare)
            found_values += bare.count(b",")
            if found_containers > containers:
                raise TooManyValues(f"it contains more than {containers:.0f} arrays and objects")
            if found_values > values:
                raise TooManyValues(f"it contains more than {values:.0f} values")


#: For requests: a hundred thousand messages, or a million tokens.
OF_A_REQUEST = JsonLimits()
#: For replies: vectors, and log probabilities, each of which is an object with a list of bytes.
OF_A_REPLY = JsonLimits(bytes_a_container=16, bytes_a_value=4)


class _RepeatedKey(ValueError):
    """An object has two members of the same name."""


def parse(text: bytes) -> tuple[Any, bool]:
    """Parse JSON of a client: (value, whether the text is UTF-8 and says exactly this).

    Raises JsonError, also for NaN, Infinity and numbers beyond a float, for thousands of digits, and for text
    nested deeper than the interpreter can follow.
    """
    OF_A_REQUEST.check(text)
    try:
        # Nearly every text passes here. A decoder that is made once saves half of the time that a short text takes, and
        # it can't note anything, so a repeated key ends it.
        plain = text.decode()
        if plain[:2].isprintable():  # no byte order mark, and no zero byte, which would stand for UTF-16 or UTF-32
            value, end = _EXACT.raw_decode(plain)
            if end == len(plain):
                return value, True
    except (ValueError, RecursionError):
        pass
    return _parse_unusual(text)


def _parse_unusual(text: bytes) -> tuple[Any, bool]:
    """Parse JSON with blanks around it, in another encoding, with repeated keys, or with a fault to describe."""
    strict = {"parse_constant": _no_constant, "parse_float": _finite_float}
    is_utf8 = json.detect_encoding(text) == "utf-8"
    try:
        return _parse(text, object_pairs_hook=_distinct_pairs, **strict), is_utf8
    except _RepeatedKey:
        return _parse(text, **strict), False


def loads_strict(text: bytes) -> Any:
    """Parse JSON, strictly as `parse` does. Raises JsonError."""
    return parse(text)[0]


def loads(text: bytes) -> Any:
    """Parse JSON of an upstream; NaN and Infinity, which some of them send, are let through. Raises JsonError."""
    OF_A_REPLY.check(text)
    try:
        # UTF-8 without blanks around it, the usual case, takes half the time this way.
        plain = text.decode()
        value, end = _LENIENT.raw_decode(plain)
        if end == len(plain):
            return value
    except (ValueError, RecursionError):
        pass
    return _parse(text)


def parse_at(text: str, start: int) -> tuple[Any, int]:
    """Parse the JSON that begins at a place of a text, as strictly: (value, where it ends). Raises ValueError."""
    try:
        return _STRICT.raw_decode(text, start)
    except RecursionError:
        raise JsonError("nested too deeply") from None


def dumps(value: Any) -> bytes:
    """Write compact JSON in UTF-8; lone surrogates are escaped. Raises JsonError."""
    try:
        try:
            return "".join(_encode(value, 0)).encode()
        except UnicodeEncodeError:
            return "".join(_encode_ascii(value, 0)).encode()
    except RecursionError:
        raise JsonError("nested too deeply") from None


def as_json(value: Any) -> Any:
    """Return a value after a round trip through strict JSON. Raises JsonError."""
    try:
        return json.loads(json.dumps(value, allow_nan=False))
    except RecursionError:
        raise JsonError("nested too deeply") from None
    except (TypeError, ValueError) as error:
        raise JsonError(str(error)) from None


def as_dict(value: Any) -> Json:
    """Return a JSON object, or an empty one in place of any other value."""
    return value if isinstance(value, dict) else {}


def as_list(value: Any) -> list[Any]:
    """Return a JSON array, or an empty one in place of any other value."""
    return value if isinstance(value, list) else []


def as_dicts(value: Any) -> list[Json]:
    """Return the objects in a JSON array, [] for any other value."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def as_text(value: Any) -> str:
    """Return a string, or "" in place of any other value."""
    return value if isinstance(value, str) else ""


def kind_of(value: Any) -> str:
    """Name the JSON type of a value, for an error."""
    return _KINDS.get(type(value), "a number")


def _containers(text: bytes) -> int:
    return text.count(b"[") + text.count(b"{")


def _without_strings(text: bytes) -> Iterator[bytes]:
    """Return JSON without its strings, some hundred of them at a time: a copy made at once would take as much memory as
    the values. What follows an unterminated string is dropped: it is not JSON."""
    at = 0
    while (found := _SOME_STRINGS.match(text, at)) and found.end() > at:
        at = found.end()
        yield _STRING.sub(b"", found.group())


def _parse(text: bytes, **options: Any) -> Any:
    try:
        return json.loads(text, **options)
    except (JsonError, _RepeatedKey):
        raise
    except json.JSONDecodeError as error:
        raise JsonError(f"{error.msg} (line {error.lineno}, column {error.colno})") from None
    except UnicodeDecodeError as error:
        raise JsonError(f"not {error.encoding} (byte {error.start})") from None
    except RecursionError:
        raise JsonError("nested too deeply") from None
    except ValueError:
        raise JsonError("a number has too many digits") from None


def _distinct_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise _RepeatedKey
    return members


def _no_constant(name: str) -> NoReturn:
    raise JsonError(f"{name} is not a JSON value")


def _finite_float(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise JsonError("a number is out of range")
    return value


_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_SOME_STRINGS = re.compile(rb'[^"]*+(?:"[^"\\]*+(?:\\.[^"\\]*+)*+"[^"]*+){0,500}+', re.DOTALL)
_LENIENT = json.JSONDecoder()
_STRICT = json.JSONDecoder(parse_constant=_no_constant, parse_float=_finite_float)
_EXACT = json.JSONDecoder(object_pairs_hook=_distinct_pairs, parse_constant=_no_constant, parse_float=_finite_float)
#: Made once: that is a fifth of the time that a short value takes. A value that holds itself is found by its depth.


def _make_encoder(quote: Callable[[str], str]) -> Callable[[Any, int], Sequence[str]]:
    """Return the encoder that `JSONEncoder.encode` makes anew for each value: for a small one it takes as long as to
    write it. Compact, and without a look for cycles."""
    encoder: Callable[[Any, int], Sequence[str]] = c_make_encoder(
        markers=None,
        default=json.JSONEncoder().default,
        encoder=quote,
        indent=None,
        key_separator=":",
        item_separator=",",
        sort_keys=False,
        skipkeys=False,
        allow_nan=True,
    )
    return encoder


_encode, _encode_ascii = _make_encoder(encode_basestring), _make_encoder(encode_basestring_ascii)
_KINDS = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
