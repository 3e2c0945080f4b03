"""The names of Argo's models: the gateway's ids, the `argo:` aliases clients know, and the other ways to spell them.

The table is that of argo-openai-proxy's README and of later releases of argo-proxy; what the gateway itself lists
is merged into it. A name that is in neither is nobody's: it goes to the gateway as it is.
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

_SPELLING = re.compile(r"[a-z0-9 ._:/-]+")
_SEPARATORS = re.compile(r"[ ._:/-]")
_DATE = re.compile(r"-20\d\d-?[01]\d-?[0-3]\d$")
_CLAUDE = re.compile(r"claude-([a-z]+)-([\d.]+)(-.+)?")


@dataclass(frozen=True, slots=True)
class Names:
    """`aliases` maps an id to its alias, `ids` a plain spelling (letters and digits only) to an id."""

    aliases: Mapping[str, str]
    ids: Mapping[str, str]

    @classmethod
    def of(cls, table: Mapping[str, tuple[str, ...]]) -> Self:
        """Make the names of a table of ids with their aliases, the first one being the one shown."""
        ids: dict[str, str] = {}
        for model_id, aliases in table.items():
            for name in (model_id, *aliases):
                ids.setdefault(_plain(name), model_id)
        return cls({model_id: PREFIX + aliases[0] for model_id, aliases in table.items()}, ids)

    def id_of(self, model: str) -> str | None:
        """Find the id of a model: by alias or id, with `argo:`, `argo/` or neither, in any case, with any separators,
        with a date at its end or without."""
        name = model.strip().lower()
        if not _SPELLING.fullmatch(name):
            return None
        return self.ids.get(_plain(name)) or self.ids.get(_plain(_DATE.sub("", name)))

    def names_of(self, model: str) -> tuple[str, ...]:
        """Give a name with the alias and the id of what it names."""
        model_id = self.id_of(model)
        return (model,) if model_id is None else (model, self.aliases[model_id], model_id)

    def merged(self, document: Any) -> Names:
        """Add what the gateway lists: `{"data": [{"id", "model_name"}]}` or, since late 2025, `{"id": the shown name,
        "internal_id"}`. Raises UpstreamProtocolError when it is no list."""
        data = document.get("data") if isinstance(document, dict) else None
        if not isinstance(data, list):
            raise UpstreamProtocolError("The Argo gateway's reply holds no list of models.")
        aliases, ids = dict(self.aliases), dict(self.ids)
        for model_id, shown in _listed(data):
            names = _aliases(model_id, shown)
            aliases.setdefault(model_id, PREFIX + names[0])
            for name in (model_id, *names):
                ids.setdefault(_plain(name), model_id)
        return Names(aliases, ids)

    def entries(self, created: int) -> list[Json]:
        """Give the models as `/v1/models` lists them."""
        return [
            {"id": alias, "object": "model", "created": created, "owned_by": OWNER, "internal_name": model_id}
            for model_id, alias in self.aliases.items()
        ]


def family_of(model_id: str) -> str:
    """Tell whose model an id names: `claude`, `gemini`, else `gpt`."""
    begins = model_id[: len("claude")].lower()
    return begins if begins in ("claude", "gemini") else "gpt"


def _plain(name: str) -> str:
    plain = _SEPARATORS.sub("", name.lower())
    return plain.removeprefix("argo") or plain


def _listed(data: list[Any]) -> Iterator[tuple[str, str]]:
    """Give (id, shown name) of each model the gateway lists."""
    for entry in data:
        fields = as_dict(entry)
        shown = fields.get("model_name") or fields.get("id")
        model_id = fields.get("internal_id") or fields.get("id")
        if isinstance(model_id, str) and isinstance(shown, str) and model_id.strip() and shown.strip():
            yield model_id, shown


def _aliases(model_id: str, shown: str) -> list[str]:
    name = "-".join(shown.lower().split())
    names = [f"gpt-{name}", name] if model_id.startswith("gpto") and not name.startswith("gpt") else [name]
    if claude := _CLAUDE.fullmatch(name):
        codename, generation, rest = claude.groups(default="")
        names.append(f"claude-{generation}-{codename}{rest}")
    return names


BUILT_IN = Names.of({**CHAT_MODELS, **EMBEDDING_MODELS})
