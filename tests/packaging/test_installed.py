"""The installed wheel (docs/deploy.md): the command `argoproxy`, far from any checkout."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.packaging.support import run_pip
from tests.support.client import chat
from tests.support.processes import ROOT, Proxy, clean_environment, free_port


@pytest.fixture(scope="module")
def command(installed: Path) -> str:
    return str(installed / "bin" / "argoproxy")


def run(command: str, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the installed command in a folder, as a user would."""
    return subprocess.run(
        [command, *arguments],
        cwd=folder,
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_the_declared_dependencies_are_all_it_needs(installed: Path) -> None:
    run_pip(installed, "check")


def test_nothing_else_is_installed(installed: Path) -> None:
    assert not {"argo-proxy", "cot_proxy.py"} & set(os.listdir(installed / "bin"))


def test_the_command_serves(command: str, tmp_path: Path) -> None:
    proxy = Proxy(tmp_path, {"WORKERS": "1"}, [command, "serve", "--demo"])
    try:
        assert "Hello!" in chat(proxy.port, model="demo").json["choices"][0]["message"]["content"]
    finally:
        assert proxy.stop() == 0


def test_the_command_describes_itself(command: str, tmp_path: Path) -> None:
    shown = run(command, tmp_path, "--help")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert shown.stdout.startswith("usage: argoproxy")
    assert os.listdir(tmp_path) == []


def test_the_command_shows_and_checks_settings(command: str, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("demo: true\n")
    assert run(command, tmp_path, "--validate").returncode == 0
    assert "demo" in run(command, tmp_path, "--show").stdout


def test_the_command_examines_a_setup(command: str, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("demo: true\nhost: 127.0.0.1\n")
    examined = run(command, tmp_path, "doctor", "--json", "--port", str(free_port()))
    assert examined.returncode == 0, examined.stdout
    assert json.loads(examined.stdout)["summary"]["fail"] == 0


def test_the_command_writes_a_first_config_file(command: str, tmp_path: Path) -> None:
    made = run(command, tmp_path, "config", "init", "--url", "http://localhost:8000/v1")
    assert made.returncode == 0, made.stderr
    assert run(command, tmp_path, "config", "validate").returncode == 0


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_command_completes_itself(command: str, tmp_path: Path, shell: str) -> None:
    script = run(command, tmp_path, "completion", shell)
    assert (script.returncode, script.stderr) == (0, "")
    assert "argoproxy" in script.stdout


def test_the_files_of_the_package_are_found(installed: Path, tmp_path: Path) -> None:
    read = [str(installed / "bin" / "python"), "-I", "-m", "argoproxy.data"]
    board = subprocess.run([*read, "grafana.json"], cwd=tmp_path, capture_output=True, check=True, timeout=60)
    assert json.loads(board.stdout)["title"]
    sample = subprocess.run([*read, "config.sample.yaml"], cwd=tmp_path, capture_output=True, check=True, timeout=60)
    assert sample.stdout == (ROOT / "config.sample.yaml").read_bytes()
    assert subprocess.run([*read, "other"], cwd=tmp_path, capture_output=True, check=False, timeout=60).returncode == 2
