"""What the official clients check in a stream of the Responses API (openai-node 7.5, `ResponseAccumulator`)."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

Json = dict[str, Any]

LAST = ("response.completed", "response.incomplete", "response.failed")


def parse_events(body: bytes) -> list[Json]:
    """Give the events of a stream; the name of each must be its type."""
    events = []
    for frame in body.decode().split("\n\n"):
        if frame and not frame.startswith(":"):
            name, data = frame.split("\n")
            event = json.loads(data.removeprefix("data: "))
            assert name == f"event: {event['type']}"
            events.append(event)
    return events


def accumulate(events: Iterable[Json]) -> Json:
    """Check each event of a whole stream against those before it; give the response at the end."""
    checker = ResponseChecker()
    for event in events:
        checker.add(event)
    assert checker.response is not None, "the stream has no last event"
    return checker.response


class ResponseChecker:
    """Builds the output of the events, and compares it with what the response says at the end."""

    def __init__(self) -> None:
        self.items: list[Json] = []
        self.done: list[Json] = []
        self.response: Json | None = None
        self.types: list[str] = []
        self._id = ""

    def add(self, event: Json) -> None:
        kind = event["type"]
        assert self.response is None, f"{kind} after the end"
        assert event["sequence_number"] == len(self.types)
        self.types.append(kind)
        if kind == "keepalive":
            return
        assert (kind == "response.created") == (self._id == "")
        if "response" in event:
            self._add_state(kind, event["response"])
        elif kind == "response.output_item.added":
            self._begin(event)
        elif kind == "response.output_item.done":
            self._end(event)
        else:
            self._add_content(kind.removeprefix("response."), event)

    def _add_state(self, kind: str, response: Json) -> None:
        self._id = self._id or response["id"]
        assert response["id"] == self._id
        if kind in LAST:
            assert response["status"] == kind.removeprefix("response.")
            self.response = response
            self._check_end(response)
        else:
            assert kind in ("response.created", "response.in_progress")
            assert (response["status"], response["output"], self.items) == ("in_progress", [], [])

    def _check_end(self, response: Json) -> None:
        assert response["output"][: len(self.done)] == self.done
        if response["status"] == "failed":
            assert isinstance(response["error"]["code"], str)
        else:
            assert len(self.done) == len(self.items) == len(response["output"])
            assert isinstance(response["usage"]["input_tokens_details"]["cached_tokens"], int)

    def _begin(self, event: Json) -> None:
        item = json.loads(json.dumps(event["item"]))
        assert len(self.done) == len(self.items), "the item before has not ended"
        assert event["output_index"] == len(self.items)
        assert item["id"]
        assert item["id"] not in [one["id"] for one in self.items]
        if "call_id" in item:
            assert item["call_id"]
            assert item["call_id"] not in [one.get("call_id") for one in self.items]
        self.items.append(item)

    def _end(self, event: Json) -> None:
        item = event["item"]
        built = self.items[event["output_index"]]
        assert event["output_index"] == len(self.done)
        changed = {"status", "encrypted_content"}
        assert {key: value for key, value in item.items() if key not in changed} == {
            key: value for key, value in built.items() if key not in changed
        }
        self.done.append(item)

    def _add_content(self, kind: str, event: Json) -> None:
        item = self.items[event["output_index"]]
        assert event["item_id"] == item["id"]
        assert len(self.done) < len(self.items), "the item has ended"
        if kind == "content_part.added":
            assert event["content_index"] == len(item["content"])
            item["content"].append(json.loads(json.dumps(event["part"])))
        elif kind == "reasoning_summary_part.added":
            assert event["summary_index"] == len(item["summary"])
            item["summary"].append(dict(event["part"]))
        elif kind in ("content_part.done", "reasoning_summary_part.done"):
            part = (
                item["summary"][event["summary_index"]]
                if "summary" in kind
                else item["content"][event["content_index"]]
            )
            assert part == event["part"]
        else:
            self._add_text(kind, item, event)

    def _add_text(self, kind: str, item: Json, event: Json) -> None:
        name, _, verb = kind.rpartition(".")
        holders: dict[str, tuple[Any, str]] = {
            "function_call_arguments": (item, "arguments"),
            "custom_tool_call_input": (item, "input"),
            "reasoning_summary_text": (item.get("summary"), "text"),
            "reasoning_text": (item.get("content"), "text"),
            "output_text": (item.get("content"), "text"),
            "output_text.annotation": (item.get("content"), "annotations"),
            "refusal": (item.get("content"), "refusal"),
        }
        holder, key = holders[name]
        if isinstance(holder, list):
            holder = holder[event["content_index"] if "content_index" in event else event["summary_index"]]
        assert holder is not None
        if verb == "added":
            assert event["annotation_index"] == len(holder[key])
            holder[key].append(event["annotation"])
        elif verb == "delta":
            assert event["delta"] or key == "input"
            holder[key] += event["delta"]
            if name == "output_text":
                holder["logprobs"] += event["logprobs"]
        else:
            assert event[key] == holder[key]
