"""Parsers of settings: text from the environment, or a value from a file, to the value that the proxy works with.

Each raises ValueError with a message that is put behind the name of the setting and its value.
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
from argoproxy.upstreams.openai import ResponsesApi

LONGEST_S = 1_000_000.0
#: A number that the proxy works out for itself.
AUTO = "auto"
LOG_LEVELS = ("debug", "info", "warning")

_OTHER_LEVELS = {"trace": "debug", "notice": "info", **dict.fromkeys(("warn", "error", "critical", "fatal"), "warning")}

_CLASS = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
_NAME = re.compile(r"[A-Za-z0-9._@-]+")
_ORIGIN = re.compile(r"\*|null|[a-z][a-z0-9+.-]*://[^\s/?#@*,\"]+")
_PLACEHOLDER = re.compile(r"(?:sk-)?your[_-](?:[a-z]+[_-]){0,4}(?:key|secret|token)(?:[_-]here)?", re.IGNORECASE)
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h)?")
_UNIT_S = {"ms": 0.001, None: 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}


def parse_text(value: Any) -> str:
    """Parse a text that is not empty."""
    if isinstance(value, dict | list) or not str(value).strip():
        raise ValueError("must be a text that is not empty")
    return str(value).strip()


def whole_number_parser(least: int, most: int) -> Callable[[Any], int]:
    """Return a parser of whole numbers from `least` to `most`."""

    def parse(value: Any) -> int:
        digits = str(value).strip()
        if isinstance(value, bool) or not re.fullmatch(r"\d{1,9}", digits) or not least <= int(digits) <= most:
            raise ValueError(f"must be a whole number from {least} to {most}")
        return int(digits)

    return parse


def parse_workers(value: Any) -> int | str:
    """Parse a number of processes, or "auto"."""
    if str(value).strip().lower() == AUTO:
        return AUTO
    try:
        return whole_number_parser(1, 1000)(value)
    except ValueError as error:
        raise ValueError(f"{error}, or {AUTO}") from None


def parse_boolean(value: Any) -> bool:
    """Parse true/false, 1/0, yes/no, on/off."""
    if str(value).strip().lower() not in BOOLEANS:
        raise ValueError("must be true or false")
    return BOOLEANS[str(value).strip().lower()]


def parse_opening(value: Any) -> Opening:
    """Parse whether an answer starts inside a thought: true, false or `auto`."""
    word = str(value).strip().lower()
    if word not in OPENINGS:
        raise ValueError("must be true, false or auto")
    return OPENINGS[word]


def parse_opening_setting(value: Any) -> bool | str:
    """Parse the same to True, False or "auto", as it is shown."""
    opening = parse_opening(value)
    return str(opening) if opening is Opening.AUTO else opening is Opening.OPEN


def parse_seconds(value: Any) -> float:
    """Parse a duration to seconds: a number of seconds, `90s`, `60000ms`, `10m`, `2h`."""
    match = _DURATION.fullmatch(str(value).strip().lower())
    if isinstance(value, bool) or not match:
        raise ValueError("must be a duration, such as 90 (seconds), 90s or 60000ms")
    duration_s = float(match.group(1)) * _UNIT_S[match.group(2)]
    if not 0 < duration_s <= LONGEST_S:
        raise ValueError(f"must be more than 0 and at most {LONGEST_S:.0f} seconds")
    return duration_s


def parse_seconds_or_zero(value: Any) -> float:
    """Parse a duration, or 0, which turns off what it is for."""
    return 0.0 if str(value).strip() in ("0", "0s", "0ms", "0.0") else parse_seconds(value)


def choice_parser(names: Sequence[str]) -> Callable[[Any], str]:
    """Return a parser of one of these names."""

    def parse(value: Any) -> str:
        name = parse_text(value)
        if name not in names:
            raise ValueError(f"must be one of {', '.join(names)}{suggest(name, names)}")
        return name

    return parse


def parse_mode(value: Any) -> Mode:
    """Parse the mode in which an upstream is asked. YAML reads a bare `off` as false."""
    return Mode(choice_parser(list(Mode))(Mode.OFF.value if value is False else value))


def parse_responses(value: Any) -> ResponsesApi:
    """Parse whether an upstream has OpenAI's Responses API."""
    return ResponsesApi(choice_parser(list(ResponsesApi))(value))


def parse_log_level(value: Any) -> str:
    """Parse a log level: debug, info or warning, in any case. `LOG_LEVEL` is set for many programs, so their other
    names of levels are accepted too."""
    level = parse_text(value).lower()
    return choice_parser(LOG_LEVELS)(_OTHER_LEVELS.get(level, level))


def parse_header_text(value: Any) -> str:
    """Parse a text that may be the value of a header, without blanks."""
    key = parse_text(value)
    if not re.fullmatch(r"[\x21-\x7e]+", key):
        raise ValueError("must not contain blanks or characters that headers cannot carry")
    return key


def parse_base_url(value: Any) -> str:
    """Parse the base URL of an upstream."""
    url = parse_text(value)
    try:
        BaseUrl.parse(url)
    except ValueError as error:
        hint = f'; did you mean "http://{url}"?' if "://" not in url else ""
        raise ValueError(f"is not a base URL: {error}{hint}") from None
    return url


def is_placeholder(key: str) -> bool:
    """Return whether a key is a placeholder of an example, such as `your_openai_api_key_here`."""
    return bool(_PLACEHOLDER.fullmatch(key))


