"""The options of `keys`."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping
from typing import Any

from argoproxy.protocol.json_text import Json
from argoproxy.protocol.keys.expiry import parse_duration

ABOUT = """\
Keys for clients, kept in the folder that the setting state_path names. A key is shown once, when it is created or
rotated. A change counts from the next request on: the proxy need not be restarted or reloaded."""
_EPILOG = """
examples:
  %(prog)s create bob
  %(prog)s create ci --models 'qwen*,gpt-4o' --expires 90d
  %(prog)s create eve --budget 5/month --rpm 60 --model-limit 'gpt-*:rpm=5'
  %(prog)s rotate bob --overlap 24h
  %(prog)s disable bob
"""

_NONE = "none"
#: The limits of a key that are a word each.
_LIMITS: Mapping[str, tuple[str, str]] = {
    "rpm": ("N", "requests a minute"),
    "tpm": ("N", "tokens a minute"),
    "concurrent": ("N", "requests at once"),
    "budget": ("5/month", "money for a day, week, month, or in total"),
    "reserve": ("max", "what is set aside for an answer that runs: expected, or max (its max_tokens)"),
}


class KeyOptionsParser(argparse.ArgumentParser):
    """Parses the arguments behind `keys`."""

    def __init__(self, program: str) -> None:
        super().__init__(
            prog=program,
            description=ABOUT,
            epilog=_EPILOG,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        words = self.add_subparsers(dest="word", required=True, parser_class=argparse.ArgumentParser, metavar="WORD")
        create = _add_named_word(words, "create", "create a key, and print it")
        _add_fields(create)
        _add_word(words, "list", "all keys, one in a line")
        _add_named_word(words, "show", "one key, and what was done with it")
        change = _add_named_word(words, "set", "change what a key may do")
        _add_fields(change)
        change.add_argument("--enable", action="store_true", help="accept it again")
        rotate = _add_named_word(words, "rotate", "give a key a new text, and print it")
        rotate.add_argument(
            "--overlap", type=_duration, default=0.0, metavar="24h", help="how long the present text goes on (0)"
        )
        rotate.add_argument(
            "--replace-new", action="store_true", help="replace the newest text at once, if nothing uses it yet"
        )
        _add_named_word(words, "disable", "refuse a key from now on")
        imports = _add_word(words, "import", "create or change keys as a file says")
        imports.add_argument("file", metavar="FILE", help="JSON as `export` prints it; - for standard input")
        imports.add_argument("--prune", action="store_true", help="disable keys that the file does not hold")
        _add_word(words, "export", "print all keys as JSON, without their texts")


def fields_of(options: argparse.Namespace) -> dict[str, Any]:
    """Return the fields that options set, as JSON has them."""
    fields: dict[str, Any] = {}
    for name in ("models", "expires", "team"):
        if getattr(options, name) is not None:
            fields[name] = getattr(options, name)
    for name in _LIMITS:
        if getattr(options, name) is not None:
            fields[name] = _value_of(getattr(options, name))
    if options.model_limit is not None:
        fields["model_limits"] = _join_model_limits(options.model_limit)
    if options.note is not None:
        fields["metadata"] = dict(options.note)
    if getattr(options, "enable", False):
        fields["disabled"] = False
    return fields


def _add_named_word(words: Any, word: str, about: str) -> argparse.ArgumentParser:
    """Add a word that is about one key."""
    parser = _add_word(words, word, about)
    parser.add_argument("name", metavar="NAME")
    return parser


def _add_word(words: Any, word: str, about: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = words.add_parser(
        word, help=about, description=f"{about[0].upper()}{about[1:]}.", allow_abbrev=False
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--config", default="", metavar="FILE", help="settings; else $CONFIG_PATH, else ./config.yaml")
    parser.add_argument("--state_path", default="", metavar="DIR", help="the folder of keys")
    return parser


def _add_fields(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--models", metavar="NAMES", help='the models it may use: "qwen*,gpt-4o"; "" for all')
    parser.add_argument("--expires", metavar="WHEN", help="90d, 2026-12-31 (its end, UTC), 2026-12-31T18:00Z or never")
    parser.add_argument("--team", metavar="NAME", help='its team, which the config file declares; "" for none')
    parser.add_argument(
        "--note", type=_note, action="append", metavar="NAME=TEXT", help="a note of yours; may be repeated"
    )
    _add_limits(parser)


def _add_limits(parser: argparse.ArgumentParser) -> None:
    limits = parser.add_argument_group("limits", '"none" takes one away')
    for name, (metavar, about) in _LIMITS.items():
        limits.add_argument(f"--{name}", metavar=metavar, help=about)
    limits.add_argument(
        "--model-limit",
        type=_model_limit,
        action="append",
        metavar="MODELS:LIMITS",
        help="limits for some models: 'gpt-*:rpm=5,budget=1/day'; may be repeated",
    )


def _duration(text: str) -> float:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _note(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError("must be NAME=TEXT")
    return name, value


def _model_limit(text: str) -> tuple[str, Json | None]:
    """Return a pattern of models, and its limits as JSON has them; None takes them away. A pattern may hold a colon."""
    pattern, colon, limits = text.rpartition(":")
    pairs = [part.partition("=") for part in limits.split(",")]
    if not colon or not (limits == _NONE or all(equals for _, equals, _ in pairs)):
        raise argparse.ArgumentTypeError("must be MODELS:LIMITS, such as 'gpt-*:rpm=5,budget=1/day'")
    return pattern, None if limits == _NONE else {name.strip(): _value_of(value) for name, _, value in pairs}


def _join_model_limits(limits: Iterable[tuple[str, Json | None]]) -> Json:
    joined: Json = {}
    for pattern, fields in limits:
        joined[pattern] = fields and {**(joined.get(pattern) or {}), **fields}
    return joined


def _value_of(text: str) -> str | None:
    return None if text.strip().lower() == _NONE else text.strip()
