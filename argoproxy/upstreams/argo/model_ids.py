"""The ids of Argo's models, their `argo:` aliases, and the other ways in which clients write them.

The table is from the README of argo-openai-proxy and later releases of argo-proxy. The gateway's own list is merged
into it. An unknown name is sent to the gateway unchanged: the gateway may know it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Self

from argoproxy.errors import UpstreamProtocolError
from argoproxy.protocol.json_text import Json, as_dict

PREFIX = "argo:"
OWNER = "argo"

CHAT_MODELS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "gpt35": ("gpt-3.5-turbo",),
        "gpt35large": ("gpt-3.5-turbo-16k",),
        "gpt4": ("gpt-4",),
        "gpt4large": ("gpt-4-32k",),
        "gpt4turbo": ("gpt-4-turbo-preview", "gpt-4-turbo"),
        "gpt4o": ("gpt-4o",),
        "gpto1preview": ("gpt-o1-preview", "o1-preview"),
        "gpto1mini": ("gpt-o1-mini", "o1-mini"),
        "gpto3mini": ("gpt-o3-mini", "o3-mini"),
        "gpt4olatest": ("gpt-4o-latest",),
        "gpto1": ("gpt-o1", "o1"),
        "gpto3": ("gpt-o3", "o3"),
        "gpto4mini": ("gpt-o4-mini", "o4-mini"),
        "gpt41": ("gpt-4.1",),
        "gpt41mini": ("gpt-4.1-mini",),
        "gpt41nano": ("gpt-4.1-nano",),
        "gpt5": ("gpt-5",),
        "gpt5mini": ("gpt-5-mini",),
        "gpt5nano": ("gpt-5-nano",),
        "gpt51": ("gpt-5.1",),
        "gpt52": ("gpt-5.2",),
        "gpt54": ("gpt-5.4",),
        "gpt55": ("gpt-5.5",),
        "gemini25pro": ("gemini-2.5-pro",),
        "gemini25flash": ("gemini-2.5-flash",),
        "gemini35flash": ("gemini-3.5-flash",),
        "gemini31flashlite": ("gemini-3.1-flash-lite",),
        "claudeopus4": ("claude-opus-4", "claude-4-opus"),
        "claudeopus41": ("claude-opus-4.1", "claude-4.1-opus"),
        "claudeopus45": ("claude-opus-4.5", "claude-4.5-opus"),
        "claudeopus46": ("claude-opus-4.6", "claude-4.6-opus"),
        "claudeopus47": ("claude-opus-4.7", "claude-4.7-opus"),
        "claudesonnet4": ("claude-sonnet-4", "claude-4-sonnet"),
        "claudesonnet45": ("claude-sonnet-4.5", "claude-4.5-sonnet"),
        "claudesonnet46": ("claude-sonnet-4.6", "claude-4.6-sonnet"),
        "claudehaiku45": ("claude-haiku-4.5", "claude-4.5-haiku"),
        "claudesonnet37": ("claude-sonnet-3.7", "claude-3.7-sonnet"),
        "claudesonnet35v2": ("claude-sonnet-3.5-v2", "claude-3.5-sonnet-v2"),
    }
)
EMBEDDING_MODELS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "ada002": ("text-embedding-ada-002",),
        "v3small": ("text-embedding-3-small",),
        "v3large": ("text-embedding-3-large",),
    }
)

_NAME = re.compile(r"[a-z0-9 ._:/-]+")
_SEPARATORS = re.compile(r"[ ._:/-]")
_DATE = re.compile(r"-20\d\d-?[01]\d-?[0-3]\d$")
_CLAUDE = re.compile(r"claude-([a-z]+)-([\d.]+)(-.+)?")


@dataclass(frozen=True, slots=True)
class ModelIds:
    """`aliases` maps an id to its alias, `ids` a normalized name (lower case, without separators) to an id."""

    aliases: Mapping[str, str]
    ids: Mapping[str, str]

    @classmethod
    def of(cls, table: Mapping[str, tuple[str, ...]]) -> Self:
        """Make it of a table from ids to aliases; the first alias is the one that is listed."""
        ids: dict[str, str] = {}
        for model_id, aliases in table.items():
            for name in (model_id, *aliases):
                ids.setdefault(_normalize(name), model_id)
        return cls({model_id: PREFIX + aliases[0] for model_id, aliases in table.items()}, ids)

    def find(self, model: str) -> str | None:
        """Return the id of a model, None if the name is unknown. A name is an alias or an id, with `argo:`, `argo/` or
        neither, in upper or lower case, with any separators, with or without a date at its end."""
        name = model.strip().lower()
        if not _NAME.fullmatch(name):
            return None
        return self.ids.get(_normalize(name)) or self.ids.get(_normalize(_DATE.sub("", name)))

    def aliases_of(self, model: str) -> tuple[str, ...]:
        """Return a name with the alias and the id of its model."""
        model_id = self.find(model)
        return (model,) if model_id is None else (model, self.aliases[model_id], model_id)

    def with_list(self, document: Any) -> ModelIds:
        """Return a copy with the models of the gateway's list: `{"data": [{"id", "model_name"}]}` or, since late 2025,
        `{"data": [{"internal_id", "id"}]}`. Raises UpstreamProtocolError if it is not a list."""
        data = as_dict(document).get("data")
        if not isinstance(data, list):
            raise UpstreamProtocolError("The Argo gateway's reply contains no list of models.")
        aliases, ids = dict(self.aliases), dict(self.ids)
        for model_id, display in _read_list(data):
            names = _make_aliases(model_id, display)
            aliases.setdefault(model_id, PREFIX + names[0])
            for name in (model_id, *names):
                ids.setdefault(_normalize(name), model_id)
        return ModelIds(aliases, ids)

    def make_entries(self, created: int) -> list[Json]:
        """Return the models as `/v1/models` lists them."""
        return [
            {"id": alias, "object": "model", "created": created, "owned_by": OWNER, "internal_name": model_id}
            for model_id, alias in self.aliases.items()
        ]


def model_family(model_id: str) -> str:
    """Return the family of a model, `claude`, `gemini` or `gpt`: it decides the form of a request."""
    prefix = model_id[: len("claude")].lower()
    return prefix if prefix in ("claude", "gemini") else "gpt"


def _normalize(name: str) -> str:
    name = _SEPARATORS.sub("", name.lower())
    return name.removeprefix("argo") or name


def _read_list(data: list[Any]) -> Iterator[tuple[str, str]]:
    """Yield (id, display name) of each model in the gateway's list."""
    for entry in data:
        fields = as_dict(entry)
        display = fields.get("model_name") or fields.get("id")
        model_id = fields.get("internal_id") or fields.get("id")
        if isinstance(model_id, str) and isinstance(display, str) and model_id.strip() and display.strip():
            yield model_id, display


def _make_aliases(model_id: str, display: str) -> list[str]:
    name = "-".join(display.lower().split())
    names = [f"gpt-{name}", name] if model_id.startswith("gpto") and not name.startswith("gpt") else [name]
    if claude := _CLAUDE.fullmatch(name):
        codename, generation, rest = claude.groups(default="")
        names.append(f"claude-{generation}-{codename}{rest}")
    return names


BUILT_IN = ModelIds.of({**CHAT_MODELS, **EMBEDDING_MODELS})