def parse_keys(value: Any) -> tuple[Key, ...]:
    """Parse API keys: separated by commas (each alone or as `name=key`), a list, or a mapping by name."""
    if isinstance(value, dict):
        pairs = [(str(name), str(key)) for name, key in value.items()]
    else:
        pieces = [
            piece.strip() for piece in (map(str, value) if isinstance(value, list) else parse_text(value).split(","))
        ]
        pairs = [_name_key(piece, number) for number, piece in enumerate(filter(None, pieces), 1)]
    keys = tuple(Key(name, Secret(parse_header_text(key))) for name, key in pairs)
    if not keys or len({key.name for key in keys}) < len(keys) or len({key.secret.text for key in keys}) < len(keys):
        raise ValueError("must hold at least one key, and no name or key twice")
    return keys


def parse_names(value: Any) -> tuple[str, ...]:
    """Parse names: separated by commas, or a list."""
    pieces = [str(piece).strip() for piece in (value if isinstance(value, list) else parse_text(value).split(","))]
    if not any(pieces):
        raise ValueError("must hold at least one name")
    return tuple(filter(None, pieces))


def parse_origins(value: Any) -> tuple[str, ...]:
    """Parse origins of web pages (`https://app.example`), or `*`."""
    origins = tuple(name.lower().removesuffix("/") for name in parse_names(value))
    if invalid := [name for name in origins if not _ORIGIN.fullmatch(name)]:
        raise ValueError(
            f"holds {invalid[0]!r}, which is not an origin; write https://host, with its port if any, or *"
        )
    return origins


def _name_key(piece: str, number: int) -> tuple[str, str]:
    """Split `name=key`; a key without a name is called by its number. A key may itself contain `=`."""
    name, equals, key = piece.partition("=")
    return (name.strip(), key.strip()) if equals and _NAME.fullmatch(name.strip()) and key else (f"key-{number}", piece)


def parse_mapping(value: Any) -> dict[str, Any]:
    """Parse a mapping by name that is not empty."""
    if not isinstance(value, dict) or not value:
        raise ValueError("must be a mapping, with a name before each colon")
    return {str(name): part for name, part in value.items()}


def parse_renamed_models(value: Any) -> dict[str, str]:
    """Parse new names of models: a mapping, or `name=new name` separated by commas."""
    if isinstance(value, dict):
        pairs = [(str(name), str(other)) for name, other in value.items()]
    else:
        pairs = [(name, other) for name, _, other in (piece.partition("=") for piece in parse_text(value).split(","))]
    renamed = {name.strip(): other.strip() for name, other in pairs}
    if not all(renamed) or not all(renamed.values()):
        raise ValueError("must be a list of name=new name")
    return renamed


def is_class_path(text: str) -> bool:
    """Return whether a text names a class as package.module:Class."""
    return bool(_CLASS.fullmatch(text))


def parse_plugin(value: Any) -> PluginSpec:
    """Parse a plug-in: `package.module:Class`, or a mapping that has this as `class`, and `options`."""
    plugin = value if isinstance(value, dict) else {"class": value}
    path, options = plugin.get("class"), plugin.get("options") or {}
    if not isinstance(path, str) or not is_class_path(path.strip()):
        raise ValueError("must name a class as package.module:Class")
    if not isinstance(options, dict) or plugin.keys() - {"class", "options"}:
        raise ValueError("may hold only `class` and `options`, a mapping")
    return PluginSpec(path.strip(), {str(name): option for name, option in options.items()})


def parse_plugins(value: Any) -> tuple[PluginSpec, ...]:
    """Parse one plug-in or a list of them."""
    return tuple(parse_plugin(one) for one in (value if isinstance(value, list) else [value]))


def parse_positive(value: Any) -> float:
    """Parse a number greater than 0."""
    if isinstance(value, bool) or not re.fullmatch(r"\d{1,6}(\.\d+)?", str(value).strip()) or float(value) <= 0:
        raise ValueError("must be a number greater than 0")
    return float(value)


def parse_addresses(value: Any) -> str:
    """Parse `true`, `false` or a list of addresses."""
    addresses = ",".join(map(str, value)) if isinstance(value, list) else parse_text(value).lower()
    if addresses in BOOLEANS:
        return str(BOOLEANS[addresses]).lower()
    try:
        AddressRule.parse(addresses)
    except ValueError:
        raise ValueError("must be true, false or a list of addresses, each with or without a port") from None
    return addresses


def parse_plain_url(value: Any) -> str:
    """Parse a base URL without credentials, query and fragment."""
    url = parse_base_url(value)
    if re.search(r"[\s?#]|//[^/]*@", url):
        raise ValueError("must not contain credentials, a query, a fragment or a blank")
    return url


def parse_host(value: Any) -> str:
    """Parse an address or a host name to listen on, or `unix:` and the path of a socket."""
    name = parse_text(value)
    if name.startswith("unix:"):
        if not re.fullmatch(r"unix:/?[^\s:]+", name) or len(name) > 100:
            raise ValueError("must be unix: and a path of at most 95 characters, without blanks and colons")
        return name
    if not re.fullmatch(r"[\w.:-]+", name):
        raise ValueError("must be an address or a host name")
    return name


def parse_user(value: Any) -> str:
    """Parse the name of an Argonne user."""
    name = parse_text(value) if isinstance(value, str) else ""
    if not name:
        raise ValueError("must be a text; put it in quotes")
    if re.search(r"\s", name):
        raise ValueError("must not contain blanks")
    if not re.fullmatch(r"[A-Za-z0-9._@+-]+", name):
        raise ValueError("may contain only letters, digits and . _ @ + -")
    if name.lower() == "cels":
        raise ValueError("is not a personal user name; use your own")
    return name


def suggest(name: str, names: Sequence[str]) -> str:
    """Return `; did you mean "…"?` where a name resembles one of the others, else ""."""
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    return f'; did you mean "{close[0]}"?' if close else ""
