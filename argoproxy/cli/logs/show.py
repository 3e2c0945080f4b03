"""One exchange of a journal in full, as text; and the command that sends its request again."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import quote

from argoproxy.cli.logs.entries import text_of
from argoproxy.protocol.access.printable import printable, printable_lines
from argoproxy.protocol.json_text import Json, dumps

#: What the kernel takes as one argument of a command is 128 KiB.
LONGEST_ARGUMENT_BYTES = 100_000

_ASCII = "".join(map(chr, range(0x21, 0x7F)))
_BODIES = ("input", "output")


class NoReplay(Exception):
    """The journal does not hold what was asked; the message says why."""


def exchange_text(client: Json | None, servers: Sequence[Json]) -> Iterator[str]:
    """Give an exchange line by line: the client's side, then each request sent upstream."""
    if client is None:
        yield "=== client: no line; it could not be written, or was put aside and deleted ==="
    else:
        yield "=== client ==="
        yield from _side(client)
    for number, server in enumerate(servers, 1):
        yield ""
        yield f"=== upstream, request {number} of {len(servers)} ==="
        yield from _side(server)
    if not servers:
        yield ""
        yield "=== upstream: not asked ==="


def curl(client: Json, port: int) -> str:
    """Give a command for a shell that sends a client's request again. Raises NoReplay."""
    body, method = client.get("input"), text_of(client, "method") or "POST"
    if isinstance(body, dict) and set(body) == {"bytes"}:
        raise NoReplay(
            "the journal has only the size of this request's body (journal_bodies: meta, or a forwarded path)"
        )
    words = ["curl", *(["-N"] if client.get("return_mode") == "stream" else [])]
    words.append(shlex.quote(f"http://localhost:{port}{_escaped_path(text_of(client, 'path'))}"))
    lines = [" ".join(words)]
    if method != ("GET" if body is None else "POST"):
        lines.append(f"-X {shlex.quote(printable(method))}")
    if client.get("key"):
        lines.append('-H "Authorization: Bearer $API_KEY"')
    if body is not None:
        lines.append("-H 'Content-Type: application/json'")
        lines.append(_data(printable_lines(dumps(body).decode())))
    return " \\\n  ".join(lines)


def _escaped_path(path: str) -> str:
    """Return a path with every character that is no printable ASCII as the escape of its byte: a path came as bytes."""
    encoding = "latin-1" if max(path, default="") <= "\xff" else "utf-8"
    return quote(path.encode(encoding, "replace"), safe=_ASCII)


def _data(text: str) -> str:
    """Give the option with a body; a long one comes in by another way than as an argument."""
    if len(text.encode()) > LONGEST_ARGUMENT_BYTES:
        return f"--data-binary @- <<'END_OF_BODY'\n{text}\nEND_OF_BODY"
    return f"--data-raw {shlex.quote(text)}"


def _side(line: Json) -> Iterator[str]:
    fields = {name: value for name, value in line.items() if name not in _BODIES and value not in (None, "")}
    width = max(map(len, fields), default=0)
    for name, value in fields.items():
        yield f"{_safe(name):{width}}  {_safe(value) if isinstance(value, str) else _json(value, None)}"
    error = line.get("output")
    if isinstance(error, dict) and error.get("error"):
        yield f"{'error':{width}}  {_safe(_told(error['error']))}"
    for name in _BODIES:
        if name in line:
            yield f"{name}:"
            yield _json(line[name], 2)


def _told(error: Any) -> str:
    """Give an error in a few words."""
    if not isinstance(error, dict):
        return error if isinstance(error, str) else _json(error, None)
    code = error.get("code")
    return str(error.get("message") or "") + (f" ({code})" if code else "")


def _json(value: Any, indent: int | None) -> str:
    return printable_lines(json.dumps(value, ensure_ascii=False, indent=indent))


def _safe(text: str) -> str:
    """Give a text in one line."""
    return _json(text, None)[1:-1].replace('\\"', '"')
