"""The distributions, built of a copy of the source, and the wheel installed into an empty virtual environment."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tarfile
import venv
from importlib.metadata import distribution
from pathlib import Path

import pytest

from tests.packaging.support import run_pip
from tests.support.processes import ROOT

#: What a build must not find: what it needs of the repository is named in pyproject.toml and MANIFEST.in.
IGNORED = shutil.ignore_patterns(".*", "__pycache__", "*.pyc", "tests", "benchmarks", "build", "dist", "*.egg-info")
BUILD = "import sys; from setuptools import build_meta; getattr(build_meta, sys.argv[1])(sys.argv[2])"


def build(hook: str, source: Path, target: Path) -> None:
    """Run one of the two hooks of PEP 517 on a source tree, with the setuptools that is installed."""
    command = [sys.executable, "-c", BUILD, hook, str(target)]
    made = subprocess.run(command, cwd=source, capture_output=True, timeout=120, check=False)
    assert made.returncode == 0, made.stderr.decode()


@pytest.fixture(scope="session")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with an sdist and with the wheel that is built of the sdist. Nothing is downloaded."""
    folder = tmp_path_factory.mktemp("build")
    shutil.copytree(ROOT, folder / "source", ignore=IGNORED)
    target = folder / "dist"
    build("build_sdist", folder / "source", target)
    (sdist,) = target.iterdir()
    with tarfile.open(sdist) as archive:
        archive.extractall(folder / "unpacked", filter="data")
    (unpacked,) = (folder / "unpacked").iterdir()
    build("build_wheel", unpacked, target)
    return target


@pytest.fixture(scope="session")
def wheel(distributions: Path) -> Path:
    (path,) = distributions.glob("*.whl")
    return path


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment that has the wheel, and nothing else but links to the packages of requirements.txt."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder, symlinks=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    for name in re.findall(r"(?m)^([\w.-]+)==", (ROOT / "requirements.txt").read_text()):
        package = distribution(name)
        tops = {file.parts[0] for file in package.files or ()} - {"..", "__pycache__"}
        for top in tops:
            (packages / top).symlink_to(Path(str(package.locate_file(top))))
    run_pip(folder, "install", "--quiet", "--no-deps", "--no-index", str(wheel))
    return folder
