"""Codex CLI completes a task through the proxy, with an upstream that has chats only."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.fixtures import Serve
from tests.support.processes import clean_environment, eventually, free_port, is_listening, spawn

CODEX = os.environ.get("CODEX") or shutil.which("codex")
MODEL = Path(__file__).with_name("codex_model.py")


@pytest.mark.skipif(CODEX is None, reason="Codex CLI is not installed: npm install @openai/codex, CODEX=path/to/codex")
@pytest.mark.parametrize("model", ["scripted", "gpt-5.5"])
def test_codex_reads_a_file_and_patches_it(start: Serve, tmp_path: Path, model: str) -> None:
    """It offers apply_patch as a custom tool to models that it knows; others call it by the shell."""
    port, log = free_port(), tmp_path / "model.log"
    with log.open("wb") as output:
        server = spawn([sys.executable, str(MODEL), str(port)], stdout=output, env=clean_environment())
        try:
            eventually(lambda: is_listening(port))
            proxy = start(TARGET_BASE_URL=f"http://127.0.0.1:{port}/v1")
            shown = run_codex(model, proxy.port, tmp_path)
        finally:
            server.terminate()
            server.wait()
    assert (tmp_path / "work" / "greeting.txt").read_text() == "goodbye\n", shown
    assert "The greeting is changed." in shown
    assert "Let me think" not in shown
    *_, last = map(json.loads, log.read_text().splitlines())
    assert [message["role"] for message in last["messages"]][-4:] == ["assistant", "tool", "assistant", "tool"]
    offers_patch = any(tool["function"]["name"] == "apply_patch" for tool in last["tools"])
    assert offers_patch == (model != "scripted"), "Codex does not know this model any more: name another one"


def run_codex(model: str, port: int, folder: Path) -> str:
    """Run Codex in a folder with a greeting; give what it shows."""
    home, work = folder / "home", folder / "work"
    home.mkdir()
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
    command = [str(CODEX), "exec", "--skip-git-repo-check", "-s", "danger-full-access", "-m", model]
    command += [part for setting in settings for part in ("-c", setting)]
    environ = {**clean_environment(), "HOME": str(home), "CODEX_HOME": str(home), "PROXY_KEY": "any"}
    done = subprocess.run(
        [*command, "Change the greeting."],
        cwd=work,
        env=environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=120,
        check=False,
    )
    return (done.stdout + done.stderr).decode(errors="replace")
