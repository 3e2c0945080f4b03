"""The recipes of clients, followed to the letter: what their pages show is run, in front of an upstream that has chats
only, and whose model thinks in tags and calls tools.

Pages: aider.md, ai-sdk.md, agents-sdk.md, anthropic-sdk.md, langchain.md, llama-index.md, llm.md, opencode.md,
qwen-code.md.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.clients.installed import find_program, needs, run_client, run_node
from tests.clients.recipes_model import ANSWER
from tests.clients.scripted_model import RunningModel, run_model
from tests.support.fixtures import Serve
from tests.support.pages import fences
from tests.support.processes import ROOT, Proxy

#: Where the pages say that the proxy is.
SHOWN = "127.0.0.1:5000"


@dataclass(frozen=True)
class Kitchen:
    """A folder to work in, a proxy, and the model behind it."""

    folder: Path
    proxy: Proxy
    model: RunningModel

    def fences(self, page: str, *languages: str) -> list[str]:
        """Return what a page of a recipe shows in some languages, with the address of the running proxy."""
        shown = [fence for fence in fences(ROOT / "docs" / "recipes" / page) if fence.language in languages]
        assert shown
        return [fence.text.replace(SHOWN, f"127.0.0.1:{self.proxy.port}") for fence in shown]

    def run(self, group: str, script: str, **environ: str) -> str:
        """Run commands of a shell, with those of a group of clients."""
        folder = Path(find_program(group, "x")).parent
        file = self.folder.parent / "commands.sh"
        file.write_text(f"set -e\nPATH={folder}:$PATH\n{script}")
        return run_client(["bash", str(file)], self.folder, **environ)

    def run_python(self, group: str, page: str) -> str:
        """Run the Python of a page, one after the other."""
        file = self.folder / "recipe.py"
        file.write_text("\n".join(self.fences(page, "python")))
        return run_client([find_program(group, "python"), str(file)], self.folder)

    def check_greeting(self, shown: str) -> None:
        """Check that a client has changed the file."""
        assert (self.folder / "greeting.txt").read_text() == "goodbye\n", shown
        check_no_thoughts(shown)


@pytest.fixture
def kitchen(start: Serve, tmp_path: Path) -> Iterator[Kitchen]:
    work = tmp_path / "work"
    work.mkdir()
    (work / "greeting.txt").write_text("hello\n")
    with run_model("recipes_model", tmp_path, str(work)) as model:
        yield Kitchen(work, start(TARGET_BASE_URL=model.url, RESPONSES="convert"), model)


def check_no_thoughts(shown: str) -> None:
    assert "Let me think" not in shown
    assert "<think>" not in shown


@needs("python-openai2")
def test_aider_edits_a_file(kitchen: Kitchen) -> None:
    (commands,) = kitchen.fences("aider.md", "bash")
    settings = {"AIDER_YES_ALWAYS": "true", "AIDER_GIT": "false", "AIDER_ANALYTICS": "false", "AIDER_PRETTY": "false"}
    kitchen.check_greeting(kitchen.run("python-openai2", commands, **settings))


@needs("python-openai3")
def test_llm_answers_and_writes_json(kitchen: Kitchen) -> None:
    (models,) = kitchen.fences("llm.md", "yaml")
    (kitchen.folder / "extra-openai-models.yaml").write_text(models)
    (commands,) = kitchen.fences("llm.md", "bash")
    shown = kitchen.run("python-openai3", commands, LLM_USER_PATH=str(kitchen.folder))
    assert ANSWER in shown, shown
    assert '"people": 7' in shown
    check_no_thoughts(shown)


@needs("python-openai3")
def test_langchain(kitchen: Kitchen) -> None:
    shown = kitchen.run_python("python-openai3", "langchain.md")
    assert shown.count(ANSWER) == 3, shown
    assert "name='Oslo' people=7" in shown
    assert "'args': {'city': 'Oslo'}" in shown
    check_no_thoughts(shown)


@needs("python-openai2")
def test_llama_index(kitchen: Kitchen) -> None:
    shown = kitchen.run_python("python-openai2", "llama-index.md")
    assert shown.count(ANSWER) == 2, shown
    assert "It is sunny in Oslo." in shown
    check_no_thoughts(shown)


@needs("python-openai3")
def test_the_agents_sdk(kitchen: Kitchen) -> None:
    shown = kitchen.run_python("python-openai3", "agents-sdk.md")
    assert ANSWER in shown, shown
    check_no_thoughts(shown)


@needs("python-openai3")
def test_anthropics_sdk_for_python(kitchen: Kitchen) -> None:
    shown = kitchen.run_python("python-openai3", "anthropic-sdk.md")
    assert ANSWER in shown, shown
    check_no_thoughts(shown)


@needs("node", "node-sdks")
def test_anthropics_sdk_for_node(kitchen: Kitchen) -> None:
    (script,) = kitchen.fences("anthropic-sdk.md", "js")
    shown = run_node(f"{script}\nconsole.log(message.content);", kitchen.folder)
    assert ANSWER in shown, shown
    check_no_thoughts(shown)


@needs("node", "node-sdks")
@pytest.mark.parametrize("at", [0, 1], ids=["responses", "chat completions"])
def test_the_ai_sdk(kitchen: Kitchen, at: int) -> None:
    script = kitchen.fences("ai-sdk.md", "js")[at]
    shown = run_node(script, kitchen.folder)
    assert ANSWER in shown, shown
    assert "It is sunny in Oslo." in shown, shown
    assert "Oslo has 7 people" in shown, shown
    check_no_thoughts(shown)
    assert any(body.get("response_format") for body in kitchen.model.requests())


#: n8n's node for chats is made of this library; its page names the two ways in which the node uses it.
N8N = """
import { ChatOpenAI } from "@langchain/openai";
const options = { model: "qwen3-coder", apiKey: "any", configuration: { baseURL: BASE_URL } };
const tools = [{ type: "function", function: { name: "weather", description: "Tell the weather in a city",
  parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] } } }];
