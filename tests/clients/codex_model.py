"""A chat model that has Codex CLI read a file, change it by a patch, and say that it is done."""

from __future__ import annotations

from tests.clients.scripted_model import count_results, make_call, serve_model
from tests.support.json_handler import Json

PATCH = "*** Begin Patch\n*** Update File: greeting.txt\n@@\n-hello\n+goodbye\n*** End Patch"


def next_deltas(body: Json) -> list[Json]:
    """Give what the model says next: it depends on how many outputs of tools came back."""
    done = count_results(body)
    if done == 0:
        return make_call("exec_command", {"cmd": "cat greeting.txt"})
    if done == 1 and any(tool["function"]["name"] == "apply_patch" for tool in body["tools"]):
        return make_call("apply_patch", {"input": PATCH})
    if done == 1:
        return make_call("exec_command", {"cmd": f"apply_patch <<'EOF'\n{PATCH}\nEOF"})
    return [{"content": "The greeting is changed."}]


if __name__ == "__main__":
    serve_model(next_deltas)
