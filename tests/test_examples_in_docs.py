"""The config files that the documentation shows can be used as they stand there."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

from argoproxy.config.config import load
from argoproxy.config.values.settings import SETTINGS
from tests.support.pages import Fence, fences, pages

#: What a config file may begin with: a key, or a section.
KEYS = {name for setting in SETTINGS for name in (setting.key, setting.path.partition(".")[0])}


def is_config(fence: Fence) -> bool:
    content = yaml.safe_load(fence.text)
    return isinstance(content, dict) and bool(KEYS & set(content))


SHOWN = [fence for page in pages() for fence in fences(page) if fence.language in ("yaml", "yml")]
CONFIGS = [fence for fence in SHOWN if is_config(fence)]


@pytest.mark.parametrize("fence", CONFIGS, ids=lambda fence: fence.name)
def test_a_config_file_of_the_documentation_is_one(fence: Fence, tmp_path: Path) -> None:
    for setting, package in (("redis_url", "redis"), ("database_url", "psycopg")):
        if setting in fence.text and find_spec(package) is None:
            pytest.skip(f"the package {package} is not installed")
    (tmp_path / "config.yaml").write_text(fence.text)
    variables = dict.fromkeys(re.findall(r"\$\{(\w+)\}", fence.text), "k-123456")
    assert load(variables, tmp_path).upstreams


def test_most_yaml_is_a_config_file() -> None:
    assert len(CONFIGS) > len(SHOWN) / 2
