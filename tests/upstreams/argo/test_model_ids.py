from __future__ import annotations

from typing import Any

import pytest

from argoproxy.errors import UpstreamProtocolError
from argoproxy.upstreams.argo.model_ids import BUILT_IN, CHAT_MODELS, EMBEDDING_MODELS, model_family

#: The tables of argo-openai-proxy's README.
CHAT = {
    "gpt35": "argo:gpt-3.5-turbo",
    "gpt35large": "argo:gpt-3.5-turbo-16k",
    "gpt4": "argo:gpt-4",
    "gpt4large": "argo:gpt-4-32k",
    "gpt4turbo": "argo:gpt-4-turbo-preview",
    "gpt4o": "argo:gpt-4o",
    "gpto1preview": "argo:gpt-o1-preview",
    "gpto1mini": "argo:gpt-o1-mini",
    "gpto3mini": "argo:gpt-o3-mini",
}
EMBEDDING = {
    "ada002": "argo:text-embedding-ada-002",
    "v3small": "argo:text-embedding-3-small",
    "v3large": "argo:text-embedding-3-large",
}
ROWS = [*CHAT.items(), *EMBEDDING.items()]


@pytest.mark.parametrize(("model_id", "alias"), ROWS)
def test_every_row_both_ways(model_id: str, alias: str) -> None:
    assert BUILT_IN.find(alias) == BUILT_IN.find(model_id) == model_id
    assert BUILT_IN.aliases_of(alias) == (alias, alias, model_id)
    assert BUILT_IN.aliases_of(model_id) == (model_id, alias, model_id)


@pytest.mark.parametrize("model_id", [*CHAT_MODELS, *EMBEDDING_MODELS])
def test_later_models_by_every_alias(model_id: str) -> None:
    aliases = {**CHAT_MODELS, **EMBEDDING_MODELS}[model_id]
    for alias in aliases:
        assert {BUILT_IN.find(name) for name in (alias, f"argo:{alias}", model_id, f"argo:{model_id}")} == {model_id}


@pytest.mark.parametrize(
    ("spelling", "model_id"),
    [
        ("gpt-4o", "gpt4o"),
        ("GPT-4o", "gpt4o"),
        ("Argo:GPT-4O", "gpt4o"),
        ("argo/gpt-4o", "gpt4o"),
        ("argo/gpt4o", "gpt4o"),
        (" argo:gpt-4o ", "gpt4o"),
        ("gpt_4o", "gpt4o"),
        ("gpt 4o", "gpt4o"),
        ("gpt-4o-2024-08-06", "gpt4o"),
        ("argo:gpt-4o-20240806", "gpt4o"),
        ("gpt-3-5-turbo", "gpt35"),
        ("GPT-3.5 Turbo", "gpt35"),
        ("o1-preview", "gpto1preview"),
        ("o3-mini", "gpto3mini"),
        ("argo:o3-mini-2025-01-31", "gpto3mini"),
        ("claude-sonnet-4-20250514", "claudesonnet4"),
        ("claude-sonnet-4-6", "claudesonnet46"),
        ("claude-4.6-sonnet", "claudesonnet46"),
        ("argo:claude-opus-4-1-20250805", "claudeopus41"),
        ("gemini-2-5-pro", "gemini25pro"),
        ("text-embedding-3-small", "v3small"),
        ("TEXT-EMBEDDING-ADA-002", "ada002"),
    ],
)
def test_flexible_spellings(spelling: str, model_id: str) -> None:
    assert BUILT_IN.find(spelling) == model_id


@pytest.mark.parametrize(
    "name",
    [
        "",
        "argo:",
        "llama",
        "gpt-4o+",
        "gpt-4\u043e",
        "gpt-4o-0806",
        "gpt-5-turbo",
        "openai/gpt-4o",
        "gpt-4o-20249999",
        "g" * 9,
    ],
)
def test_unknown_names_are_nobodys(name: str) -> None:
    assert BUILT_IN.find(name) is None
    assert BUILT_IN.aliases_of(name) == (name,)


OLD = {"id": "gpt9", "model_name": "GPT-9 Ultra"}
NEW = {"id": "GPT-9 Ultra", "internal_id": "gpt9"}


@pytest.mark.parametrize(
    ("entry", "names", "alias"),
    [
        (OLD, ["gpt9", "argo:gpt-9-ultra", "gpt-9-ultra", "GPT-9 Ultra"], "argo:gpt-9-ultra"),
        (NEW, ["gpt9", "argo:gpt-9-ultra", "gpt-9-ultra", "GPT-9 Ultra"], "argo:gpt-9-ultra"),
        ({"id": "o9", "internal_id": "gpto9"}, ["gpto9", "argo:gpt-o9", "o9"], "argo:gpt-o9"),
        (
            {"id": "Claude Opus 9.1 v2", "internal_id": "claudeopus91v2"},
            ["claude-opus-9.1-v2", "claude-9.1-opus-v2", "claudeopus91v2"],
            "argo:claude-opus-9.1-v2",
        ),
        ({"id": "GPT-4o (new)", "internal_id": "gpt4o"}, ["gpt4o", "gpt-4o"], "argo:gpt-4o"),
    ],
)
def test_what_the_gateway_lists_is_merged(entry: dict[str, Any], names: list[str], alias: str) -> None:
    merged = BUILT_IN.with_list({"data": [entry, "odd", {}, {"id": 5}, {"id": " "}]})
    model_id = entry.get("internal_id") or entry["id"]
    assert {merged.find(name) for name in names} == {model_id}
    assert merged.aliases[model_id] == alias
    assert set(BUILT_IN.aliases) <= set(merged.aliases)
    assert len(merged.make_entries(5)) == len(merged.aliases)


@pytest.mark.parametrize("document", [None, [], {}, {"data": None}, {"data": "x"}, {"detail": "no"}])
def test_a_list_that_is_none_is_told(document: Any) -> None:
    with pytest.raises(UpstreamProtocolError):
        BUILT_IN.with_list(document)


def test_the_tables_nine_and_three_are_listed() -> None:
    listed = {entry["id"]: entry for entry in BUILT_IN.make_entries(7)}
    assert list(listed)[:9] == list(CHAT.values())
    assert list(listed)[-3:] == list(EMBEDDING.values())
    assert listed["argo:gpt-4o"] == {
        "id": "argo:gpt-4o",
        "object": "model",
        "created": 7,
        "owned_by": "argo",
        "internal_name": "gpt4o",
    }


@pytest.mark.parametrize(
    ("model_id", "family"), [("gpt4o", "gpt"), ("claudeopus4", "claude"), ("Gemini25pro", "gemini"), ("other", "gpt")]
)
def test_families(model_id: str, family: str) -> None:
    assert model_family(model_id) == family
