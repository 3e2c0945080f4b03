"""What the requests of one conversation have in common: the key by which they go to the same upstream.

| first of | where |
| --- | --- |
| `X-Session-Id` | a header; opencode and others send it by themselves |
| `prompt_cache_key` | a field of chats and of the Responses API; Codex sends it |
| a hash of the model, the system prompt and the first message of the user | the body, in each of the APIs |

A conversation grows at its end, so its beginning stays as it was. Of the system prompt only the beginning counts: what
agents write behind it (the time, the state of a repository) may differ in the next request. Of the user's message both
ends count: some agents begin each with the same long text.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from hashlib import blake2b
from typing import Any

from argoproxy.protocol.content import ATTRIBUTION
from argoproxy.protocol.http_messages import Headers, get_header
from argoproxy.protocol.json_text import Json, as_list, as_text

SESSION_HEADER = "x-session-id"
#: Characters that are hashed of a system prompt, and of a user's message.
TEXT_LIMIT = 4096
_SYSTEM_ROLES, _USER = ("system", "developer"), "user"


def session_key(headers: Headers, body: Json) -> str:
    """Return the key of a request in any of the APIs, as its client made it."""
    named = get_header(headers, SESSION_HEADER).strip() or as_text(body.get("prompt_cache_key"))
    return named or hash_beginning(body)


def hash_beginning(body: Json) -> str:
    """Return a hash of the model, the system prompt and the first message of the user; of long ones only a part."""
    said = body.get("messages", body.get("input"))
    if said is None:  # a prompt is the whole conversation and grows at its end, which therefore does not count
        user = _take(_texts_of(_parts_of(body.get("prompt"))), TEXT_LIMIT)
    else:
        parts = _parts_of(_first_of_user(said))
        user = _take(_texts_of(parts), TEXT_LIMIT // 2) + _take_end(parts, TEXT_LIMIT // 2)
    digest = blake2b(digest_size=16)
    for text in (as_text(body.get("model")), _take(_system_texts(body, said), TEXT_LIMIT), user):
        encoded = text.encode("utf-8", "surrogatepass")
        digest.update(b"%d:%b" % (len(encoded), encoded))
    return digest.hexdigest()


def _system_texts(body: Json, said: Any) -> Iterator[str]:
    """Yield the texts of the system prompt, in the order of the body."""
    yield from _texts_of(_parts_of(body.get("system")))
    yield from _texts_of(_parts_of(body.get("instructions")))
    for item in as_list(said):
        role = item.get("role") if isinstance(item, dict) else _USER
        if role == _USER:
            return
        if role in _SYSTEM_ROLES:
            yield from _texts_of(_parts_of(item.get("content")))


def _first_of_user(said: Any) -> Any:
    """Return the content of the user's first message; of embeddings the input, or the first of several."""
    for item in as_list(said):
        if not isinstance(item, dict):
            return item if isinstance(item, list) else said
        if item.get("role") == _USER:
            return item.get("content")
    return said if isinstance(said, str) else None


def _parts_of(content: Any) -> list[Any]:
    return [content] if isinstance(content, str) else as_list(content)


def _texts_of(parts: Iterable[Any]) -> Iterator[str]:
    """Yield the texts of the parts of a content; a token is the text of its number."""
    for part in parts:
        text = part.get("text") if isinstance(part, dict) else part
        if isinstance(text, str) and not text.startswith(ATTRIBUTION):
            yield text
        elif isinstance(text, int):
            yield f"{text} "


def _take(texts: Iterable[str], limit: int) -> str:
    """Return the beginning of texts, with at most so many characters."""
    taken, size = [], 0
    for text in texts:
        taken.append(text[: limit - size])
        size += len(taken[-1])
        if size >= limit:
            break
    return "".join(taken)


def _take_end(parts: list[Any], limit: int) -> str:
    """Return the end of the texts of a content, with at most so many characters."""
    return _take((text[-limit:][::-1] for text in _texts_of(reversed(parts))), limit)[::-1]
