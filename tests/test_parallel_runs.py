"""`pytest --processes N`: what it runs, shows and counts is what pytest does without."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.processes import ROOT

FILES = {
    "test_one.py": """
import os, pytest
from pathlib import Path

def note(word):
    Path(__file__).with_name(f"ran-{word}-{os.getpid()}").touch()

@pytest.fixture(scope="session", autouse=True)
def session():
    yield
    note("end")

def test_passes(tmp_path):
    note("a")

@pytest.mark.skip(reason="why not")
def test_is_skipped(): ...

def test_fails():
    note("b")
    print("what it printed".upper())
    assert 1 == 2, "not the same"
""",
    "test_two.py": "from test_one import note, session\ndef test_passes(tmp_path):\n    note('c')\n",
    "test_dies.py": """
import os, signal

def test_before(): ...

def test_kills_its_process():
    os.kill(os.getpid(), signal.SIGKILL)

def test_behind(): ...
""",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def run(folder: Path, *arguments: str) -> tuple[int, str]:
    """Return the status of pytest in a folder, and what it printed."""
    command = [sys.executable, "-m", "pytest", "-c", "/dev/null", "--rootdir", str(folder), "-p", "no:cacheprovider"]
    command += ["-p", "tests.support.parallel_runs", *arguments]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return ended.returncode, ended.stdout + ended.stderr


def test_each_test_runs_once_and_its_report_is_shown(folder: Path) -> None:
    status, shown = run(folder, "--processes", "2", str(folder / "test_one.py"), str(folder / "test_two.py"))
    assert status == 1
    assert "1 failed, 2 passed, 1 skipped" in shown
    assert shown.count("WHAT IT PRINTED") == 1
    assert "AssertionError: not the same" in shown
    ran = [file.name.split("-")[1] for file in folder.glob("ran-*")]
    assert sorted(word for word in ran if word != "end") == ["a", "b", "c"]
    assert 1 <= ran.count("end") <= 2, "once for each process that had a file"


def test_a_process_that_dies_fails_its_test(folder: Path) -> None:
    status, shown = run(folder, "--processes", "1", str(folder / "test_dies.py"))
    assert status == 1
    assert "1 failed, 1 passed" in shown
    assert "its process ended with -9" in shown


def test_files_that_no_process_is_left_for_are_no_success(folder: Path) -> None:
    status, shown = run(folder, "--processes", "1", *map(str, (folder / "test_dies.py", folder / "test_two.py")))
    assert status not in (0, 1)
    assert "no process is left" in shown


def test_it_stops_at_the_first_failure_if_that_is_wanted(folder: Path) -> None:
    status, shown = run(folder, "--processes", "1", "-x", str(folder / "test_one.py"), str(folder / "test_two.py"))
    assert status == 1
    assert "stopping after 1 failures" in shown
    assert "1 failed, 1 passed, 1 skipped" in shown
