r"""Text for a person to read: what a terminal would act on, or what changes the order of reading, becomes an escape.

Log lines, tracebacks, warnings and the `logs` command all use these functions. Escapes are those of JSON (`\u001b`), so
JSON text stays the same document. Joiners (U+200C, U+200D) are left: Persian and emoji are written with them.

Sources: ECMA-48 (C0 and C1 control characters), Unicode UAX #9 (bidirectional formatting), UTS #39, CVE-2021-42574.
"""

from __future__ import annotations

import json
import re

_FORMATTING = (
    "\x7f-\x9f"  # DEL, C1: U+009B begins a control sequence
    "\xad\u061c\u200b\u200e\u200f"  # soft hyphen, zero width space, marks of direction
    "\u2028-\u202e\u2060-\u206f"  # separators of lines, embeddings, overrides, isolates, invisible operators
    "\ufeff\ufff9-\ufffb"  # byte order mark, annotations
    "\ud800-\udfff"  # surrogates, which no encoding takes
    "\U000e0000-\U000e007f"  # tags: invisible text
)
_NOT_IN_A_LINE = re.compile(f"[\x00-\x1f{_FORMATTING}]")
_NOT_IN_LINES = re.compile(f"[\x00-\x09\x0b-\x1f{_FORMATTING}]")
_PLAIN_FIELD = re.compile(r"[\w./:@+*{}-]+", re.ASCII)


def printable(text: str) -> str:
    """Return a text in one line, unsafe characters escaped."""
    return text if text.isprintable() else _NOT_IN_A_LINE.sub(_escape, text)


def printable_lines(text: str) -> str:
    """Return a text with its line breaks, other unsafe characters escaped."""
    return text if text.isprintable() else _NOT_IN_LINES.sub(_escape, text)


def log_value(value: object, longest: int = 200) -> str:
    """Return a value for a log line of `name=value`: as it is where it is a word, else as a JSON string in ASCII."""
    text = str(value)[:longest]
    return text if _PLAIN_FIELD.fullmatch(text) else json.dumps(text)


def _escape(found: re.Match[str]) -> str:
    return json.dumps(found[0])[1:-1]
