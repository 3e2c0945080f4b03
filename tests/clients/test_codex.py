"""docs/recipes/codex.md: Codex CLI completes a task through the proxy, with an upstream that has chats only."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.clients.installed import find_program, needs, run_client
from tests.clients.scripted_model import run_model
from tests.support.fixtures import Serve

pytestmark = needs("node", "node-agents")


@pytest.mark.parametrize("model", ["scripted", "gpt-5.5"])
def test_codex_reads_a_file_and_patches_it(start: Serve, tmp_path: Path, model: str) -> None:
    """It offers apply_patch as a custom tool to models that it knows; others call it by the shell."""
    with run_model("codex_model", tmp_path) as upstream:
        proxy = start(TARGET_BASE_URL=upstream.url)
        shown = run_codex(model, proxy.port, tmp_path)
    assert (tmp_path / "work" / "greeting.txt").read_text() == "goodbye\n", shown
    assert "The greeting is changed." in shown
    assert "Let me think" not in shown
    last = upstream.requests()[-1]
    assert [message["role"] for message in last["messages"]][-4:] == ["assistant", "tool", "assistant", "tool"]
    offers_patch = any(tool["function"]["name"] == "apply_patch" for tool in last["tools"])
    assert offers_patch == (model != "scripted"), "Codex does not know this model any more: name another one"


def run_codex(model: str, port: int, folder: Path) -> str:
    """Run Codex in a folder with a greeting; give what it shows."""
    home, work = folder / "home", folder / "work"
    work.mkdir()
    (work / "greeting.txt").write_text("hello\n")
    provider = {
        "name": "proxy",
        "base_url": f"http://127.0.0.1:{port}/v1",
        "env_key": "PROXY_KEY",
        "wire_api": "responses",
    }
    settings = [
        "model_provider=proxy",
        *(f"model_providers.proxy.{key}={json.dumps(provider[key])}" for key in provider),
    ]
    command = [
        find_program("node-agents", "codex"),
        "exec",
        "--skip-git-repo-check",
        "-s",
        "danger-full-access",
        "-m",
        model,
    ]
    command += [part for setting in settings for part in ("-c", setting)]
    return run_client([*command, "Change the greeting."], work, CODEX_HOME=str(home), PROXY_KEY="any")
