"""docs/recipes/claude-code.md: Claude Code completes a task through the proxy, with an upstream that has chats only."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.clients.scripted_model import run_model
from tests.support.fixtures import Serve
from tests.support.processes import clean_environment

CLAUDE = os.environ.get("CLAUDE_CODE") or shutil.which("claude")
RULES = """
target_base_url: {url}
models:
  claude-haiku*: {{upstream_model_name: small}}
  claude-*: {{upstream_model_name: large}}
"""


@pytest.mark.skipif(
    CLAUDE is None,
    reason="Claude Code is not installed: npm install @anthropic-ai/claude-code, CLAUDE_CODE=path/to/claude",
)
def test_claude_code_reads_files_and_edits_one(start: Serve, tmp_path: Path) -> None:
    work, config = tmp_path / "work", tmp_path / "config.yaml"
    with run_model("claude_code_model", tmp_path, str(work)) as upstream:
        config.write_text(RULES.format(url=upstream.url))
        proxy = start(CONFIG_PATH=str(config))
        shown = run_claude(proxy.port, work, tmp_path)
    assert (work / "greeting.txt").read_text() == "goodbye\n", shown
    assert "The greeting is changed." in shown
    assert "Let me think" not in shown
    asked = upstream.requests()
    assert {body["model"] for body in asked} <= {"small", "large"}
    roles = [message["role"] for message in asked[-1]["messages"] if message["role"] != "system"]
    assert roles[-5:] == ["assistant", "tool", "tool", "assistant", "tool"]


def run_claude(port: int, work: Path, folder: Path) -> str:
    """Run Claude Code in a folder with a greeting; give what it shows."""
    home = folder / "home"
    home.mkdir()
    work.mkdir()
    (work / "greeting.txt").write_text("hello\n")
    (work / "other.txt").write_text("other\n")
    environ = {
        **clean_environment(),
        "HOME": str(home),
        "ANTHROPIC_BASE_URL": f"http://127.0.0.1:{port}",
        "ANTHROPIC_AUTH_TOKEN": "any",
        "ANTHROPIC_MODEL": "claude-sonnet-4-5",
        "ANTHROPIC_DEFAULT_HAIKU_MODEL": "claude-haiku-4-5",
        "DISABLE_AUTOUPDATER": "1",
        "IS_SANDBOX": "1",
    }
    command = [str(CLAUDE), "-p", "--dangerously-skip-permissions", "Change the greeting."]
    done = subprocess.run(
        command, cwd=work, env=environ, stdin=subprocess.DEVNULL, capture_output=True, timeout=240, check=False
    )
    return (done.stdout + done.stderr).decode(errors="replace")
