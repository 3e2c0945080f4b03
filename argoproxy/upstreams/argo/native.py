"""Argo's own OpenAI-compatible endpoint: requests go up and replies come down as they are.

Only what native mode promises is changed: an alias becomes the model's id, `user` is said, and what a rule of the
operator says. Source: argo-proxy, "Native OpenAI Endpoint Passthrough", December 2025.
"""

from __future__ import annotations

from dataclasses import dataclass

from argoproxy.protocol.json_text import Json
from argoproxy.protocol.routing.call import Call, Identity
from argoproxy.protocol.stream.sse import Document
from argoproxy.upstreams import UpstreamRequest
from argoproxy.upstreams.argo.models import BUILT_IN, Names
from argoproxy.upstreams.openai import OpenAIUpstream


@dataclass(frozen=True, slots=True)
class Native(OpenAIUpstream):
    """An endpoint whose replies nobody touches."""

    name: str = "native"
    is_passthrough: bool = True
    identity: Identity = Identity()
    names: Names = BUILT_IN

    def aliases(self, model: str) -> tuple[str, ...]:
        return self.names.names_of(model)

    def completion_request(self, call: Call) -> UpstreamRequest:
        """Ask as the client asked."""
        body = {**call.body, "model": self.names.id_of(call.model) or call.model}
        if user := self.identity.caller_of(call) or ("" if call.body.get("user") else self.identity.user):
            body["user"] = user
        return OpenAIUpstream.completion_request(self, call.with_body(body))

    def read_model_list(self, listed: bytes, name: str, created: int) -> Document:
        """Add the aliases of the models that the endpoint lists."""
        document = OpenAIUpstream.read_model_list(self, listed, name, created)
        data = document.chunk.get("data")
        if name or not isinstance(data, list):
            return document
        aliases = [entry for entry in self.names.entries(created) if entry["id"] not in _ids(data)]
        ours = [entry for entry in aliases if entry["internal_name"] in self._known(data)]
        return Document.of({**document.chunk, "data": [*data, *ours]}) if ours else document

    def _known(self, data: list[Json]) -> set[str | None]:
        return {self.names.id_of(name) for name in _ids(data)}


def _ids(data: list[Json]) -> set[str]:
    """Give the names a list knows its models by."""
    entries = [entry for entry in data if isinstance(entry, dict)]
    names = (entry.get(key) for entry in entries for key in ("id", "internal_id"))
    return {name for name in names if isinstance(name, str)}
