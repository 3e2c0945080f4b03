"""The first start of an Argo user (docs/argo.md), on a terminal, from a pipe, and without a person."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.client import ask
from tests.support.processes import PATIENCE_S, ROOT, clean_environment, eventually, free_port, is_listening, spawn

RUN = str(ROOT / "run_app.sh")
#: The example session of argo-openai-proxy's README; only the port differs.
SESSION = """\
config.yaml file not found.
Would you like to create it from config.sample.yaml? [y/N] y
Enter your username: your_username
Enable verbose mode? [Y/n] y
Created config.yaml with your settings:
--------------------------------------
port: PORT
argo_url: "https://apps-dev.inside.anl.gov/argoapi/api/v1/resource/chat/"
argo_stream_url: "https://apps-dev.inside.anl.gov/argoapi/api/v1/resource/streamchat/"
argo_embedding_url: "https://apps.inside.anl.gov/argoapi/api/v1/resource/embed/"
user: "your_username"
verbose: true
num_workers: 5
timeout: 600
--------------------------------------
Review the config above. Press enter to continue or Ctrl+C to abort.
"""


@pytest.fixture(scope="module")
def environ(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What run_app.sh runs in: everything is installed already."""
    venv = tmp_path_factory.mktemp("venv")
    python = venv / "bin" / "python"
    python.parent.mkdir()
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    (venv / "installed.txt").write_bytes((ROOT / "requirements.txt").read_bytes())
    return {**clean_environment(), "ARGOPROXY_VENV": str(venv), "WORKERS": "1"}


