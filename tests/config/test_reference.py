"""Files about settings follow from the declarations."""

from __future__ import annotations

import difflib
import re
from pathlib import Path

import pytest
import yaml

from argoproxy.config.upstreams import COMMON_OPTIONS, KINDS
from argoproxy.config.values.config_values import ConfigValues
from argoproxy.config.values.layers import Layer
from argoproxy.config.values.reference import COMMAND, ENV_EXAMPLES, generate
from argoproxy.config.values.settings import BY_ENVIRONMENT, SETTINGS

ROOT = Path(__file__).resolve().parents[2]
SEED_KEYS = "port argo_url argo_stream_url argo_embedding_url user verbose num_workers timeout".split()


@pytest.mark.parametrize(("path", "text"), generate().items(), ids=list(generate()))
def test_a_generated_file_is_up_to_date(path: str, text: str) -> None:
    current = (ROOT / path).read_text().splitlines()
    difference = list(difflib.unified_diff(current, text.splitlines(), path, "generated", lineterm=""))
    assert not difference, f"run `{COMMAND}`, or paste:\n" + "\n".join(difference)


def test_the_sample_file_sets_what_argo_proxy_sets() -> None:
    assert list(yaml.safe_load((ROOT / "config.sample.yaml").read_text())) == SEED_KEYS


def test_the_sample_file_holds_every_other_setting_with_its_default() -> None:
    text = (ROOT / "config.sample.yaml").read_text()
    content = yaml.safe_load(re.sub(r"(?m)^#(?=\w|  )", "", text))
    values = ConfigValues([Layer("sample", {key: value for key, value in content.items() if key not in SEED_KEYS})])
    assert values.mistakes == []
    assert all(values[setting.key] == setting.default for setting in SETTINGS)
    paths = set()
    for key, value in content.items():
        paths |= {f"{key}.{name}" for name in value} if isinstance(value, dict) else {key}
    assert paths >= {one.path for one in SETTINGS if one.key not in SEED_KEYS and not one.replaced_by}


def test_the_env_example_sets_a_key_and_a_port() -> None:
    text = (ROOT / ".env.example").read_text()
    assert dict(re.findall(r"(?m)^([A-Z_]+)=(.*)$", text)) == ENV_EXAMPLES
    names = re.findall(r"(?m)^(?:# )?([A-Z_]+)=", text)
    assert sorted(names) == sorted(one.environment for one in SETTINGS if one.environment and not one.replaced_by)


def test_the_readme_has_only_the_settings_that_most_people_need() -> None:
    text = (ROOT / "README.md").read_text().partition("## Settings\n")[2].partition("\n### ")[0]
    rows = re.findall(r"(?m)^\| `([A-Z_]+)` \| `(\w+)` \|", text)
    assert len(rows) == 8
    assert all(BY_ENVIRONMENT[variable].key == key for variable, key in rows)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_upstream_is_documented(kind: str) -> None:
    text = (ROOT / "docs" / "upstreams.md").read_text()
    rows = re.findall(r"(?m)^\| (`.*?) \| (.*?) \| (.*) \|$", text)
    assert any("`kind`" in keys and f"`{kind}`" in about for keys, _, about in rows)
    for option in KINDS[kind].options:
        assert any(f"`{option}`" in keys for keys, _, _ in rows), f"docs/upstreams.md has no row for `{option}`"


@pytest.mark.parametrize("option", COMMON_OPTIONS)
def test_every_key_of_an_upstream_is_documented(option: str) -> None:
    assert f"`{option}`" in (ROOT / "docs" / "upstreams.md").read_text()
