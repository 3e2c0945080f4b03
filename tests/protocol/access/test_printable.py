from __future__ import annotations

import json
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argoproxy.protocol.access.printable import log_value, printable, printable_lines


def unsafe_characters() -> list[str]:
    """Return what the terminal acts on, or what changes the order of what is read; joiners belong to words."""
    return [
        character
        for character in map(chr, range(sys.maxunicode + 1))
        if unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp")
        or unicodedata.bidirectional(character) in ("RLE", "LRE", "RLO", "LRO", "PDF", "RLI", "LRI", "FSI", "PDI")
        or character in "\u061c\u200e\u200f"
    ]


def test_no_control_or_bidirectional_character_is_left() -> None:
    unsafe = unsafe_characters()
    assert len(unsafe) > 2000
    for character in unsafe:
        shown = printable(f"a{character}b")
        assert shown.isascii(), hex(ord(character))
        assert shown.isprintable(), hex(ord(character))
        assert json.loads(f'"{shown}"') == f"a{character}b"


def test_line_breaks_are_left_in_lines_alone() -> None:
    assert printable_lines("a\nb\r\u2028c\t") == "a\nb\\r\\u2028c\\t"
    assert printable("a\nb") == "a\\nb"


@pytest.mark.parametrize("text", ["", "caf\xe9 \u4f60\u597d", "\U0001f469\u200d\U0001f4bb", "\u0645\u06cc\u200c\u062e"])
def test_words_of_any_script_are_left(text: str) -> None:
    assert printable(text) == printable_lines(text) == text


@given(st.text())
def test_json_stays_the_same_document(text: str) -> None:
    for indent in (None, 2):
        written = json.dumps({text: [text]}, ensure_ascii=False, indent=indent)
        assert json.loads(printable_lines(written)) == {text: [text]}


def test_a_log_value_is_one_word_or_one_string() -> None:
    assert log_value("openai/gpt-4o:free") == "openai/gpt-4o:free"
    assert log_value("a status=200") == '"a status=200"'
    assert log_value("\x1b\n\x9b\u202e") == '"\\u001b\\n\\u009b\\u202e"'
    assert log_value(300 * "a", 10) == 10 * "a"
    assert log_value("") == '""'
