"""The installed package: the command `argo-proxy`, from anywhere."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.client import chat
from tests.support.processes import ROOT, Proxy, clean_environment


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder the package was installed into, from a copy of the source."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("installed")
    for name in ("argoproxy", "tests"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "requirements.txt", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*install, "--target", str(target), str(source)], check=True, capture_output=True, timeout=120)
    return target


def test_the_command_serves(installed: Path, tmp_path: Path) -> None:
    command = [sys.executable, str(installed / "bin" / "argo-proxy"), "--demo"]
    proxy = Proxy(tmp_path, {"PYTHONPATH": str(installed), "WORKERS": "1"}, command)
    try:
        assert "Hello!" in chat(proxy.port, model="demo").json["choices"][0]["message"]["content"]
    finally:
        assert proxy.stop() == 0
    assert not (installed / "tests").exists()


def test_the_package_says_that_it_is_typed(installed: Path) -> None:
    assert (installed / "argoproxy" / "py.typed").exists()


def test_the_command_tells_of_itself(installed: Path, tmp_path: Path) -> None:
    environ = {**clean_environment(), "PYTHONPATH": str(installed)}
    shown = subprocess.run(
        [sys.executable, str(installed / "bin" / "argo-proxy"), "--help"],
        cwd=tmp_path,
        env=environ,
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    ).stdout
    assert shown.startswith("usage: argo-proxy")
    assert os.listdir(tmp_path) == []
