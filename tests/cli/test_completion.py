"""The completion scripts, in real shells, sourced as docs/cli.md says."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from argoproxy.cli import completion
from argoproxy.cli.commands import COMMANDS, SERVE
from tests.support.processes import ROOT, clean_environment, run_python

#: Lines typed, and some of what is offered.
TYPED = [
    ("argoproxy ", {"serve", "doctor", "models", "upstreams", "config", "logs", "reload", "completion", "--demo"}),
    ("argoproxy mo", {"models"}),
    ("argoproxy config ", {"show", "validate", "edit", "init"}),
    ("argoproxy config show --mod", {"--mode", "--model"}),
    ("argoproxy logs tail --no", {"--no-follow"}),
    ("argoproxy completion ", {"bash", "zsh", "fish"}),
    ("argoproxy --mode ", {"stream", "non_stream", "off"}),
    ("argoproxy serve --username", {"--username-passthrough"}),
]
BASH = """
source {script}
line={line!r}
COMP_WORDS=($line) COMP_LINE=$line
[[ $line == *" " ]] && COMP_WORDS+=("")
COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
_argoproxy
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
#: The completion system needs a line editor; what it would be given is printed in place of its functions.
ZSH = """
compdef() {{ : }}
compadd() {{ shift; print -l -- "$@" }}
_files() {{ : }}
source {script}
line={line!r}
words=(${{=line}})
[[ $line == *" " ]] && words+=("")
CURRENT=${{#words}}
_argoproxy
"""


def run(*arguments: str, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    command = [str(ROOT / "cot_proxy.py"), *arguments]
    ended = run_python(command, folder, clean_environment())
    return subprocess.CompletedProcess(ended.args, ended.returncode, ended.stdout.decode(), ended.stderr.decode())


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the scripts, named after their shells."""
    folder = tmp_path_factory.mktemp("scripts")
    for shell in ("bash", "zsh", "fish"):
        printed = run("completion", shell)
        assert printed.returncode == 0, printed.stderr
        (folder / shell).write_text(printed.stdout)
    return folder


def offers(shell: str, script: Path, line: str) -> set[str]:
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"{shell} is not installed")
    if shell == "fish":
        command = [program, "--no-config", "-c", f"source {script}; complete -C {line!r}"]
    else:
        text = (BASH if shell == "bash" else ZSH).format(script=script, line=line)
        command = [program, *(["--norc"] if shell == "bash" else ["-f"]), "-c", text]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert not shown.stderr
    words = {row.partition("\t")[0] for row in shown.stdout.splitlines()}
    typed = line.rpartition(" ")[2]
    return {word for word in words if word.startswith(typed)}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
@pytest.mark.parametrize(("line", "expected"), TYPED, ids=[line for line, _ in TYPED])
def test_a_shell_offers_what_may_follow(scripts: Path, shell: str, line: str, expected: set[str]) -> None:
    found = offers(shell, scripts / shell, line)
    if shell == "fish" and line.endswith(" "):
        expected = {word for word in expected if not word.startswith("-")}  # offered once a dash is typed
    assert expected <= found


def test_every_command_is_completed() -> None:
    assert set(COMMANDS) <= set(completion.WORDS)
    assert all(path.partition(" ")[0] in COMMANDS for path in completion.WORDS if path)


@pytest.mark.parametrize(
    "path", [path for path in completion.WORDS if path not in ("", "config", "logs", "completion")]
)
def test_a_command_has_the_flags_that_are_offered(path: str, tmp_path: Path) -> None:
    shown = run(*path.split(), "--help", folder=tmp_path)
    assert shown.returncode == 0, shown.stderr
    listed = set(re.findall(r"(?<![\w-])--[\w-]+", shown.stdout.partition("examples:")[0]))
    offered = {word for word in completion.words_after(path) if word.startswith("--")}
    assert offered <= listed | {"--output_path", "--output-path", "--config", "--port"}
    assert listed <= offered


@pytest.mark.parametrize(("arguments", "status"), [(["--help"], 0), ([], 2), (["csh"], 2), (["bash", "zsh"], 2)])
def test_the_shell_must_be_named(arguments: list[str], status: int) -> None:
    ended = run("completion", *arguments)
    assert ended.returncode == status
    assert "usage: cot_proxy.py completion bash|zsh|fish" in (ended.stdout if status == 0 else ended.stderr)


def test_serve_is_the_default() -> None:
    assert set(completion.words_after(SERVE.name)) <= set(completion.words_after(""))
