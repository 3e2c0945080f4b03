"""Fields of a key as operators write them: in the config file, as flags, and in JSON.

Each parser raises ValueError with a message that is put behind the name of the field.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from argoproxy.errors import BadRequest
from argoproxy.protocol.json_text import Json, dumps
from argoproxy.protocol.keys.expiry import parse_expiry, parse_moment
from argoproxy.protocol.keys.key_token import SHORTEST_FOREIGN
from argoproxy.protocol.limits.limit_fields import HOLDER_FIELDS, change_limit
from argoproxy.protocol.limits.limits import NO_LIMITS_SET, Limits

MOST_PATTERNS = 200
LONGEST_PATTERN = 200
#: Bytes of JSON: notes of the operator, which are read whenever keys are.
LONGEST_METADATA = 4096

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
_HEADER_TEXT = re.compile(r"[\x21-\x7e]+")


def parse_key_name(value: Any) -> str:
    """Parse the name of a key or a team."""
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise ValueError("must be a name of up to 64 letters, digits and . _ @ -")
    return value


def parse_team(value: Any) -> str:
    """Parse the name of a key's team; "" or null for none."""
    return parse_key_name(value) if value else ""


def parse_patterns(value: Any) -> tuple[str, ...]:
    """Parse names and patterns of models: a list, or a text with commas between them; an empty one means all."""
    pieces = value.split(",") if isinstance(value, str) else value
    if value is None:
        return ()
    if not isinstance(pieces, list | tuple) or not all(isinstance(piece, str) for piece in pieces):
        raise ValueError("must be a list of names and patterns of models")
    patterns = tuple(filter(None, (piece.strip() for piece in pieces)))
    if len(patterns) > MOST_PATTERNS or any(len(pattern) > LONGEST_PATTERN for pattern in patterns):
        raise ValueError(f"must hold at most {MOST_PATTERNS} patterns of up to {LONGEST_PATTERN} characters")
    return patterns


def parse_metadata(value: Any) -> Json:
    """Parse notes about a key: an object."""
    if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
        raise ValueError("must be an object")
    if len(dumps(value)) > LONGEST_METADATA:
        raise ValueError(f"must have at most {LONGEST_METADATA} bytes of JSON")
    return value


def parse_key_text(value: Any) -> str:
    """Parse the text of a key that was made elsewhere."""
    if not isinstance(value, str) or not _HEADER_TEXT.fullmatch(value) or len(value) < SHORTEST_FOREIGN:
        raise ValueError(f"must be a text of at least {SHORTEST_FOREIGN} characters that a header can carry")
    return value


def parse_flag(value: Any) -> bool:
    """Parse a boolean of JSON or YAML."""
    if not isinstance(value, bool):
        raise ValueError("must be true or false")  # noqa: TRY004 as all parsers
    return value


def parse_declared_expiry(value: Any) -> float:
    """Parse when a key ends, where the same text is read again and again: durations would never be over."""
    return parse_moment(value)


#: Fields of a key in the config file, except the text of the key itself, by the names of KeyRecord's attributes.
DECLARED_FIELDS: Mapping[str, tuple[str, Callable[[Any], Any]]] = {
    "models": ("models", parse_patterns),
    "team": ("team", parse_team),
    "expires": ("expires", parse_declared_expiry),
    "disabled": ("is_disabled", parse_flag),
    "metadata": ("metadata", parse_metadata),
}


def parse_fields(body: Mapping[str, Any], now: float, limits: Limits = NO_LIMITS_SET) -> dict[str, Any]:
    """Return the attributes of a KeyRecord that an object sets; limits that it does not name stay those of `limits`.
    Raises BadRequest, which names the field."""
    attributes: dict[str, Any] = {}
    for name, value in body.items():
        if name not in DECLARED_FIELDS and name not in HOLDER_FIELDS:
            raise BadRequest("This is not a field of a key.", param=name[:80])
        try:
            if name in HOLDER_FIELDS:
                limits = attributes["limits"] = change_limit(limits, name, value)
            else:
                attribute, parse = DECLARED_FIELDS[name]
                attributes[attribute] = _parse_expires(value, now) if name == "expires" else parse(value)
        except ValueError as error:
            raise BadRequest(f"`{name}` {error}.", param=name) from None
    return attributes


def _parse_expires(value: Any, now: float) -> float | None:
    if value is None:
        return None
    expires = parse_expiry(value, now)
    if expires is not None and expires <= now:
        raise ValueError("is over already")
    return expires
