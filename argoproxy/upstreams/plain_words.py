"""What an upstream says in an error body that is no JSON: "CUDA out of memory", "model is loading"."""

from __future__ import annotations

import re

from argoproxy.protocol.access.printable import printable

#: A longer body is a page, a dump or a trace, and not a message.
LONGEST_BODY = 4096
LONGEST_MESSAGE = 300
_MOST_LINES = 2

#: How a body begins that is markup, broken JSON, events or a stack trace.
_NO_WORDS = re.compile(r"[<{\[]|data:|event:|Traceback \(", re.IGNORECASE)
_TAG = re.compile(r"</?[A-Za-z!][^<>]*>")
#: Where the upstream is: URLs, addresses, a host with a port. Messages name none of them.
_PLACE = re.compile(
    r"[a-z][a-z0-9+.-]{0,15}://\S+|\[?(?:[0-9a-f]{0,4}:){2,7}[0-9a-f]{0,4}\]?(?::\d+)?"
    r"|(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?::\d+)?(?![\w.])|(?<![\w.-])[a-z0-9][\w.-]{0,252}:\d{2,5}(?!\w)",
    re.IGNORECASE,
)
_HIDDEN = "…"


def plain_words(body: bytes) -> str:
    """Return the first words of a short body of plain text, as one printable line; "" where there are none."""
    if len(body) > LONGEST_BODY or b"\0" in body:
        return ""
    try:
        text = body.decode("utf-8-sig").strip()
    except UnicodeDecodeError:
        return ""
    if _NO_WORDS.match(text):
        return ""
    lines = [" ".join(line.split()) for line in _TAG.sub(" ", text).splitlines()]
    words = " ".join([line for line in lines if line][:_MOST_LINES])
    words = printable(_PLACE.sub(_HIDDEN, words))
    return words if len(words) <= LONGEST_MESSAGE else f"{words[: LONGEST_MESSAGE - 1]}…"
