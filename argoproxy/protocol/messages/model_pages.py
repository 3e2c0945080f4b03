"""Lists of models for clients of both APIs: OpenAI's entries with the fields of Anthropic's, page by page.

Source: Anthropic API reference, models. Anthropic's SDKs always send `anthropic-version`, OpenAI's never; Claude Code's
own request has a `limit`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs

from argoproxy.protocol.http_messages import ClientRequest, get_header
from argoproxy.protocol.json_text import Json, as_dicts, as_text
from argoproxy.protocol.messages.endpoint import chat_headers
from argoproxy.protocol.stream.sse import Document

_PAGING = ("limit", "after_id", "before_id")
_LONGEST_PAGE = 1000
_USUAL_PAGE = 20
_DAY_S = 86_400


def wants_pages(request: ClientRequest) -> bool:
    """Return whether a client of Anthropic's API asks for models."""
    return bool(get_header(request.headers, "anthropic-version")) or bool(parse_qs(request.query).keys() & set(_PAGING))


def as_list_request(request: ClientRequest) -> ClientRequest:
    """Return the request for the whole list as a client of OpenAI's API would make it."""
    return replace(request, headers=chat_headers(request.headers), query="")


def make_page(document: Document, query: str) -> Document:
    """Return the page of a list of models that a query asks for."""
    asked = {key: values[-1] for key, values in parse_qs(query).items() if key in _PAGING}
    entries = [extend_entry(entry) for entry in as_dicts(document.chunk.get("data"))]
    names = [entry["id"] for entry in entries]
    size = _page_size(asked.get("limit", ""))
    if asked.get("before_id") in names:
        end = names.index(asked["before_id"])
        start, has_more = max(0, end - size), end > size
    else:
        start = names.index(asked["after_id"]) + 1 if asked.get("after_id") in names else 0
        end, has_more = start + size, start + size < len(names)
    return Document.of({**document.chunk, **_page(entries[start:end]), "has_more": has_more})


def make_entry(document: Document) -> Document:
    """Return the entry of one model for clients of both APIs."""
    return Document.of(extend_entry(document.chunk))


def extend_entry(entry: Json) -> Json:
    """Return an entry with the fields that Anthropic's have."""
    name = as_text(entry.get("id"))
    return {"type": "model", "display_name": name, "created_at": _timestamp(entry.get("created")), **entry, "id": name}


def _page(entries: Sequence[Json]) -> Json:
    ends = {"first_id": entries[0]["id"], "last_id": entries[-1]["id"]} if entries else {}
    return {"data": list(entries), "first_id": None, "last_id": None, **ends}


def _page_size(limit: str) -> int:
    return min(max(int(limit), 1), _LONGEST_PAGE) if limit.isdecimal() and len(limit) < 9 else _USUAL_PAGE


def _timestamp(created: Any) -> str:
    """Return seconds since 1970 as RFC 3339 has them (days to date: Howard Hinnant, chrono-compatible algorithms)."""
    seconds = int(created) if isinstance(created, int | float) and 0 <= created < 1e11 else 0
    days, rest = divmod(seconds, _DAY_S)
    era, of_era = divmod(days + 719_468, 146_097)
    year = (of_era - of_era // 1460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * year + year // 4 - year // 100)
    shifted = (5 * of_year + 2) // 153
    day, month = of_year - (153 * shifted + 2) // 5 + 1, shifted + 3 if shifted < 10 else shifted - 9
    year += era * 400 + (month <= 2)
    return f"{year:04}-{month:02}-{day:02}T{rest // 3600:02}:{rest % 3600 // 60:02}:{rest % 60:02}Z"