for (const useResponsesApi of [false, true]) {
  const model = new ChatOpenAI({ ...options, useResponsesApi });
  console.log((await model.invoke("What is a proxy?")).text);
  let text = "";
  for await (const part of await model.stream("What is a proxy?")) text += part.text;
  console.log(text);
  const question = { role: "user", content: "How is the weather in Oslo?" };
  const call = await model.bindTools(tools).invoke([question]);
  const result = { role: "tool", tool_call_id: call.tool_calls[0].id, content: "sunny" };
  console.log((await model.bindTools(tools).invoke([question, call, result])).text);
}
"""


@needs("node", "node-sdks")
def test_the_library_of_n8n(kitchen: Kitchen) -> None:
    url = f"http://127.0.0.1:{kitchen.proxy.port}/v1"
    shown = run_node(N8N.replace("BASE_URL", json.dumps(url)), kitchen.folder)
    assert shown.count(ANSWER) == 4, shown
    assert shown.count("It is sunny in Oslo.") == 2, shown
    check_no_thoughts(shown)


@needs("node", "node-agents")
def test_opencode_edits_a_file(kitchen: Kitchen) -> None:
    (settings,) = kitchen.fences("opencode.md", "json")
    (kitchen.folder / "opencode.json").write_text(settings)
    (commands,) = kitchen.fences("opencode.md", "bash")
    shown = kitchen.run("node-agents", commands)
    kitchen.check_greeting(shown)
    assert "The greeting is changed." in shown


@needs("node", "node-agents")
def test_qwen_code_edits_a_file(kitchen: Kitchen) -> None:
    (commands,) = kitchen.fences("qwen-code.md", "bash")
    shown = kitchen.run("node-agents", commands)
    kitchen.check_greeting(shown)
    assert "The greeting is changed." in shown


def test_the_script_installs_every_set_of_clients() -> None:
    script = (ROOT / "tests" / "clients" / "install.sh").read_text()
    found = re.search(r"(?m)\|\| set -- (.+)$", script)
    assert found
    packages = (ROOT / "tests" / "clients" / "packages").iterdir()
    assert set(found[1].split()) == {folder.name for folder in packages}
