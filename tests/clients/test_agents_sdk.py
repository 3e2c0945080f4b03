"""docs/recipes/agents-sdk.md: the SDK, with its default API, in front of an upstream that has chats only."""

from __future__ import annotations

import asyncio
from typing import Any

import openai
import pytest

from tests.support.fixtures import Serve
from tests.support.processes import Upstream

agents: Any = pytest.importorskip("agents", reason="the Agents SDK is not installed: pip install openai-agents")


async def run(url: str) -> tuple[str, str]:
    """Give what an agent says, whole and streamed."""
    client = openai.AsyncOpenAI(base_url=url, api_key="any", max_retries=0)
    model = agents.OpenAIResponsesModel(model="m1", openai_client=client)
    schema = {"type": "object", "properties": {}}
    tool = agents.FunctionTool("f", "A tool", schema, lambda *_: "x", strict_json_schema=False)
    agent = agents.Agent(name="a", instructions="Be short.", model=model, tools=[tool])
    whole = await agents.Runner.run(agent, "hi")
    streamed = agents.Runner.run_streamed(agent, [*whole.to_input_list(), {"role": "user", "content": "again"}])
    async for _ in streamed.stream_events():
        pass
    await client.close()
    return whole.final_output, streamed.final_output


def test_an_agent_answers(serve: Serve, upstream: Upstream) -> None:
    agents.set_tracing_disabled(True)
    proxy = serve(TARGET_BASE_URL=upstream.url, RESPONSES="convert")
    assert asyncio.run(run(f"http://localhost:{proxy.port}/v1")) == ("Hello there!", "Hello there!")
