"""docs/recipes/claude-code.md: Claude Code completes a task through the proxy, with an upstream that has chats only."""

from __future__ import annotations

from pathlib import Path

from tests.clients.installed import find_program, needs, run_client
from tests.clients.scripted_model import run_model
from tests.support.fixtures import Serve

pytestmark = needs("node", "node-agents")
RULES = """
target_base_url: {url}
models:
  claude-haiku*: {{upstream_model_name: small}}
  claude-*: {{upstream_model_name: large}}
"""


def test_claude_code_reads_files_and_edits_one(start: Serve, tmp_path: Path) -> None:
    work, config = tmp_path / "work", tmp_path / "config.yaml"
    with run_model("claude_code_model", tmp_path, str(work)) as upstream:
        config.write_text(RULES.format(url=upstream.url))
        proxy = start(CONFIG_PATH=str(config))
        shown = run_claude(proxy.port, work)
    assert (work / "greeting.txt").read_text() == "goodbye\n", shown
    assert "The greeting is changed." in shown
    assert "Let me think" not in shown
    asked = upstream.requests()
    assert {body["model"] for body in asked} <= {"small", "large"}
    roles = [message["role"] for message in asked[-1]["messages"] if message["role"] != "system"]
    assert roles[-5:] == ["assistant", "tool", "tool", "assistant", "tool"]


def run_claude(port: int, work: Path) -> str:
    """Run Claude Code in a folder with a greeting; give what it shows."""
    work.mkdir()
    (work / "greeting.txt").write_text("hello\n")
    (work / "other.txt").write_text("other\n")
    command = [find_program("node-agents", "claude"), "-p", "--dangerously-skip-permissions", "Change the greeting."]
    return run_client(
        command,
        work,
        ANTHROPIC_BASE_URL=f"http://127.0.0.1:{port}",
        ANTHROPIC_AUTH_TOKEN="any",
        ANTHROPIC_MODEL="claude-sonnet-4-5",
        ANTHROPIC_DEFAULT_HAIKU_MODEL="claude-haiku-4-5",
        DISABLE_AUTOUPDATER="1",
        IS_SANDBOX="1",
    )
