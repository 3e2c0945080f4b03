"""Parse the gateway's replies: whole ones, streams of text, and errors that look like answers.

A whole reply is `{"response": "text"}`, with tools `{"response": {"content", "tool_calls"}}`. A stream is UTF-8 text
without events, cut anywhere, even within a character; it ends with the body. Some errors ("soft errors") come as an
answer with status 200. They are recognised by how they begin, as captured from the gateway in 2026.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from argoproxy.errors import ProxyError, UpstreamProtocolError
from argoproxy.protocol.json_text import Json, as_text
from argoproxy.protocol.stream.sse import encode_json
from argoproxy.upstreams.argo.tools import parse_calls
from argoproxy.upstreams.error_replies import error_in_success, loads_or_none

#: The most characters held back while a text could still be a soft error.
MAX_HELD_BACK = 16 * 1024

#: Stars, blanks and signs in front of the words of a soft error.
_ORNAMENT = re.compile(r"[\W_]*")
_URL = re.compile(r"(?<!\S)\S*://\S*")
_QUOTED_CHARACTERS = 600


@dataclass(frozen=True, slots=True)
class SoftError:
    """An error that comes as an answer: how it begins, what else it contains, and the error to report."""

    beginning: str
    contains: str
    status: int
    type: str
    code: str


SOFT_ERRORS = (
    SoftError(
        "IMPORTANT AUTHENTICATION NOTICE FROM ARGO",
        "ACCESS DENIED",
        403,
        "permission_error",
        "argo_access_denied",
    ),
    SoftError("AUTHENTICATION NOTICE FROM ARGO", "ACCESS DENIED", 403, "permission_error", "argo_access_denied"),
    SoftError(
        "You passed a messages field along with a system and or prompt field",
        "",
        400,
        "invalid_request_error",
        "argo_refused",
    ),
)


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer: its text, and its tool calls in OpenAI's form."""

    text: str
    calls: list[Json]


def read_text_stream(pieces: Iterable[bytes], undecodable: str) -> Iterator[str]:
    """Yield a stream's text as it arrives, "" when nothing arrives for a moment. `undecodable` is the codec's error
    handler. Raises ProxyError if the text is a soft error, is empty, or breaks off."""
    decoder = codecs.getincrementaldecoder("utf-8")(undecodable)
    beginning, is_empty = _Beginning(), True
    broken: ProxyError | None = None
    try:
        for piece in pieces:
            is_empty = is_empty and not piece
            text = beginning.feed(decoder.decode(piece))
            if text or not piece:
                yield text
    except ProxyError as error:
        broken = error
    if rest := beginning.feed(decoder.decode(b"", final=True)) + beginning.finish():
        yield rest
    if broken:
        raise broken
    if is_empty:
        raise _no_answer("")


def parse_reply(body: bytes, call_id: str) -> Answer:
    """Parse a whole reply. Raises ProxyError if it contains no answer, or a soft error."""
    document = loads_or_none(body)
    if not isinstance(document, dict):
        raise UpstreamProtocolError("The Argo gateway's reply is not a JSON object.")
    response = document.get("response")
    if isinstance(response, str):
        raise_soft_error(response)
        return Answer(response, [])
    if isinstance(response, dict):
        text, calls = response.get("content"), parse_calls(response.get("tool_calls"), call_id)
        if isinstance(text, str) or calls:
            raise_soft_error(as_text(text))
            return Answer(as_text(text), calls)
    raise _no_answer(document.get("detail") or document.get("error") or document.get("message"))


def raise_soft_error(text: str) -> None:
    """Raise an error if a text is one."""
    start = text[_ornament(text) :]
    for soft in SOFT_ERRORS:
        if start.startswith(soft.beginning) and soft.contains in start[:MAX_HELD_BACK]:
            words = " ".join(_URL.sub("", start[:MAX_HELD_BACK]).replace("*", " ").split())
            raise error_in_success(
                soft.status,
                {
                    "message": f"The Argo gateway refused: {words[:_QUOTED_CHARACTERS]}",
                    "type": soft.type,
                    "code": soft.code,
                },
            )


class _Beginning:
    """Holds a text back while it could still be a soft error."""

    def __init__(self) -> None:
        self._held = ""
        self._ornament = 0
        self._is_decided = False

    def feed(self, text: str) -> str:
        """Take text and return what can be sent on. Raises UpstreamStatus for a soft error."""
        if self._is_decided:
            return text
        self._held += text
        self._ornament = _ornament(self._held, self._ornament)
        if len(self._held) < MAX_HELD_BACK and _may_be_soft_error(self._held, self._ornament):
            return ""
        return self.finish()

    def finish(self) -> str:
        """Return what is held back. Raises UpstreamStatus for a soft error."""
        held, self._held = self._held, ""
        self._is_decided = True
        raise_soft_error(held)
        return held


def _may_be_soft_error(text: str, at: int) -> bool:
    return any(text.startswith(soft.beginning[: len(text) - at], at) for soft in SOFT_ERRORS)


def _ornament(text: str, known: int = 0) -> int:
    """Return the length of the ornament at the beginning of a text, of which `known` characters were found before."""
    match = _ORNAMENT.match(text, known)
    return match.end() if match else known


def _no_answer(reason: Any) -> UpstreamProtocolError:
    text = reason if isinstance(reason, str) else encode_json(reason).decode() if reason else ""
    suffix = f": {text[:_QUOTED_CHARACTERS]}" if text else "."
    return UpstreamProtocolError(f"The Argo gateway's reply contains no answer{suffix}", code="argo_no_answer")
