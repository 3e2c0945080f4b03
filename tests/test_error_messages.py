"""Every message that a client can get is in docs/errors.md, with its status, its code and its type."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

from tests.support.error_messages import ROOT, Message, messages_of_code

#: Found once for all tests: that reads the whole package.
find_messages = cache(lambda: frozenset(messages_of_code()))
PAGE = (ROOT / "docs" / "errors.md").read_text()
_ROW = re.compile(r"\| (\d{3}) \| (?:`(\w+)`|—) \| `(\w+)` \| (.+) \| (.+) \|")


def rows() -> Iterator[tuple[Message, str]]:
    """Yield each message of the table, and what the table tells to do."""
    for status, code, kind, texts, advice in (match.groups() for match in _ROW.finditer(PAGE)):
        for text in texts.split("<br>"):
            yield Message(int(status), code or "", kind, text), advice


def test_every_message_is_documented() -> None:
    documented = {message for message, _ in rows()}
    assert sorted(find_messages() - documented) == [], "add these to the table of docs/errors.md"


def test_every_documented_message_exists() -> None:
    assert sorted({message for message, _ in rows()} - find_messages()) == [], "remove these from docs/errors.md"


def test_every_message_is_a_sentence_and_has_advice() -> None:
    for message, advice in rows():
        assert re.match(r"[A-Z…`]", message.text), message
        assert message.text.endswith((".", "…")), message
        assert advice.strip(), message
