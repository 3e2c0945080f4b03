"""The config files that the documentation shows can be used as they stand there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from argoproxy.config.config import load

ROOT = Path(__file__).resolve().parent.parent
PAGES = ("docs/models.md", "docs/upstreams.md", "docs/sharing.md", "docs/thoughts.md")
BLOCK = re.compile(r"```yaml\n(.*?)```", re.DOTALL)
#: What the examples name, as `${NAME}`.
VARIABLES = {"OPENAI_KEY": "k-123456"}


def shown() -> list[tuple[str, str]]:
    """Give the YAML of all pages that is a whole file."""
    blocks = [
        (page, text)
        for page in PAGES
        for text in re.findall(r"```yaml\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
    ]
    return [(page, text) for page, text in blocks if isinstance(yaml.safe_load(text), dict) and text[0] != " "]


@pytest.mark.parametrize(("page", "text"), shown())
def test_a_config_file_of_the_documentation_is_one(page: str, text: str, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(text)
    assert load(VARIABLES, tmp_path).upstreams