class Terminal:
    """A person at a terminal."""

    def __init__(self, command: list[str], folder: Path, environ: dict[str, str]) -> None:
        self._end, theirs = pty.openpty()
        self.process = spawn(
            command, cwd=folder, env=environ, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
        )
        os.close(theirs)
        self.shown = ""

    def sees(self, words: str) -> None:
        while words not in self.shown:
            assert select.select([self._end], [], [], PATIENCE_S)[0], self.shown
            self.shown += os.read(self._end, 65536).decode().replace("\r\n", "\n")

    def types(self, line: str) -> None:
        os.write(self._end, f"{line}\n".encode())

    def close(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(PATIENCE_S)
        os.close(self._end)
        return status


@pytest.fixture
def started() -> Iterator[list[subprocess.Popen[str]]]:
    processes: list[subprocess.Popen[str]] = []
    yield processes
    for process in processes:
        process.terminate()
        process.wait(PATIENCE_S)
        for pipe in (process.stdin, process.stdout):
            if pipe:
                pipe.close()


def start(folder: Path, environ: dict[str, str], *arguments: str, typed: str | None = None) -> subprocess.Popen[str]:
    process = spawn(
        [RUN, *arguments],
        cwd=folder,
        env=environ,
        stdin=subprocess.DEVNULL if typed is None else subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if typed is not None and process.stdin:
        process.stdin.write(typed)
        process.stdin.close()
    return process


def ended(folder: Path, environ: dict[str, str], *arguments: str, typed: str | None = None) -> tuple[int, str]:
    process = start(folder, environ, *arguments, typed=typed)
    shown = process.stdout.read() if process.stdout else ""
    if process.stdout:
        process.stdout.close()
    return process.wait(PATIENCE_S), shown


def port_in(file: Path) -> int:
    found = re.search(r"(?m)^port: (\d+)", file.read_text())
    assert found
    return int(found.group(1))


def is_served(port: int, process: subprocess.Popen[Any]) -> None:
    eventually(lambda: is_listening(port) or process.poll() is not None)
    names = [model["id"] for model in ask(port, "GET", "/v1/models").json["data"]]
    assert "argo:gpt-4o" in names


def test_the_example_session_on_a_terminal(tmp_path: Path, environ: dict[str, str]) -> None:
    terminal = Terminal([RUN], tmp_path, environ)
    for words, line in (
        ("[y/N] ", "y"),
        ("username: ", "your_username"),
        ("[Y/n] ", "y"),
        ("to abort.", ""),
        ("Continue anyway? [y/N] ", "y"),
    ):
        terminal.sees(words)
        terminal.types(line)
    port = port_in(tmp_path / "config.yaml")
    assert 49152 <= port <= 65534
    about, _, session = terminal.shown.partition("config.yaml file not found.\n")
    assert session.startswith(SESSION.replace("PORT", str(port)).partition("\n")[2])
    assert "Argonne" in about
    assert "--url" in about
    is_served(port, terminal.process)
    assert terminal.close() == 0
    # Meanwhile the kernel may give that port to a connection of another test, but not this one.
    kept, file = free_port(), tmp_path / "config.yaml"
    file.write_text(file.read_text().replace(f"port: {port}", f"port: {kept}"))
    again = Terminal([RUN], tmp_path, environ)
    is_served(kept, again.process)
    again.sees("Base URL")
    assert "?" not in again.shown, "a second start asks nothing"
    assert again.close() == 0


def test_the_comments_of_the_sample_stay_in_the_file(tmp_path: Path, environ: dict[str, str]) -> None:
    ended(tmp_path, environ, typed="y\nme\nn\n")
    kept = re.sub(r"(?m)^(port|user|verbose): \S+", r"\1: X", (tmp_path / "config.yaml").read_text())
    sample = re.sub(r"(?m)^(port|user|verbose): \S+", r"\1: X", (ROOT / "config.sample.yaml").read_text())
    assert kept == sample
    assert "verbose: false # can be changed" in (tmp_path / "config.yaml").read_text()


def test_from_a_pipe(tmp_path: Path, environ: dict[str, str], started: list[subprocess.Popen[str]]) -> None:
    typed = "y\n\ntwo words\ncels\n me \n\n\ny\n"
    process = start(tmp_path, environ, "deep folder.yaml", typed=typed)
    started.append(process)
    file = tmp_path / "deep folder.yaml"
    eventually(lambda: file.exists() and "num_workers" in file.read_text())
    is_served(port_in(tmp_path / "deep folder.yaml"), process)
    assert not (tmp_path / "config.yaml").exists()
    assert 'user: "me"' in (tmp_path / "deep folder.yaml").read_text()
    process.terminate()
    shown = process.stdout.read() if process.stdout else ""
    assert "deep folder.yaml file not found." in shown
    assert shown.count("Enter your username: ") == 4


def test_without_a_question(tmp_path: Path, environ: dict[str, str], started: list[subprocess.Popen[str]]) -> None:
    port = free_port()
    process = start(tmp_path, {**environ, "ARGO_USER": "me"}, "--yes", "--port", str(port))
    started.append(process)
    is_served(port, process)
    assert port_in(tmp_path / "config.yaml") == port
    process.terminate()
    shown = process.stdout.read() if process.stdout else ""
    assert "?" not in shown
    assert "Warning: https://apps-dev.inside.anl.gov" in shown


def test_a_port_that_is_taken(tmp_path: Path, environ: dict[str, str], started: list[subprocess.Popen[str]]) -> None:
    # The port behind it is taken in its place: one that the kernel gives to no connection of another test.
    wished = free_port()
    with socket.create_server(("0.0.0.0", wished)):
        process = start(tmp_path, {**environ, "ARGO_USER": "me"}, "--yes", f"--port={wished}")
        started.append(process)
        eventually((tmp_path / "config.yaml").exists)
        port = port_in(tmp_path / "config.yaml")
        assert port != wished
        is_served(port, process)
        other = tmp_path / "other"
        other.mkdir()
        status, shown = ended(other, environ, f"--port={wished}", typed="y\nme\ny\nn\n")
        assert (status, list(other.iterdir())) == (2, [])
        assert f"Port {wished} is in use. Use" in shown


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "environment", "typed", "status", "told"),
    [
        ([], {}, None, 2, "--yes"),
        ([], {}, "", 2, "--yes"),
        ([], {}, "y\n", 2, "--yes"),
        ([], {}, "y\nme\ny\n", 2, "--yes"),
        ([], {}, "y\ncels\n", 2, "cels is not a personal"),
        ([], {}, "maybe\n", 2, "answer y or n"),
        ([], {}, "maybe\nno\n", 2, "--demo"),
        ([], {}, "Yes\nme\nme\nYES\n\nperhaps\nN\n", 2, "Nothing was started; config.yaml is kept"),
        ([], {}, "y\njdoe@anl.gov\n", 2, "e-mail address: jdoe"),
        (["--yes"], {"ARGO_USER": "jdoe@anl.gov"}, None, 2, "e-mail address: jdoe"),
        ([], {}, "n\n", 2, "--demo"),
        ([], {}, "\n", 2, "--demo"),
        ([], {}, "y\nme\ny\n\nn\n", 2, "Nothing was started"),
        (["--yes"], {}, None, 2, "--yes"),
        (["--yes"], {"ARGO_USER": "cels"}, None, 2, "ARGO_USER"),
        (["--yes"], {"ARGO_USER": "two words"}, None, 2, "must not contain spaces"),
        (["--yes", "no/such/folder.yaml"], {"ARGO_USER": "me"}, None, 2, "can't be written"),
        (["--yes", "--port", "x"], {"ARGO_USER": "me"}, None, 2, "is not a port"),
        (["--yes", "--port", "\u00b2"], {"ARGO_USER": "me"}, None, 2, "is not a port"),
        ([], {}, "y\nmee\x1b[D\n", 2, "letters, digits"),
        ([], {}, "y\n\u00fc\n", 2, "letters, digits"),
        (["--nonsense"], {}, None, 2, "unrecognized"),
        (["--help"], {}, None, 0, "examples:"),
        (["--version"], {}, None, 0, "argoproxy "),
        (["none.yaml", "--show"], {}, None, 2, "does not exist"),
        (["none.yaml"], {"TARGET_BASE_URL": "http://up"}, None, 2, "does not exist"),
    ],
)
def test_how_it_ends(
    tmp_path: Path,
    environ: dict[str, str],
    arguments: list[str],
    environment: dict[str, str],
    typed: str | None,
    status: int,
    told: str,
) -> None:
    found, shown = ended(tmp_path, {**environ, **environment}, *arguments, typed=typed)
    assert (found, told in shown) == (status, True), shown
    assert "Traceback" not in shown


