"""The site of the documentation: its builder finds nothing to warn of, and its menu has every page."""

from __future__ import annotations

import os
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.support.pages import links, name_of
from tests.support.processes import ROOT, clean_environment

PATH = f"{ROOT / '.venv-site' / 'bin'}{os.pathsep}{os.environ['PATH']}"
INDEX = ROOT / "docs" / "index.md"


@pytest.mark.skipif(not shutil.which("zensical", path=PATH), reason="the builder is not installed: see ./build_site.sh")
def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    build = [str(ROOT / "build_site.sh"), str(tmp_path)]
    environ = {**clean_environment(), "PATH": PATH}
    ended = subprocess.run(build, env=environ, capture_output=True, text=True, timeout=240, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert (tmp_path / "html" / "docs" / "tutorial" / "index.html").exists()


def paths_of(entries: list[Any]) -> set[str]:
    """Return the pages of a menu, at any depth."""
    found = set[str]()
    for entry in entries:
        found |= {entry} if isinstance(entry, str) else set().union(*map(paths_of, entry.values()))
    return found


def test_the_menu_has_the_pages_of_the_index() -> None:
    menu = paths_of(tomllib.loads((ROOT / "zensical.toml").read_text())["project"]["nav"])
    listed = {(INDEX.parent / path).resolve() for path, _ in links(INDEX) if path.endswith(".md")}
    assert menu == {name_of(page) for page in {*listed, INDEX}}
