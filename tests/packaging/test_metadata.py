"""What the distributions hold, and what they say of themselves."""

from __future__ import annotations

import re
import shutil
import subprocess
import tarfile
import tomllib
import zipfile
from email import message_from_string
from email.message import Message
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from argoproxy import __version__
from tests.support.processes import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PINNED = {
    canonicalize_name(name): version
    for file in ("requirements.txt", "requirements-gevent.txt", "requirements-redis.txt", "requirements-postgres.txt")
    for name, version in re.findall(r"(?m)^([\w.-]+)==(\S+)", (ROOT / file).read_text())
}
DECLARED = [Requirement(line) for line in PROJECT["dependencies"]]
EXTRAS = [Requirement(line) for lines in PROJECT["optional-dependencies"].values() for line in lines]


def names_in_wheel(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


def read_wheel(wheel: Path, name: str) -> bytes:
    with zipfile.ZipFile(wheel) as archive:
        return archive.read(name)


@pytest.fixture(scope="session")
def metadata(wheel: Path) -> Message:
    return message_from_string(read_wheel(wheel, f"argoproxy-{__version__}.dist-info/METADATA").decode())


def test_the_wheel_has_one_package_and_one_command(wheel: Path) -> None:
    tops = {name.partition("/")[0] for name in names_in_wheel(wheel)}
    assert tops == {"argoproxy", f"argoproxy-{__version__}.dist-info"}
    entries = read_wheel(wheel, f"argoproxy-{__version__}.dist-info/entry_points.txt").decode().split("\n")
    assert [line for line in entries if line] == ["[console_scripts]", "argoproxy = argoproxy.cli.main:run"]


def test_the_wheel_has_every_file_of_the_package(wheel: Path) -> None:
    there = {
        file.relative_to(ROOT).as_posix()
        for file in (ROOT / "argoproxy").rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    assert {name for name in names_in_wheel(wheel) if name.startswith("argoproxy/")} == there
    assert {"argoproxy/py.typed", "argoproxy/data/config.sample.yaml", "argoproxy/data/grafana.json"} <= there


def test_the_sdist_has_what_builds_and_describes_it(distributions: Path) -> None:
    with tarfile.open(next(distributions.glob("*.tar.gz"))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "requirements.lock", "docs/deploy.md"} <= names
    assert "argoproxy/data/grafana.json" in names
    assert not any(name.startswith(("tests", "benchmarks", ".venv", ".git")) for name in names)


def test_the_metadata_describes_the_package(metadata: Message) -> None:
    assert (metadata["Name"], metadata["Version"], metadata["License-Expression"]) == ("argoproxy", __version__, "MIT")
    assert metadata["License-File"] == "LICENSE"
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert str(metadata.get_payload()).strip() == (ROOT / "README.md").read_text().strip()


def test_every_direct_dependency_has_a_range_that_its_pin_fits() -> None:
    text = (ROOT / "requirements.txt").read_text().partition("# What those bring along.")[0]
    direct = {canonicalize_name(name) for name in re.findall(r"(?m)^([\w.-]+)==", text)}
    assert {canonicalize_name(one.name) for one in DECLARED} == direct
    for one in DECLARED + EXTRAS:
        assert one.specifier.contains(PINNED[canonicalize_name(one.name)]), one
        assert not any(clause.operator == "==" for clause in one.specifier), one


def test_the_image_is_labelled_with_the_version() -> None:
    text = (ROOT / "Dockerfile").read_text()
    assert re.findall(r"(?m)^ARG VERSION=(.+)$", text) == [__version__]
    labels = set(re.findall(r"org\.opencontainers\.image\.([a-z.]+)=", text))
    assert labels >= {"title", "description", "licenses", "version", "revision", "source"}


def test_the_chart_has_the_version() -> None:
    chart = (ROOT / "deploy" / "helm" / "argoproxy" / "Chart.yaml").read_text()
    assert re.findall(r'(?mi)^(?:app)?version: "?([^"\n]+)"?$', chart) == [__version__, __version__]


def test_twine_finds_nothing_wrong(distributions: Path) -> None:
    twine = shutil.which("twine")
    if not twine:
        pytest.skip("twine is not installed: release/requirements.lock has it")
    files = sorted(map(str, distributions.iterdir()))
    checked = subprocess.run([twine, "check", "--strict", *files], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr
