"""The blocks of Anthropic's messages as deltas of OpenAI's message, the same for whole and streamed replies.

Text becomes `content`, thinking `reasoning_content` and, with its signature, `reasoning_details` (OpenRouter's format),
tool use `tool_calls`, citations of web pages `annotations`. Blocks that OpenAI has no field for are in
`anthropic_blocks`. Each such item has the index of its block, by which a later request puts it back in its place.
Source: Anthropic API reference, Messages and Streaming.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from argoproxy.protocol.json_text import Json, JsonError, as_dict, as_dicts, as_text, loads
from argoproxy.protocol.stream.sse import encode_json
from argoproxy.upstreams.anthropic.messages import DETAILS_FORMAT, OTHER_BLOCKS

Deltas = Iterator[Json]

#: A piece of text as Anthropic and most servers write it, also padded, certainly valid, around the index of its block.
_BEFORE_INDEX = rb'(?:event: ?content_block_delta\n)?data: ?\{"type": ?"content_block_delta", ?"index": ?'
_AFTER_INDEX = (
    rb', ?"delta": ?\{"type": ?"text_delta", ?"text": ?"'
    rb'[^"\\\x00-\x1f]*+(?:\\(?:["\\/bfnrt]|u[0-9A-Fa-f]{4})[^"\\\x00-\x1f]*+)*+"\} *+\} *+\n\n'
)
#: Such pieces of one block, one after the other; the group is its index.
TEXT_RUN = re.compile(rb"%b(0|[1-9]\d{0,8})%b(?:%b\1%b)*+" % (_BEFORE_INDEX, _AFTER_INDEX, _BEFORE_INDEX, _AFTER_INDEX))
#: The text of each, as it is in the JSON: a string can't hold this without a backslash before its quotes.
_TEXT = re.compile(rb'"text": ?"([^"\\]*+(?:\\.[^"\\]*+)*+)"')


@dataclass(slots=True)
class _OpenBlock:
    """A block that has begun: its start, and what is needed at its end."""

    start: Json
    call_index: int = 0
    is_custom: bool = False
    begins_at: int = 0
    citations: list[Json] = field(default_factory=list)
    pieces: list[str] = field(default_factory=list)
    has_arguments: bool = False

    @property
    def arguments(self) -> str:
        """The arguments that were kept, because they can be read only as a whole."""
        return "".join(self.pieces)


class BlockReader:
    """Turns the blocks of one message into deltas; `custom_names` are the names of the request's custom tools."""

    def __init__(self, custom_names: frozenset[str]) -> None:
        self._custom_names = custom_names
        self._open: dict[int, _OpenBlock] = {}
        self._calls = 0
        self._text_length = 0

    @property
    def has_calls(self) -> bool:
        """Whether a tool was called."""
        return self._calls > 0

    def read_text_run(self, raw: bytes) -> Sequence[bytes] | None:
        """Return the texts of a TEXT_RUN as they are in the JSON, without parsing that; None if its block is not open
        or none of text."""
        match = TEXT_RUN.match(raw)
        opened = self._open.get(int(match[1])) if match else None
        if not opened or opened.start.get("type") != "text":
            return None
        texts: Sequence[bytes] = _TEXT.findall(raw)
        self._text_length += _count_characters(texts)
        return texts

    def start(self, index: int, block: Json) -> Deltas:
        """Begin a block; yield what its start holds already."""
        opened = self._open[index] = _OpenBlock(block, self._calls, begins_at=self._text_length)
        kind = block.get("type")
        if kind == "text":
            opened.citations += as_dicts(block.get("citations"))
            yield from self._add_text(block.get("text"))
        elif kind == "thinking":
            yield from _think(index, text=block.get("thinking"))
            yield from _think(index, signature=block.get("signature"))
        elif kind == "redacted_thinking":
            detail = {"type": "reasoning.encrypted", "data": block.get("data")}
            yield {"reasoning_details": [{**detail, "format": DETAILS_FORMAT, "index": index}]}
        elif kind == "tool_use":
            self._calls += 1
            opened.is_custom = as_text(block.get("name")) in self._custom_names
            yield self._begin_call(opened)

    def add(self, index: int, delta: Json) -> Deltas:
        """Continue a block."""
        opened = self._open.get(index) or _OpenBlock({})
        match delta.get("type"):
            case "text_delta":
                yield from self._add_text(delta.get("text"))
            case "thinking_delta":
                yield from _think(index, text=delta.get("thinking"))
            case "signature_delta":
                yield from _think(index, signature=delta.get("signature"))
            case "citations_delta":
                opened.citations.append(as_dict(delta.get("citation")))
            case "input_json_delta":
                yield from self._add_arguments(opened, as_text(delta.get("partial_json")))

    def stop(self, index: int) -> Deltas:
        """End a block; yield what is complete only now."""
        opened = self._open.pop(index, None) or _OpenBlock({})
        kind = as_text(opened.start.get("type"))
        if kind == "tool_use":
            yield from self._end_call(opened)
        elif kind == "text" and (pages := list(_cite_pages(opened.citations))):
            place = {"start_index": opened.begins_at, "end_index": self._text_length}
            yield {"annotations": [{"type": "url_citation", "url_citation": {**page, **place}} for page in pages]}
        elif kind and kind not in ("text", "thinking", "redacted_thinking"):
            given = {"input": _parse(opened.arguments)} if opened.has_arguments else {}
            yield {OTHER_BLOCKS: [{"index": index, **opened.start, **given}]}

    def _add_text(self, text: Any) -> Deltas:
        if isinstance(text, str) and text:
            self._text_length += len(text)
            yield {"content": text}

    def _begin_call(self, opened: _OpenBlock) -> Json:
        kind, text = ("custom", "input") if opened.is_custom else ("function", "arguments")
        body = {"name": opened.start.get("name"), text: ""}
        return {"tool_calls": [{"index": opened.call_index, "id": opened.start.get("id"), "type": kind, kind: body}]}

    def _add_arguments(self, opened: _OpenBlock, text: str) -> Deltas:
        if not text:
            return
        opened.has_arguments = True
        if opened.is_custom or opened.start.get("type") != "tool_use":
            opened.pieces.append(text)
        else:
            yield _continue_call(opened, {"function": {"arguments": text}})

    def _end_call(self, opened: _OpenBlock) -> Deltas:
        """Yield the arguments of a call that came with its start or not at all, and the text of a custom tool. Of
        arguments in the start and in deltas, as some servers repeat them, the deltas count."""
        given = _parse(opened.arguments) if opened.is_custom and opened.has_arguments else opened.start.get("input")
        if opened.is_custom:
            text = as_dict(given).get("input")
            text = text if isinstance(text, str) else opened.arguments
            yield from [_continue_call(opened, {"custom": {"input": text}})] if text else []
        elif not opened.has_arguments:
            yield _continue_call(opened, {"function": {"arguments": encode_json(as_dict(given)).decode()}})


