"""An estimate of the tokens of a request, for upstreams that can't count.

About four bytes of text are a token in English and in code, fewer characters in other scripts, which have more bytes.
Everything that goes to the model is counted: texts, thoughts, tools, their calls and results. An image counts for its
most usual size, and nothing is added for the form, so that the estimates of parts add up to that of the whole.
"""

from __future__ import annotations

from typing import Any

from argoproxy.protocol.json_text import Json, JsonError, as_dict, as_list, as_text, dumps
from argoproxy.protocol.messages.answers.usage import BYTES_A_TOKEN

#: Anthropic's documentation on vision: width x height / 750, for about 1000 x 1200 pixels.
IMAGE_TOKENS = 1600
#: Bytes of a PDF's base64 text for one token: a page of 1,500 to 3,000 tokens has about 100 kB.
PDF_BYTES_A_TOKEN = 50


def estimate_tokens(body: Json) -> int:
    """Return about how many tokens a request of Messages has, at least 1."""
    messages = [as_dict(message).get("content") for message in as_list(body.get("messages"))]
    tools = [_without_marks(as_dict(tool)) for tool in as_list(body.get("tools"))]
    return max(1, _of_contents([body.get("system"), *messages]) + sum(map(_of_json, tools)))


def _of_contents(contents: list[Any]) -> int:
    """Return the tokens of contents, and of those within their blocks; `contents` is used up. Blocks may be nested as
    deeply as JSON can be, too deeply for functions that call themselves."""
    tokens = 0
    while contents:
        content = contents.pop()
        if isinstance(content, str):
            tokens += _of_text(content)
            continue
        for block in map(as_dict, as_list(content)):
            tokens += _of_block(block)
            contents += _contents_within(block)
    return tokens


def _of_block(block: Json) -> int:
    """Return the tokens of a block without the contents within it."""
    kind, source = block.get("type"), as_dict(block.get("source"))
    if kind == "image":
        return IMAGE_TOKENS
    if kind == "document" and source.get("type") == "base64":
        return len(as_text(source.get("data"))) // PDF_BYTES_A_TOKEN
    if kind == "tool_use":
        return _of_text(as_text(block.get("name"))) + _of_json(block.get("input"))
    return sum(_of_text(as_text(block.get(key))) for key in ("text", "thinking", "title", "context"))


def _contents_within(block: Json) -> list[Any]:
    kind, source = block.get("type"), as_dict(block.get("source"))
    if kind in ("image", "tool_use") or (kind == "document" and source.get("type") == "base64"):
        return []
    return [block.get("content"), source.get("data") if source.get("type") == "text" else source.get("content")]


def _of_text(text: str) -> int:
    return _of_bytes(len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass")))


def _of_json(value: Any) -> int:
    """Return the tokens of a value; 0 for one that is nested too deeply to be written."""
    try:
        return _of_bytes(len(dumps(value)))
    except JsonError:
        return 0


def _of_bytes(size: int) -> int:
    return -(-size // BYTES_A_TOKEN)


def _without_marks(tool: Json) -> Json:
    return {key: value for key, value in tool.items() if key != "cache_control"}
