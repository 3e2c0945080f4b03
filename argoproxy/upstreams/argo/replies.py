"""What comes from Argo's gateway: text as it is written, whole answers, and the errors that look like answers.

A stream is raw UTF-8 in arbitrary cuts, no event stream: its end is the end of the body. An answer is
`{"response": "text"}`, with tools `{"response": {"content", "tool_calls"}}`. Some refusals come as an answer under
a status of success; the openings of those are known (captured from the gateway in 2026).
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from argoproxy.errors import ProxyError, UpstreamProtocolError
from argoproxy.protocol.json_text import Json, as_text, dumps
from argoproxy.upstreams.argo.tools import calls_from
from argoproxy.upstreams.error_replies import error_in_success, loads_or_none

#: How much of what begins like a refusal is held back to see whether it is one.
LONGEST_REFUSAL = 16 * 1024

_ORNAMENT = re.compile(r"[\W_]*")
_URL = re.compile(r"(?<!\S)\S*://\S*")
_TOLD_CHARACTERS = 600


@dataclass(frozen=True, slots=True)
class SoftError:
    """A refusal that comes as an answer: how it begins, what else is in it, and the error it is."""

    opening: str
    holds: str
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
    """What a model answered: text, and calls of tools in OpenAI's shape."""

    text: str
    calls: list[Json]


def spoken(pieces: Iterable[bytes], undecodable: str) -> Iterator[str]:
    """Give a stream's text as it arrives, "" for silence; `undecodable` names the codec's error handler. Raises
    ProxyError when the text is a refusal, ends before it began, or breaks off."""
    decoder = codecs.getincrementaldecoder("utf-8")(undecodable)
    opening, is_empty = _Opening(), True
    broken: ProxyError | None = None
    try:
        for piece in pieces:
            is_empty = is_empty and not piece
            text = opening.feed(decoder.decode(piece))
            if text or not piece:
                yield text
    except ProxyError as error:
        broken = error
    if rest := opening.feed(decoder.decode(b"", final=True)) + opening.finish():
        yield rest
    if broken:
        raise broken
    if is_empty:
        raise _no_answer("")


def read_answer(body: bytes, call_id: str) -> Answer:
    """Read a whole answer. Raises ProxyError when there is none in it, or a refusal."""
    document = loads_or_none(body)
    if not isinstance(document, dict):
        raise UpstreamProtocolError("The Argo gateway's reply is no JSON object.")
    response = document.get("response")
    if isinstance(response, str):
        refuse_soft_error(response)
        return Answer(response, [])
    if isinstance(response, dict):
        text, calls = response.get("content"), calls_from(response.get("tool_calls"), call_id)
        if isinstance(text, str) or calls:
            refuse_soft_error(as_text(text))
            return Answer(as_text(text), calls)
    raise _no_answer(document.get("detail") or document.get("error") or document.get("message"))


def refuse_soft_error(text: str) -> None:
    """Raise the error that an answer is, if it is one."""
    start = text[_ornament(text) :]
    for soft in SOFT_ERRORS:
        if start.startswith(soft.opening) and soft.holds in start[:LONGEST_REFUSAL]:
            words = " ".join(_URL.sub("", start[:LONGEST_REFUSAL]).replace("*", " ").split())
            raise error_in_success(
                soft.status,
                {
                    "message": f"The Argo gateway refused: {words[:_TOLD_CHARACTERS]}",
                    "type": soft.type,
                    "code": soft.code,
                },
            )


class _Opening:
    """Holds a text back while it could still be a refusal."""

    def __init__(self) -> None:
        self._held = ""
        self._ornament = 0
        self._is_settled = False

    def feed(self, text: str) -> str:
        """Take text, give what may go on. Raises the error that it is."""
        if self._is_settled:
            return text
        self._held += text
        self._ornament = _ornament(self._held, self._ornament)
        if len(self._held) < LONGEST_REFUSAL and _may_be_refusal(self._held, self._ornament):
            return ""
        return self.finish()

    def finish(self) -> str:
        """Give what is held. Raises the error that it is."""
        held, self._held = self._held, ""
        self._is_settled = True
        refuse_soft_error(held)
        return held


def _may_be_refusal(text: str, at: int) -> bool:
    return any(text.startswith(soft.opening[: len(text) - at], at) for soft in SOFT_ERRORS)


def _ornament(text: str, known: int = 0) -> int:
    """Return the length of the blanks, stars and signs a text begins with, of which so many are known."""
    found = _ORNAMENT.match(text, known)
    return found.end() if found else known


def _no_answer(said: Any) -> UpstreamProtocolError:
    told = said if isinstance(said, str) else dumps(said).decode() if said else ""
    reason = f": {told[:_TOLD_CHARACTERS]}" if told else "; the model gave none."
    return UpstreamProtocolError(f"The Argo gateway's reply holds no answer{reason}", code="argo_no_answer")
