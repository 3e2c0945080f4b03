"""Readers: what a setting may be, whether it comes as text from the environment or as a value from a file.

Each gives the value as the house uses it, or raises ValueError with what is wrong with it, to be put behind its name.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Sequence
from typing import Any

from argoproxy.protocol.access.auth import Key
from argoproxy.protocol.access.secrets import Secret
from argoproxy.protocol.addresses import AddressRule
from argoproxy.protocol.reasoning.policy import Opening
from argoproxy.protocol.routing.llm_params import BOOLEANS, OPENINGS
from argoproxy.protocol.routing.modes import Mode
from argoproxy.upstreams.access import PluginSpec
from argoproxy.upstreams.base_url import BaseUrl

LONGEST_S = 1_000_000.0

_CLASS = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
_NAME = re.compile(r"[A-Za-z0-9._@-]+")
_ORIGIN = re.compile(r"\*|null|[a-z][a-z0-9+.-]*://[^\s/?#@*,\"]+")
_PLACEHOLDER = re.compile(r"(?:sk-)?your[_-](?:[a-z]+[_-]){0,4}(?:key|secret|token)(?:[_-]here)?", re.IGNORECASE)
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h)?")
_UNIT_S = {"ms": 0.001, None: 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}


def text(value: Any) -> str:
    """Read a string that is not empty. Raises ValueError."""
    if isinstance(value, dict | list) or not str(value).strip():
        raise ValueError("is no text")
    return str(value).strip()


def whole_number(least: int, most: int) -> Callable[[Any], int]:
    """Make a reader of numbers from least to most."""

    def read(value: Any) -> int:
        digits = str(value).strip()
        if isinstance(value, bool) or not re.fullmatch(r"\d{1,9}", digits) or not least <= int(digits) <= most:
            raise ValueError(f"is no whole number from {least} to {most}")
        return int(digits)

    return read


def boolean(value: Any) -> bool:
    """Read true/false, 1/0, yes/no, on/off. Raises ValueError."""
    if str(value).strip().lower() not in BOOLEANS:
        raise ValueError("is neither true nor false")
    return BOOLEANS[str(value).strip().lower()]


def opening(value: Any) -> Opening:
    """Parse whether a text starts inside a thought: true, false or `auto`. Raises ValueError."""
    word = str(value).strip().lower()
    if word not in OPENINGS:
        raise ValueError("is neither true nor false nor auto")
    return OPENINGS[word]


def opening_setting(value: Any) -> bool | str:
    """Parse the same, and keep the word: True, False or "auto". Raises ValueError."""
    read = opening(value)
    return str(read) if read is Opening.AUTO else read is Opening.OPEN


def seconds(value: Any) -> float:
    """Read a duration: seconds, `90s`, `60000ms`, `10m`, `2h`. Raises ValueError."""
    found = _DURATION.fullmatch(str(value).strip().lower())
    if isinstance(value, bool) or not found:
        raise ValueError("is no duration; write seconds, 90s or 60000ms")
    duration_s = float(found.group(1)) * _UNIT_S[found.group(2)]
    if not 0 < duration_s <= LONGEST_S:
        raise ValueError(f"must be more than 0 and at most {LONGEST_S:.0f} seconds")
    return duration_s


def seconds_or_zero(value: Any) -> float:
    """Read a duration that 0 turns off. Raises ValueError."""
    return 0.0 if str(value).strip() in ("0", "0s", "0ms", "0.0") else seconds(value)


def one_of(names: Sequence[str]) -> Callable[[Any], str]:
    """Make a reader of one of some names."""

    def read(value: Any) -> str:
        name = text(value)
        if name not in names:
            raise ValueError(f"is none of {', '.join(names)}{suggestion(name, names)}")
        return name

    return read


def mode(value: Any) -> str:
    """Read how an upstream is asked; a bare `off` of YAML comes as false. Raises ValueError."""
    return one_of(list(Mode))(Mode.OFF.value if value is False else value)


def header_text(value: Any) -> str:
    """Read a string that can stand in a header. Raises ValueError."""
    key = text(value)
    if not re.fullmatch(r"[\x21-\x7e]+", key):
        raise ValueError("holds a blank or a character that no header can hold")
    return key


def base_url(value: Any) -> str:
    """Read the base URL of an upstream. Raises ValueError."""
    url = text(value)
    try:
        BaseUrl.parse(url)
    except ValueError as error:
        hint = f'; did you mean "http://{url}"?' if "://" not in url else ""
        raise ValueError(f"is no base URL: {error}{hint}") from None
    return url


def is_placeholder(key: str) -> bool:
    """Whether a key is one that examples hold in place of a real one, as `your_openai_api_key_here`."""
    return bool(_PLACEHOLDER.fullmatch(key))


def keys(value: Any) -> tuple[Key, ...]:
    """Read keys: a text of them by commas, a list, or a mapping of their names. Raises ValueError."""
    if isinstance(value, dict):
        pairs = [(str(name), str(key)) for name, key in value.items()]
    else:
        pieces = [piece.strip() for piece in (map(str, value) if isinstance(value, list) else text(value).split(","))]
        pairs = [_named(piece, number) for number, piece in enumerate(filter(None, pieces), 1)]
    read = tuple(Key(name, Secret(header_text(key))) for name, key in pairs)
    if not read or len({key.name for key in read}) < len(read) or len({key.secret.text for key in read}) < len(read):
        raise ValueError("holds no key, or one name or key twice")
    return read


def names(value: Any) -> tuple[str, ...]:
    """Read names by commas, or a list of them. Raises ValueError."""
    pieces = [str(piece).strip() for piece in (value if isinstance(value, list) else text(value).split(","))]
    if not any(pieces):
        raise ValueError("holds no name")
    return tuple(filter(None, pieces))


def origins(value: Any) -> tuple[str, ...]:
    """Read origins of web pages (`https://app.example`), or `*`. Raises ValueError."""
    read = tuple(name.lower().removesuffix("/") for name in names(value))
    if odd := [name for name in read if not _ORIGIN.fullmatch(name)]:
        raise ValueError(f"holds {odd[0]!r}, which is no origin: https://host, with a port where it has one, or *")
    return read


def _named(piece: str, number: int) -> tuple[str, str]:
    name, equals, key = piece.partition("=")
    return (name.strip(), key.strip()) if equals and _NAME.fullmatch(name.strip()) and key else (f"key-{number}", piece)


def mapping(value: Any) -> dict[str, Any]:
    """Read a mapping, by names, that is not empty. Raises ValueError."""
    if not isinstance(value, dict) or not value:
        raise ValueError("is no mapping of names")
    return {str(name): part for name, part in value.items()}


def renamed_models(value: Any) -> dict[str, str]:
    """Read names and what they are renamed to: a mapping, or a text `name=other` by commas. Raises ValueError."""
    if isinstance(value, dict):
        pairs = [(str(name), str(other)) for name, other in value.items()]
    else:
        pairs = [(name, other) for name, _, other in (piece.partition("=") for piece in text(value).split(","))]
    renamed = {name.strip(): other.strip() for name, other in pairs}
    if not all(renamed) or not all(renamed.values()):
        raise ValueError("is no list of name=other name")
    return renamed


def is_class_path(text: str) -> bool:
    """Tell whether a text names a class as package.module:Class."""
    return bool(_CLASS.fullmatch(text))


def own_class(value: Any) -> PluginSpec:
    """Read `package.module:Class`, or a mapping with that as its `class`, and `options`. Raises ValueError."""
    named = value if isinstance(value, dict) else {"class": value}
    options = named.get("options") or {}
    if not isinstance(named.get("class"), str) or not is_class_path(named["class"].strip()):
        raise ValueError("names no class as package.module:Class")
    if not isinstance(options, dict) or named.keys() - {"class", "options"}:
        raise ValueError("holds something else than `class` and a mapping of `options`")
    return PluginSpec(named["class"].strip(), {str(name): option for name, option in options.items()})


def own_classes(value: Any) -> tuple[PluginSpec, ...]:
    """Read one class or a list of them. Raises ValueError."""
    return tuple(own_class(one) for one in (value if isinstance(value, list) else [value]))


def positive(value: Any) -> float:
    """Read a number greater than 0. Raises ValueError."""
    if isinstance(value, bool) or not re.fullmatch(r"\d{1,6}(\.\d+)?", str(value).strip()) or float(value) <= 0:
        raise ValueError("is no number greater than 0")
    return float(value)


def address_rule(value: Any) -> str:
    """Read `true`, `false` or a list of addresses. Raises ValueError."""
    written = ",".join(map(str, value)) if isinstance(value, list) else text(value).lower()
    if written in BOOLEANS:
        return str(BOOLEANS[written]).lower()
    try:
        AddressRule.parse(written)
    except ValueError:
        raise ValueError("is neither true nor false nor a list of addresses, each with a port or without") from None
    return written


def plain_url(value: Any) -> str:
    """Read a URL that is one and no more: without credentials, a query or a fragment. Raises ValueError."""
    url = base_url(value)
    if re.search(r"[\s?#]|//[^/]*@", url):
        raise ValueError("holds credentials, a query, a fragment or a blank, none of which belongs there")
    return url


def host_name(value: Any) -> str:
    """Parse an address or a name to listen on, or `unix:` and the path of a socket. Raises ValueError."""
    name = text(value)
    if name.startswith("unix:"):
        if not re.fullmatch(r"unix:/?[^\s:]+", name) or len(name) > 100:
            raise ValueError("is no path of a unix socket: at most 95 characters, without blanks or colons")
        return name
    if not re.fullmatch(r"[\w.:-]+", name):
        raise ValueError("is no address to listen on")
    return name


def user_name(value: Any) -> str:
    """Read the name of an Argonne user. Raises ValueError."""
    name = text(value) if isinstance(value, str) else ""
    if not name:
        raise ValueError("is no text; write it in quotes")
    if re.search(r"\s", name):
        raise ValueError("holds a blank")
    if not re.fullmatch(r"[A-Za-z0-9._@+-]+", name):
        raise ValueError("holds a character that no user name has")
    if name.lower() == "cels":
        raise ValueError("is no user of its own; take your own user name")
    return name


def suggestion(name: str, names: Sequence[str]) -> str:
    """Give `; did you mean "…"?` for a name that looks like one of the names, else nothing."""
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    return f'; did you mean "{close[0]}"?' if close else ""
