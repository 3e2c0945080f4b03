"""The Agents SDK, with a tool, streamed and whole, in front of an upstream of each kind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.clients.installed import find_program, needs, run_client
from tests.support.processes import Proxy

pytestmark = needs("python-openai3")
#: Runs an agent once whole and once streamed; prints what both came to.
PROGRAM = """
import asyncio, json, sys
from agents import Agent, Runner, function_tool, set_default_openai_client, set_tracing_disabled
from openai import AsyncOpenAI

asked = json.load(sys.stdin)
set_tracing_disabled(True)
set_default_openai_client(AsyncOpenAI(base_url=asked["base_url"], api_key="any", max_retries=0))
calls = []

@function_tool
def weather(city: str = "") -> str:
    "Tell the weather of a city."
    calls.append(city)
    return "sunny"

agent = Agent(name="a", model=asked["model"], instructions="Be brief.", tools=[weather] if asked["tools"] else [])

async def main():
    whole = await Runner.run(agent, "Hi", max_turns=3)
    streamed = Runner.run_streamed(agent, "Hi", max_turns=3)
    kinds = [event.type async for event in streamed.stream_events()]
    print(json.dumps([whole.final_output, streamed.final_output, "raw_response_event" in kinds, len(calls)]))

asyncio.run(main())
"""


def run_agent(proxy: Proxy, folder: Path, **asked: Any) -> list[Any]:
    work = folder / "work"
    work.mkdir()
    file = work / "program.py"
    file.write_text(PROGRAM)
    options = {"base_url": f"{proxy.url}/v1", "tools": False, **asked}
    shown = run_client([find_program("python-openai3", "python"), str(file)], work, json.dumps(options))
    found: list[Any] = json.loads(shown.splitlines()[-1])
    return found


@pytest.mark.parametrize("model", ["demo", "chat", "qwen", "gpt", "claude"])
def test_an_agent_answers_the_same_streamed_and_whole(proxy: Proxy, tmp_path: Path, model: str) -> None:
    whole, streamed, had_events, _ = run_agent(proxy, tmp_path, model=model)
    assert whole.startswith("Hello")
    assert streamed == whole
    assert had_events


@pytest.mark.parametrize("model", ["gpt", "claude"])
def test_an_agent_calls_its_tool(proxy: Proxy, tmp_path: Path, model: str) -> None:
    whole, streamed, had_events, calls = run_agent(proxy, tmp_path, model=model, tools=True)
    assert whole
    assert streamed == whole
    assert (had_events, calls) == (True, 2)
