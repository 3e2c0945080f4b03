"""The list of models: what the upstreams list, as far as requests would go there, and pseudo-models."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import parse_qs

from argoproxy.errors import ProxyError, UpstreamProtocolError
from argoproxy.protocol.json_text import Json, as_dicts, as_text
from argoproxy.protocol.routing.route import UpstreamT
from argoproxy.protocol.routing.router import Models
from argoproxy.protocol.stream.sse import Document

OWNER = "argoproxy"

Listed = Document | ProxyError


def merge_model_lists(models: Models[UpstreamT], lists: Sequence[Listed], created: int) -> Document:
    """Merge the lists of the upstreams, in their order, and the pseudo-models into one without repetitions.

    An upstream whose list failed contributes the models that are known without it. Raises ProxyError, that of the first
    upstream, if there are no entries at all.
    """
    documents = [result for result in lists if isinstance(result, Document)]
    listed = list(_listed_entries(models, lists, created))
    names = {entry.get("id") for entry in listed if isinstance(entry, dict) and isinstance(entry.get("id"), str)}
    pseudo = [entry for entry in pseudo_models(models, created) if entry["id"] not in names]
    if not documents and not listed and not pseudo:
        raise next(result for result in lists if isinstance(result, ProxyError))
    entries = _allowed_entries(models, [*listed, *pseudo])
    if len(documents) == len(lists) == 1 and entries == documents[0].chunk["data"]:
        return documents[0]  # unchanged: its own bytes are sent
    return Document.of({"object": "list", **(documents[0].chunk if documents else {}), "data": entries})


def check_model_list(listed: Document) -> Document:
    """Return a document if it is a list of models. Raises UpstreamProtocolError."""
    if not isinstance(listed.chunk.get("data"), list):
        raise UpstreamProtocolError("The upstream's reply contains no list of models.")
    return listed


def join_pages(bodies: Sequence[bytes]) -> bytes:
    """Return the pages of a list of models as one page. Raises UpstreamProtocolError."""
    pages = [check_model_list(Document(body)).chunk for body in bodies]
    return Document.of({**pages[-1], "data": [entry for page in pages for entry in page["data"]]}).raw


def wants_catalog(query: str) -> bool:
    """Return whether Codex asks: it sends its version, and reads `models`, whose entries have a `slug`
    (codex-rs/models-manager)."""
    return "client_version" in parse_qs(query, keep_blank_values=True)


def add_catalog(document: Document, models: Models[UpstreamT]) -> Document:
    """Return a list of models with those of its `models` that Codex can read. None are needed, it knows OpenAI's by
    itself; but without the list it reports an error, and some versions stop."""
    entries = [entry for entry in as_dicts(document.chunk.get("models")) if as_text(entry.get("slug"))]
    allowed = [entry for entry in entries if models.allowed.allows(entry["slug"])]
    return Document.of({**document.chunk, "models": allowed})


def find_entry(models: Models[UpstreamT], name: str, created: int) -> Document | None:
    """Return the entry of a model that is known without a request to its upstream, None if it is not known."""
    upstream = models.provider_of(name).upstream
    aliases = upstream.aliases(name)
    entries = [*pseudo_models(models, created), *upstream.static_models(created)]
    return next((Document.of(entry) for entry in entries if entry["id"] in aliases), None)


def pseudo_models(models: Models[UpstreamT], created: int) -> list[Json]:
    """Return entries of the pseudo-models that rules define."""
    names = dict.fromkeys(rule.name for rule in models.rules if rule.is_pseudo_model)
    return [{"id": name, "object": "model", "created": created, "owned_by": OWNER} for name in names]


def _listed_entries(models: Models[UpstreamT], lists: Sequence[Listed], created: int) -> Iterable[Any]:
    """Yield the entries of all upstreams; of several, only those to which requests for the model would go."""
    seen = set[str]()
    for provider, listed in zip(models.providers, lists, strict=True):
        for entry in (
            listed.chunk["data"] if isinstance(listed, Document) else _static_models(provider.upstream, created)
        ):
            name = entry.get("id") if isinstance(entry, dict) else None
            if len(lists) == 1:
                yield entry
            elif isinstance(name, str) and name not in seen and models.serves(name, provider.upstream):
                seen.add(name)
                yield entry


def _static_models(upstream: UpstreamT, created: int) -> Sequence[Json]:
    """Return the models that are known without a request to an upstream; none if a plug-in fails to tell."""
    try:
        return upstream.static_models(created)
    except ProxyError:
        return ()


def _allowed_entries(models: Models[UpstreamT], entries: list[Any]) -> list[Any]:
    if not models.allowed.is_restricted:
        return entries
    return [entry for entry in entries if isinstance(entry, dict) and models.allowed.allows(str(entry.get("id")))]
