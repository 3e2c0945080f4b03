"""Lists of models: what upstreams list, as far as a request for it would go there, and the names of ours."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from argoproxy.errors import ProxyError, UpstreamProtocolError
from argoproxy.protocol.json_text import Json
from argoproxy.protocol.routing.router import Models, UpstreamT
from argoproxy.protocol.stream.sse import Document

OWNER = "argoproxy"

Listed = Document | ProxyError


def merge_model_lists(models: Models[UpstreamT], lists: Sequence[Listed], created: int) -> Document:
    """Join what each of the upstreams listed, in their order, with the names of ours, without repeating one.

    An upstream whose list failed tells what it has even so. Raises ProxyError, that of the first upstream, where there
    is nothing to show but failures.
    """
    told = [listed for listed in lists if isinstance(listed, Document)]
    there = list(_shown(models, lists, created))
    known = {entry.get("id") for entry in there if isinstance(entry, dict) and isinstance(entry.get("id"), str)}
    ours = [entry for entry in pseudo_models(models, created) if entry["id"] not in known]
    if not told and not there and not ours:
        raise next(listed for listed in lists if isinstance(listed, ProxyError))
    shown = _allowed(models, [*there, *ours])
    if len(told) == len(lists) == 1 and shown == told[0].chunk["data"]:
        return told[0]
    return Document.of({"object": "list", **(told[0].chunk if told else {}), "data": shown})


def check_model_list(listed: Document) -> Document:
    """See that a document is a list of models. Raises UpstreamProtocolError."""
    if not isinstance(listed.chunk.get("data"), list):
        raise UpstreamProtocolError("The upstream's reply contains no list of models.")
    return listed


def find_entry(models: Models[UpstreamT], name: str, created: int) -> Document | None:
    """Give a model as `/v1/models/{id}` shows it without asking an upstream; None when there is none."""
    upstream = models.provider_of(name).upstream
    aliases = upstream.aliases(name)
    entries = [*pseudo_models(models, created), *upstream.static_models(created)]
    return next((Document.of(entry) for entry in entries if entry["id"] in aliases), None)


def pseudo_models(models: Models[UpstreamT], created: int) -> list[Json]:
    """Give entries of the names that rules made."""
    names = dict.fromkeys(rule.name for rule in models.rules if rule.is_pseudo_model)
    return [{"id": name, "object": "model", "created": created, "owned_by": OWNER} for name in names]


def _shown(models: Models[UpstreamT], lists: Sequence[Listed], created: int) -> Iterable[Any]:
    """Give the entries of all upstreams; of several, those that would be answered by who listed them."""
    seen = set[str]()
    for provider, listed in zip(models.providers, lists, strict=True):
        for entry in listed.chunk["data"] if isinstance(listed, Document) else _own(provider.upstream, created):
            name = entry.get("id") if isinstance(entry, dict) else None
            if len(lists) == 1:
                yield entry
            elif isinstance(name, str) and name not in seen and models.serves(name, provider.upstream):
                seen.add(name)
                yield entry


def _own(upstream: UpstreamT, created: int) -> Sequence[Json]:
    """Give the models that an upstream has without being asked; none where it fails to tell."""
    try:
        return upstream.static_models(created)
    except ProxyError:
        return ()


def _allowed(models: Models[UpstreamT], entries: list[Any]) -> list[Any]:
    if not models.allowed.patterns:
        return entries
    return [entry for entry in entries if isinstance(entry, dict) and models.allowed.allows(str(entry.get("id")))]
