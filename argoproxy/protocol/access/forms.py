"""Strict reading of `multipart/form-data`: either every parser reads the same fields, or the form is refused.

Parsers differ in how they treat folded lines, backslashes, repeated parameters, bare line breaks, a preamble, nested
parts and much more (RFC 7578, RFC 2046 section 5.1, RFC 2231). A form passes only if it uses none of that, and if its
boundary occurs nowhere but in its delimiters, so that no parser can find a delimiter at another place.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

#: More parts than any API takes; a limit that common parsers have too.
MOST_PARTS = 1000
LONGEST_PART_HEAD = 8192

_CHARSET = r"(?:[ \t]*;[ \t]*charset=\"?utf-8\"?)?"
_FORM = re.compile(
    rf"multipart/form-data{_CHARSET}[ \t]*;[ \t]*boundary="
    rf"(?:\"([0-9A-Za-z'()+_,./:=?-]{{1,70}})\"|([0-9A-Za-z'+_.-]{{1,70}})){_CHARSET}",
    re.IGNORECASE,
)

_TOKEN = rb"[!#$%&'+.^_`|~0-9A-Za-z-]+"
_PARAMETER = rb'; ?(name|filename|filename\*)=(?:"([^"\\\x00-\x1f\x7f]*)"|(' + _TOKEN + rb"))"
_PARAMETERS = re.compile(_PARAMETER, re.IGNORECASE)
_DISPOSITION = re.compile(rb"form-data(?:" + _PARAMETER + rb")+", re.IGNORECASE)
_TYPE = re.compile(_TOKEN + rb"/" + _TOKEN + rb"(?:; ?" + _TOKEN + rb'="?' + _TOKEN + rb'"?)*')
_TEXT = re.compile(rb"text/plain(?:; ?charset=\"?(?:utf-8|us-ascii)\"?)?", re.IGNORECASE)
_NESTED = (b"multipart/", b"message/")
_KNOWN_LINES = frozenset((b"content-disposition", b"content-type", b"content-length", b"content-transfer-encoding"))
_PLAIN_ENCODINGS = frozenset((b"", b"7bit", b"8bit", b"binary"))


class FormError(ValueError):
    """The form is not written plainly enough to be sure how others read it."""


@dataclass(frozen=True, slots=True)
class Field:
    """A part of a form; `value` is None for a file and for what declares another type than plain text."""

    name: str
    value: bytes | None


def fields_of(body: bytes, content_type: str) -> Iterator[Field]:
    """Return the fields of a form in their order. Raises FormError."""
    boundary = _boundary_of(content_type)
    if not body.startswith(b"--" + boundary + b"\r\n"):
        raise FormError("the form has a preamble, or its first boundary is missing")
    start = len(boundary) + 4
    for _ in range(MOST_PARTS):
        at = body.find(boundary, start)
        if at < 0 or body[at - 4 : at] != b"\r\n--" or at - 4 < start:
            raise FormError("the boundary is missing, or stands inside a part")
        yield _field(body, start, at - 4)
        start = at + len(boundary) + 2
        mark = body[start - 2 : start]
        if mark == b"--" and body[start : start + 3] in (b"", b"\r\n"):
            return
        if mark != b"\r\n":
            raise FormError("a boundary is followed by something else")
    raise FormError("the form has too many parts")


def _boundary_of(content_type: str) -> bytes:
    found = _FORM.fullmatch(content_type.strip(" \t"))
    if not found:
        raise FormError("the content type is not that of a form with one plain boundary")
    return (found.group(1) or found.group(2)).encode("ascii")


def _field(body: bytes, start: int, end: int) -> Field:
    """Read the part between two offsets."""
    head_end = body.find(b"\r\n\r\n", start, min(end, start + LONGEST_PART_HEAD))
    if head_end < 0:
        raise FormError("a part has no head, or a long one")
    lines = _lines_of(body[start:head_end])
    parameters = _parameters_of(lines.get(b"content-disposition", b""))
    kind = lines.get(b"content-type", b"text/plain")
    if not _TYPE.fullmatch(kind) or kind.lower().startswith(_NESTED):
        raise FormError("a part declares an unusual type")
    if lines.get(b"content-transfer-encoding", b"").lower() not in _PLAIN_ENCODINGS:
        raise FormError("a part is encoded")
    value_start = head_end + 4
    if lines.get(b"content-length", b"%d" % (end - value_start)) != b"%d" % (end - value_start):
        raise FormError("a part declares another length than it has")
    is_text = _TEXT.fullmatch(kind) and parameters.keys() == {b"name"}
    name = parameters.get(b"name", b"")
    if not name or not name.isascii() or name.lower() == b"_charset_":
        raise FormError("a part has no plain name")
    return Field(name.decode("ascii"), body[value_start:end] if is_text else None)


def _lines_of(head: bytes) -> dict[bytes, bytes]:
    """Return the head lines of a part by their names in lower case."""
    lines: dict[bytes, bytes] = {}
    for line in head.split(b"\r\n"):
        name, colon, value = line.partition(b":")
        name = name.lower()
        if not colon or name not in _KNOWN_LINES or name in lines or re.search(rb"[\x00-\x1f\x7f]", value):
            raise FormError("a part has an unusual head line")
        lines[name] = value.removeprefix(b" ")
    return lines


def _parameters_of(disposition: bytes) -> dict[bytes, bytes]:
    if not _DISPOSITION.fullmatch(disposition):
        raise FormError("a part has no plain Content-Disposition")
    found = [(name.lower(), quoted or token) for name, quoted, token in _PARAMETERS.findall(disposition)]
    parameters = dict(found)
    if len(parameters) != len(found):
        raise FormError("a part repeats a parameter")
    return parameters
