"""A chat model that has Claude Code read two files at once, edit one, and say that it is done.

Its second argument is the folder of the files.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tests.clients.scripted_model import begin_call, continue_call, count_results, make_call, serve_model
from tests.support.json_handler import Json


def next_deltas(body: Json) -> list[Json]:
    """Give what the model says next: it depends on how many results of tools came back."""
    folder, done = Path(sys.argv[2]), count_results(body)
    if not body.get("tools"):
        return [{"content": "A greeting"}]
    if done == 0:
        return read_both(folder)
    if done == 2:
        edit = {"file_path": str(folder / "greeting.txt"), "old_string": "hello", "new_string": "goodbye"}
        return [{"content": "I change it."}, *make_call("Edit", edit)]
    return [{"content": "The greeting is changed."}]


def read_both(folder: Path) -> list[Json]:
    """Make the deltas of two calls whose fragments are mixed."""
    first, second = (json.dumps({"file_path": str(folder / name)}) for name in ("greeting.txt", "other.txt"))
    return [
        begin_call(0, "Read"),
        begin_call(1, "Read"),
        continue_call(0, first[:9]),
        continue_call(1, second[:9]),
        continue_call(0, first[9:]),
        continue_call(1, second[9:]),
    ]


if __name__ == "__main__":
    serve_model(next_deltas)