def test_an_unclear_answer_is_asked_for_again(tmp_path: Path, environ: dict[str, str]) -> None:
    _, shown = ended(tmp_path, environ, typed="what\ny\nme\nme\nno\n\nn\n")
    assert shown.count("[y/N] ") == 3
    assert shown.count("[Y/n] ") == 2
    assert "verbose: false" in (tmp_path / "config.yaml").read_text()


@pytest.mark.parametrize("named", ["--port", "PORT", "config.yaml"])
def test_a_taken_port_is_told_before_anything_is_installed(tmp_path: Path, environ: dict[str, str], named: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        if named == "config.yaml":
            (tmp_path / named).write_text(f"demo: true\nport: {port}\n")
        arguments = ["--demo", *(["--port", port] if named == "--port" else [])]
        nothing = {**environ, "ARGOPROXY_VENV": str(tmp_path / "none"), "PYTHON": sys.executable}
        status, shown = ended(tmp_path, {**nothing, **({"PORT": port} if named == "PORT" else {})}, *arguments)
    assert status == 3
    assert f"port {port} is taken by " in shown
    assert f"(process {os.getpid()})" in shown
    assert not (tmp_path / "none").exists()


def test_an_installation_without_a_package_index_says_so(tmp_path: Path, environ: dict[str, str]) -> None:
    venv = tmp_path / "venv"
    (venv / "bin").mkdir(parents=True)
    pip = "WARNING: Retrying after connection broken by 'NewConnectionError(...)'"
    (venv / "bin" / "python").write_text(
        f'#!/bin/sh\ncase "$*" in *"pip install"*) echo "{pip}"; exit 1;; esac\nexec {sys.executable} "$@"\n'
    )
    (venv / "bin" / "python").chmod(0o755)
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\ncase "$*" in *"-m venv"*) exit 0;; esac\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    status, shown = ended(tmp_path, {**environ, "ARGOPROXY_VENV": str(venv), "PYTHON": str(python)}, "--demo")
    assert status == 1
    assert pip in shown
    assert "package index can't be reached" in shown


def test_ctrl_c_at_the_review_keeps_the_file(tmp_path: Path, environ: dict[str, str]) -> None:
    terminal = Terminal(["env", "--default-signal=INT", RUN], tmp_path, environ)
    for words, line in (("[y/N] ", "y"), ("username: ", "me"), ("[Y/n] ", "")):
        terminal.sees(words)
        terminal.types(line)
    terminal.sees("to abort.")
    os.killpg(terminal.process.pid, signal.SIGINT)
    terminal.sees("config.yaml is kept")
    assert terminal.process.wait(PATIENCE_S) in (130, -signal.SIGINT)
    terminal.close()
    assert (tmp_path / "config.yaml").exists()


@pytest.mark.parametrize("environment", [{"DEMO": "true"}, {"OPENAI_BASE_URL": "http://localhost:9/v1"}])
def test_where_something_else_is_named_nothing_is_asked(
    tmp_path: Path,
    environ: dict[str, str],
    environment: dict[str, str],
    started: list[subprocess.Popen[str]],
) -> None:
    port = free_port()
    process = start(tmp_path, {**environ, **environment, "PORT": str(port)})
    started.append(process)
    eventually(lambda: is_listening(port))
    assert ask(port, "GET", "/health/live").status == 200
    assert list(tmp_path.iterdir()) == []
