"""The shell command that sends a request of the journal again."""

from __future__ import annotations

import shlex
from urllib.parse import quote

from argoproxy.protocol.access.printable import printable, printable_lines
from argoproxy.protocol.json_text import Json, as_text, dumps

#: A little less than the 128 KiB that Linux takes as one argument of a command.
MAX_ARGUMENT_BYTES = 100_000

_ASCII = "".join(map(chr, range(0x21, 0x7F)))


class NotRepeatable(Exception):
    """The journal does not hold the request's body; the message says why."""


def curl_command(client: Json, port: int) -> str:
    """Return a shell command that sends a client's request again. Raises NotRepeatable."""
    body, method = client.get("input"), as_text(client.get("method")) or "POST"
    if isinstance(body, dict) and set(body) == {"bytes"}:
        raise NotRepeatable(
            "The journal has only the size of this request's body (journal_bodies: meta, or a forwarded path)."
        )
    words = ["curl", *(["-N"] if client.get("return_mode") == "stream" else [])]
    words.append(shlex.quote(f"http://localhost:{port}{_escape_path(as_text(client.get('path')))}"))
    lines = [" ".join(words)]
    if method != ("GET" if body is None else "POST"):
        lines.append(f"-X {shlex.quote(printable(method))}")
    if client.get("key"):
        lines.append('-H "Authorization: Bearer $API_KEY"')
    if body is not None:
        lines.append("-H 'Content-Type: application/json'")
        lines.append(_body_option(printable_lines(dumps(body).decode())))
    return " \\\n  ".join(lines)


def _escape_path(path: str) -> str:
    """Escape the bytes of a path that are not printable ASCII."""
    # WSGI decodes a path as Latin-1; the journal holds it so.
    encoding = "latin-1" if max(path, default="") <= "\xff" else "utf-8"
    return quote(path.encode(encoding, "replace"), safe=_ASCII)


def _body_option(text: str) -> str:
    """Return the option with a body; one that is too long for an argument comes from a here-document."""
    if len(text.encode()) > MAX_ARGUMENT_BYTES:
        return f"--data-binary @- <<'END_OF_BODY'\n{text}\nEND_OF_BODY"
    return f"--data-raw {shlex.quote(text)}"
