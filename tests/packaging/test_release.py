"""What building a release changes in the files of a commit. The build itself needs a package index."""

from __future__ import annotations

import json
import shutil
import tomllib
from pathlib import Path

import pytest

from release.build_release import add_urls, add_version, make_links_absolute, read_version, write_checksums
from tests.support.processes import ROOT

URL = "https://forge.test/team/argoproxy"


def test_addresses_are_added_to_the_metadata(tmp_path: Path) -> None:
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    add_urls(tmp_path, URL)
    before = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    after = tomllib.loads((tmp_path / "pyproject.toml").read_text())["project"]
    assert after.pop("urls")["Homepage"] == URL
    assert after == before


@pytest.mark.parametrize(
    ("text", "changed"),
    [
        ("[a](docs/a.md)", f"[a]({URL}/docs/a.md)"),
        ("[a](docs/a.md#one)", f"[a]({URL}/docs/a.md#one)"),
        ("[a](https://x.test/y.md)", "[a](https://x.test/y.md)"),
        ("[a](#here)", "[a](#here)"),
    ],
)
def test_links_of_the_readme_lead_to_the_repository(text: str, changed: str, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text(text)
    make_links_absolute(tmp_path / "README.md", URL)
    assert (tmp_path / "README.md").read_text() == changed


def test_an_sbom_gets_the_version(tmp_path: Path) -> None:
    (tmp_path / "sbom.json").write_text('{"metadata": {"component": {"name": "argoproxy"}}}')
    add_version(tmp_path / "sbom.json", read_version(ROOT))
    component = json.loads((tmp_path / "sbom.json").read_text())["metadata"]["component"]
    assert component == {"name": "argoproxy", "version": read_version(ROOT)}


def test_checksums_are_written_as_sha256sum_reads_them(tmp_path: Path) -> None:
    (tmp_path / "a.whl").write_bytes(b"")
    line = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  a.whl"
    assert write_checksums(tmp_path) == [line]
    assert (tmp_path / "SHA256SUMS").read_text() == f"{line}\n"
