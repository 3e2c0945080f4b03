"""Which upstream answers by default: a test for each row of the table, and for how rows compete."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from argoproxy.config.config import load
from argoproxy.config.default_upstream import ROWS, Row, pick_target, rank_rows
from argoproxy.config.kinds.argo_kind import ArgoTarget
from argoproxy.config.kinds.demo_kind import DemoTarget
from argoproxy.config.kinds.openai_kind import OpenAITarget
from argoproxy.config.values.config_values import ConfigValues
from argoproxy.config.values.layers import Layer
from argoproxy.protocol.routing.call import Identity
from argoproxy.upstreams.argo.adapter import ArgoUrls
from tests.support.configs import config, find_mistakes, layered, write_config

#: For each row: settings that name it, and the upstream that answers then (None: those of the section).
BY_ROW: dict[str, tuple[dict[str, Any], str | None]] = {
    "demo": ({"demo": True}, "the embedded demo"),
    "upstreams": ({"upstreams": {"a": {"kind": "demo"}}}, None),
    "native": ({"use_native_openai": True, "native_openai_base_url": "http://n/v1"}, "http://n/v1, native"),
    "target": ({"target_base_url": "http://t"}, "http://t"),
    "argo": ({"argo_url": "http://a", "username_passthrough": True}, "Argo at http://a for"),
    "user": ({"user": "me"}, "Argo at https://apps-dev.inside.anl.gov/argoapi/api/v1/resource/chat/ for me"),
    "openai": ({"openai_base_url": "http://o"}, "http://o"),
}


BY_NAME = {row.name: row for row in ROWS}


def values_of(*layers: dict[str, Any]) -> ConfigValues:
    return ConfigValues([Layer(f"layer {index}", content) for index, content in enumerate(layers)])


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_row_that_is_named_answers(row: Row) -> None:
    settings, description = BY_ROW[row.name]
    values = values_of(settings)
    target = pick_target(values)
    assert (target is None) is (description is None)
    assert target is None or target.description.startswith(str(description))
    assert values.mistakes == values.warnings == []


@pytest.mark.parametrize("row", [row for row in ROWS if len(row.keys) > 1], ids=lambda row: row.name)
def test_a_row_is_named_by_any_of_its_keys(row: Row) -> None:
    for key in row.keys:
        assert rank_rows(values_of({key: "http://x"})) == [row]


def test_nothing_at_all_leads_to_openai() -> None:
    target = pick_target(values_of({}))
    assert target is not None
    assert target.url == "https://api.openai.com/v1"


@pytest.mark.parametrize(("stronger", "weaker"), list(pairwise(ROWS)), ids=lambda row: row.name)
def test_in_one_layer_the_earlier_row_wins(stronger: Row, weaker: Row) -> None:
    values = values_of({**BY_ROW[weaker.name][0], **BY_ROW[stronger.name][0]})
    assert [row for row in rank_rows(values) if row in (stronger, weaker)] == [stronger, weaker]


@pytest.mark.parametrize("row", [row for row in ROWS if not row.is_weak], ids=lambda row: row.name)
def test_a_stronger_layer_wins(row: Row) -> None:
    for other in ROWS:
        if other is not row:
            assert rank_rows(values_of(BY_ROW[row.name][0], BY_ROW[other.name][0]))[0] is row


@pytest.mark.parametrize("row", [row for row in ROWS if row.is_weak], ids=lambda row: row.name)
def test_a_weak_row_yields_even_to_weaker_layers(row: Row) -> None:
    for other in ROWS:
        if not other.is_weak:
            assert rank_rows(values_of(BY_ROW[row.name][0], BY_ROW[other.name][0]))[0] is other


@pytest.mark.parametrize("winner", ROWS, ids=lambda row: row.name)
@pytest.mark.parametrize("loser", ROWS, ids=lambda row: row.name)
def test_a_row_that_is_named_in_vain_is_a_warning_that_names_both(winner: Row, loser: Row) -> None:
    if ROWS.index(winner) >= ROWS.index(loser):
        return
    values = values_of(BY_ROW[winner.name][0], BY_ROW[loser.name][0])
    pick_target(values)
    warnings = [warning for warning in values.warnings if "is not used" in warning]
    assert len(warnings) == (winner.name not in loser.used_by)
    for warning in warnings:
        assert values.describe(loser.key(values)) in warning
        assert values.describe(winner.key(values)) in warning


def test_what_belongs_to_a_row_goes_with_it() -> None:
    assert BY_NAME["user"].used_by == {"argo", "native", "upstreams"}
    values = values_of({"target_base_url": "http://t", "argo_url": "http://a", "user": "me"})
    pick_target(values)
    assert len(values.warnings) == 1


@pytest.mark.parametrize(
    ("environ", "root", "authorization", "warnings"),
    [
        ({"DEMO": "true"}, None, "", []),
        ({"DEMO": "false"}, "https://api.openai.com/v1", "", []),
        ({"OPENAI_API_KEY": "sk-a"}, "https://api.openai.com/v1", "Bearer sk-a", []),
        ({"OPENAI_BASE_URL": "http://o/v1", "OPENAI_API_KEY": "sk-a"}, "http://o/v1", "Bearer sk-a", []),
        ({"TARGET_BASE_URL": "http://t/"}, "http://t", "", []),
        ({"TARGET_BASE_URL": "http://t/", "TARGET_API_KEY": "sk-t"}, "http://t", "Bearer sk-t", []),
        (
            {"TARGET_BASE_URL": "http://t/", "OPENAI_API_KEY": "sk-a"},
            "http://t",
            "",
            ["OPENAI_API_KEY (environment) is not sent to this upstream; set TARGET_API_KEY for it"],
        ),
        (
            {"TARGET_API_KEY": "sk-t"},
            "https://api.openai.com/v1",
            "",
            ["TARGET_API_KEY (environment) is not sent to this upstream; set OPENAI_API_KEY for it"],
        ),
        (
            {"TARGET_BASE_URL": "http://t/", "OPENAI_BASE_URL": "http://o"},
            "http://t",
            "",
            ["OPENAI_BASE_URL (environment) is not used: TARGET_BASE_URL (environment) takes precedence"],
        ),
        (
            {"DEMO": "1", "TARGET_BASE_URL": "http://t/"},
            None,
            "",
            ["TARGET_BASE_URL (environment) is not used: DEMO (environment) takes precedence"],
        ),
        (
            {"DEMO": "1", "TARGET_BASE_URL": "http://t/", "ARGOPROXY_FLAGS": "TARGET_BASE_URL"},
            "http://t",
            "",
            ["DEMO (environment) is not used: TARGET_BASE_URL (flag) takes precedence"],
        ),
        (
            {"OPENAI_BASE_URL": "http://o", "TARGET_BASE_URL": "http://t/", "ARGOPROXY_FLAGS": "OPENAI_BASE_URL"},
            "http://t",
            "",
            ["OPENAI_BASE_URL (flag) is not used: TARGET_BASE_URL (environment) takes precedence"],
        ),
        ({"TARGET_BASE_URL": "http://me:p%40ss@t/"}, "http://t", "Basic bWU6cEBzcw==", []),
        ({"TARGET_BASE_URL": "http://me@t/", "TARGET_API_KEY": "k"}, "http://t", "Bearer k", []),
    ],
)
def test_which_upstream_answers(
    environ: dict[str, str], root: str | None, authorization: str, warnings: list[str]
) -> None:
    made = config(**environ)
    assert isinstance(made.target, OpenAITarget | DemoTarget)
    assert (made.target.base.root if isinstance(made.target, OpenAITarget) else None) == root
    assert (made.target.authorization.text if isinstance(made.target, OpenAITarget) else "") == authorization
    assert list(made.warnings) == warnings


DEV, PROD = "https://apps-dev.inside.anl.gov/argoapi", "https://apps.inside.anl.gov/argoapi"


DEV_URLS = ArgoUrls()


@pytest.mark.parametrize(
    ("layers", "urls", "warnings"),
    [
        ([{"user": "me"}], DEV_URLS, 0),
        ([{"ARGO_USER": "me"}], DEV_URLS, 0),
        ([{"user": "me"}, {"openai_base_url": "http://o"}], DEV_URLS, 1),
        ([{"openai_base_url": "http://o"}, {"user": "me"}], DEV_URLS, 1),
        ([{"user": "me", "argo_url": "http://a/chat/"}], ArgoUrls("http://a/chat/"), 0),
        ([{"user": "me"}, {"argo_stream_url": "http://a/s"}], ArgoUrls(stream="http://a/s"), 0),
        ([{"user": "me", "argo_base_url": PROD + "/"}], ArgoUrls.below(PROD), 0),
        ([{"user": "me", "argo_base_url": PROD, "argo_embedding_url": "http://e"}], ArgoUrls.below(PROD), "http://e"),
        ([{"user": "me", "argo_base_url": PROD}, {"argo_embedding_url": "http://e"}], ArgoUrls.below(PROD), 0),
        ([{"user": "me", "argo_url": "http://a"}, {"target_base_url": "http://t"}], ArgoUrls("http://a"), 1),
        ([{"user": "me", "argo_url": "http://a", "openai_api_key": "sk"}], ArgoUrls("http://a"), 1),
    ],
)
def test_when_the_argo_gateway_answers(layers: list[dict[str, Any]], urls: ArgoUrls, warnings: int | str) -> None:
    made = layered(*layers)
    wanted = replace(urls, embed=warnings) if isinstance(warnings, str) else urls
    assert made.target == ArgoTarget(wanted, Identity("me"))
    assert len(made.warnings) == (warnings if isinstance(warnings, int) else 0)


@pytest.mark.parametrize(
    ("layers", "target", "warnings"),
    [
        ([{"target_base_url": "http://t"}, {"user": "me"}], "http://t", ["ARGO_USER (layer 1)"]),
        ([{"user": "me"}, {"target_base_url": "http://t"}], "http://t", ["ARGO_USER (layer 0)"]),
        ([{"target_base_url": "http://t", "argo_url": "http://a", "user": "me"}], "http://t", ["ARGO_URL (layer 0)"]),
        ([{"demo": True}, {"argo_url": "http://a", "user": "me"}], "the embedded demo", ["ARGO_URL (layer 1)"]),
    ],
)
def test_when_the_argo_gateway_yields(layers: list[dict[str, Any]], target: str, warnings: list[str]) -> None:
    made = layered(*layers)
    assert made.target.description == target
    assert [warning.partition(" is not used")[0] for warning in made.warnings] == warnings


def test_the_variable_user_of_the_system_does_not_count() -> None:
    assert config(USER="root") == config()


@pytest.mark.parametrize("key", ["argo_url", "argo_stream_url", "argo_embedding_url", "argo_base_url"])
def test_an_empty_url_is_no_url(tmp_path: Path, key: str) -> None:
    made = load({}, write_config(tmp_path, f'user: me\n{key}: ""\n'))
    assert isinstance(made.target, ArgoTarget)
    assert made.target.argo_urls == ArgoUrls()
    assert made.warnings == ()


@pytest.mark.parametrize(
    ("environ", "named"),
    [
        ({"OPENAI_API_KEY": "your_openai_api_key_here"}, "OPENAI_API_KEY"),
        ({"OPENAI_BASE_URL": "http://o/v1", "OPENAI_API_KEY": "Your-API-Key"}, "OPENAI_API_KEY"),
        ({"TARGET_BASE_URL": "http://t", "TARGET_API_KEY": "sk-your-key-here"}, "TARGET_API_KEY"),
        ({"ENABLE_AUTH": "true", "API_KEY_SECRET": "sk-fine,your_secret_key_here"}, "API_KEY_SECRET"),
    ],
)
def test_a_placeholder_that_would_be_used_as_a_key_is_refused(environ: dict[str, str], named: str) -> None:
    (mistake,) = find_mistakes(**environ)
    assert mistake.startswith(f"{named} (environment) ")


@pytest.mark.parametrize(
    "environ",
    [
        {"DEMO": "true", "OPENAI_API_KEY": "your_openai_api_key_here"},
        {"TARGET_BASE_URL": "http://t", "OPENAI_API_KEY": "your_openai_api_key_here"},
        {"API_KEY_SECRET": "your_secret_key_here"},
        {"OPENAI_API_KEY": "sk-yourself-key"},
    ],
)
def test_a_placeholder_that_is_not_used_does_no_harm(environ: dict[str, str]) -> None:
    config(**environ)