def _continue_call(opened: _OpenBlock, fields: Json) -> Json:
    return {"tool_calls": [{"index": opened.call_index, **fields}]}


def _think(index: int, *, text: Any = None, signature: Any = None) -> Deltas:
    """Yield a piece of thinking, and its signature."""
    detail: Json = {"type": "reasoning.text", "format": DETAILS_FORMAT, "index": index}
    if isinstance(text, str) and text:
        yield {"reasoning_content": text, "reasoning_details": [{**detail, "text": text}]}
    if isinstance(signature, str) and signature:
        yield {"reasoning_details": [{**detail, "signature": signature}]}


def _cite_pages(citations: Iterable[Json]) -> Deltas:
    for citation in citations:
        if isinstance(citation.get("url"), str):
            yield {"url": citation["url"], "title": as_text(citation.get("title"))}


def _parse(text: str) -> Any:
    try:
        return loads(text.encode("utf-8", "replace"))
    except JsonError:
        return text


def _count_characters(texts: Sequence[bytes]) -> int:
    """Return how many characters texts in JSON have, each decoded by itself."""
    joined = b"".join(texts)
    if b"\\" not in joined:
        return len(joined) if joined.isascii() else len(joined.decode())
    return sum(map(len, loads(b'["' + b'","'.join(texts) + b'"]')))
