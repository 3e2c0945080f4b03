"""A chat model for the clients of the recipes: it calls the tools that it is offered, edits a file in the folder that
its argument names, writes JSON where that is asked for, and else says what a proxy is."""

from __future__ import annotations

import json
import sys

from tests.clients.scripted_model import count_results, make_call, serve_model
from tests.support.json_handler import Json

#: How aider wants a change.
BLOCK = "greeting.txt\n```\n<<<<<<< SEARCH\nhello\n=======\ngoodbye\n>>>>>>> REPLACE\n```\n"
CHANGE = {"old": "hello", "new": "goodbye"}
ANSWER = "A proxy passes requests on."


def next_deltas(body: Json) -> list[Json]:
    """Return what the model says next."""
    tools = {tool["function"]["name"]: tool["function"].get("parameters", {}) for tool in body.get("tools", ())}
    done = count_results(body)
    if "edit" in tools:
        return edit_file(tools, done)
    if "weather" in tools and done == 0:
        return make_call("weather", {"city": "Oslo"})
    if "weather" in tools:
        return [{"content": "It is sunny"}, {"content": " in Oslo."}]
    if body.get("response_format"):
        return [{"content": '{"name": "Oslo",'}, {"content": ' "people": 7}'}]
    if "*SEARCH/REPLACE*" in json.dumps(body["messages"]):
        return [{"content": f"I change it.\n\n{BLOCK}"}]
    return [{"content": ANSWER[:8]}, {"content": ANSWER[8:]}]


def edit_file(tools: Json, done: int) -> list[Json]:
    """Return a call that reads the file, one that edits it, and what is said at the end."""
    file = f"{sys.argv[2]}/greeting.txt"
    if done > 1:
        return [{"content": "The greeting is changed."}]
    name = "edit" if done else next(name for name in ("read", "read_file") if name in tools)
    return make_call(name, {key: value for key in tools[name]["required"] if (value := argument_of(key, file))})


def argument_of(name: str, file: str) -> str:
    """Return the value of a tool's argument: clients spell the names differently, `filePath`, `old_string`."""
    kind = name.lower().replace("_", "")
    return file if kind.endswith("path") else CHANGE.get(kind.removesuffix("string"), "")


if __name__ == "__main__":
    serve_model(next_deltas)
