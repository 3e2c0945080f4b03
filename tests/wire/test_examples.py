"""The examples, run as they are printed."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.fixtures import Serve
from tests.support.processes import ROOT, Proxy, Upstream, clean_environment

NAMES = """
chat_completions_example chat_completions_example_stream chat_example chat_example_stream completions_example
completions_example_stream embedding_example o1_chat_example o3_chat_example_pyclient
""".split()
PAGE = (ROOT / "timeout_examples.md").read_text()


@pytest.fixture
def proxy(serve: Serve, upstream: Upstream) -> Proxy:
    return serve(ARGO_BASE_URL=f"{upstream.url}/argoapi", ARGO_USER="me")


def run(command: list[str], **environ: str) -> str:
    ended = subprocess.run(
        command, env={**clean_environment(), **environ}, capture_output=True, timeout=30, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_all_are_there() -> None:
    assert sorted(file.stem for file in (ROOT / "examples").glob("*.py")) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_an_example_runs_as_it_is(proxy: Proxy, name: str) -> None:
    shown = run([sys.executable, str(ROOT / "examples" / f"{name}.py")], BASE_URL=proxy.url, PYTHONIOENCODING="utf-8")
    expected = "0 4 [25.0, 1, 2]" if name == "embedding_example" else "Hello 世界 🌍, you said: "
    assert expected in shown


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("code", blocks("python"), ids=["requests", "openai"])
def test_the_time_out_page_in_python(proxy: Proxy, upstream: Upstream, code: str) -> None:
    shown = run([sys.executable, "-c", code.replace("http://localhost:44497", proxy.url)], PYTHONIOENCODING="utf-8")
    assert shown.startswith(("200", "Hello"))
    assert "timeout" not in upstream.last("")["body"]


def test_the_time_out_page_with_curl(proxy: Proxy, tmp_path: Path) -> None:
    (command,) = blocks("bash")
    words = shlex.split(command.replace("http://localhost:44497", proxy.url).replace("\\\n", ""))
    assert "you said: Hello!" in run([*words, "-sS"], HOME=str(tmp_path), LANG=os.environ.get("LANG", "C.UTF-8"))
