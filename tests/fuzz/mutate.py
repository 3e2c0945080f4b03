"""Seeded changes of bytes and of JSON values, for requests and replies alike."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from typing import Any

#: Bytes that parsers treat in some way of their own.
ODD_BYTES = (
    b"\0",
    b"\r",
    b"\n",
    b"\r\n",
    b"\r\n\r\n",
    b"\t",
    b" ",
    b":",
    b";",
    b",",
    b"%",
    b"%00",
    b"%0a",
    b"%2e%2e/",
    b"#",
    b"?",
    b'"',
    b"\\",
    b"\x7f",
    b"\x80",
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b"\xc3",
    b"\xe2\x80\xae",
    b"\xc2\x9b",
    b"0",
    b"-1",
    b"data:",
    b"data: [DONE]\n\n",
    b"<think>",
    b"</think>",
)
#: JSON values that stand where another kind is expected.
ODD_VALUES: Sequence[Any] = (
    None,
    True,
    False,
    0,
    -1,
    1,
    10**25,
    1e308,
    0.5,
    "",
    "x",
    "null",
    "\0",
    "\u202e\x1b[2J",
    "\ud83d",
    "é" * 300,
    [],
    {},
    [[]],
    [None],
    [{}],
    {"": None},
    {"type": "text"},
    {"type": "text", "text": 5},
    {"index": "0"},
    [[[[[]]]]],
    {"url": "http://127.0.0.1:1/x.png"},
    {"error": {"message": "no", "code": 7}},
    float("nan"),
    float("inf"),
)
#: Texts that a JSON parser must refuse, or read in one way only.
ODD_TEXTS = (
    b"",
    b" ",
    b"null",
    b"[]",
    b"{}",
    b'""',
    b"0",
    b"{",
    b"}",
    b'{"model"',
    b'{"model":"m1",}',
    b"{'model':'m1'}",
    b'{"model":"m1"}{"model":"m2"}',
    b"\xef\xbb\xbf{}",
    b'{"model":"m1","model":"m2","messages":[]}',
    b"\xff\xfe{\0}\0",
    b'{"model":"\xff","messages":[]}',
    b'{"model":"m1","n":NaN}',
    b'{"model":"m1","n":1e999}',
    b"[" * 3000,
    b'{"a":' * 1500,
    b'{"model":"\\ud800","messages":[]}',
    b'{"model":"m1","n":' + b"9" * 5000 + b"}",
)

Place = tuple[Any, Any]


def change_bytes(rng: random.Random, data: bytes, most: int = 3) -> bytes:
    """Insert, delete, replace or repeat at a few places."""
    for _ in range(rng.randint(1, most)):
        start = rng.randrange(len(data) + 1)
        end = min(len(data), start + rng.choice((0, 1, 1, 2, 8, 40)))
        kind = rng.randrange(4)
        middle = rng.choice(ODD_BYTES) if kind < 2 else b"" if kind == 2 else data[start:end] * 2
        data = data[:start] + middle + data[start if kind == 0 else end :]
    return data


def odd_value(rng: random.Random) -> Any:
    """Choose a value, a fresh copy of it."""
    return deepcopy(rng.choice(ODD_VALUES))


def change_json(rng: random.Random, value: Any, most: int = 2) -> Any:
    """Give a copy in which a few values are others, or missing."""
    changed = deepcopy(value)
    for _ in range(rng.randint(1, most)):
        places = list(places_in(changed))
        if not places:
            return odd_value(rng)
        _change_at(rng, *rng.choice(places))
    return changed


def _change_at(rng: random.Random, container: Any, key: Any) -> None:
    kind = rng.randrange(6)
    if kind == 0:
        del container[key]
    elif kind == 1 and isinstance(container, list):
        container.insert(key, container[key])
    elif kind == 1:
        container[rng.choice(("", "Model", "x", "error", "stream", "n"))] = odd_value(rng)
    elif kind == 2:
        container[key] = [container[key]]
    else:
        container[key] = odd_value(rng)


def places_in(value: Any) -> Iterator[Place]:
    """Give every place in a JSON value, as its container and its key."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield value, key
        yield from places_in(inner)


def split(rng: random.Random, data: bytes, most: int = 5) -> list[bytes]:
    """Cut at a few places."""
    places = sorted(rng.randrange(len(data) + 1) for _ in range(rng.randint(0, most)))
    return [piece for piece in map(lambda start, end: data[start:end], [0, *places], [*places, len(data)]) if piece]


def encode(value: Any) -> bytes:
    """Write JSON in which half characters stay escapes."""
    return json.dumps(value).encode()


def chunked(pieces: Sequence[bytes]) -> bytes:
    """Write the bytes of a chunked body."""
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces if piece) + b"0\r\n\r\n"


def weighted(rng: random.Random, table: Sequence[tuple[int, Callable[..., Any]]]) -> Callable[..., Any]:
    """Choose from a table of weights."""
    return rng.choices([one for _, one in table], [weight for weight, _ in table])[0]
