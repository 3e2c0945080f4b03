"""PydanticAI with both of OpenAI's APIs, in front of an upstream that has chats only."""

from __future__ import annotations

from pathlib import Path

from tests.clients.installed import find_program, needs, run_client
from tests.clients.recipes_model import ANSWER
from tests.clients.scripted_model import run_model
from tests.support.fixtures import Serve

SCRIPT = """
import sys

from pydantic import BaseModel
from pydantic_ai import Agent, NativeOutput
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.openai import OpenAIProvider


class City(BaseModel):
    name: str
    people: int


def weather(city: str) -> str:
    return "sunny"


provider = OpenAIProvider(base_url=sys.argv[1], api_key="any")
for kind in (OpenAIResponsesModel, OpenAIChatModel):
    model = kind("m1", provider=provider)
    print(Agent(model).run_sync("What is a proxy?").output)
    print(Agent(model, tools=[weather]).run_sync("How is the weather in Oslo?").output)
    print(Agent(model, output_type=NativeOutput(City)).run_sync("A city in Norway").output)
"""


@needs("python-openai3")
def test_agents_answer_call_tools_and_give_objects(start: Serve, tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    (work / "agents.py").write_text(SCRIPT)
    with run_model("recipes_model", tmp_path, str(work)) as model:
        proxy = start(TARGET_BASE_URL=model.url)
        command = [find_program("python-openai3", "python"), "agents.py", f"http://127.0.0.1:{proxy.port}/v1"]
        shown = run_client(command, work)
    for line in (ANSWER, "It is sunny in Oslo.", "name='Oslo' people=7"):
        assert shown.count(line) == 2, shown
    assert "Let me think" not in shown
