"""The APIs beside chats, as the laboratory asks them: their requests, and what their clients see of each fault."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from tests.lab.faults import COMPLETE
from tests.lab.judge import TIMEOUT_S, Case, Door
from tests.support.client import Answer, Client
from tests.support.messages_grammar import check_grammar, read_frames
from tests.support.response_events import accumulate, parse_events

Json = dict[str, Any]


@dataclass(frozen=True)
class Reading:
    """What a client made of a stream: the text, and whether it was told that this is all."""

    text: str
    is_complete: bool


class Surface(Protocol):
    """An API that is converted to chats."""

    path: str
    headers: ClassVar[Mapping[str, str]]
    #: Statuses that this API has others for.
    statuses: ClassVar[Mapping[int, int]]

    def request(self, chat: Json) -> Json:
        """Give the request that says the same as that of a chat."""

    def text(self, document: Json) -> str:
        """Give the text of a whole answer, which must be complete."""

    def code(self, answer: Answer) -> str | None:
        """Give the code of an error under its own status, None where this API has none. Raises AssertionError."""

    def read_stream(self, body: bytes) -> Reading:
        """Read a stream. Raises AssertionError unless it has one ending, and nothing after it."""


class Messages:
    """Anthropic's API."""

    path = "/v1/messages"
    headers: ClassVar[Mapping[str, str]] = {"anthropic-version": "2023-06-01"}
    statuses: ClassVar[Mapping[int, int]] = {422: 400, 503: 529}

    def request(self, chat: Json) -> Json:
        return {**chat, "max_tokens": 9}

    def text(self, document: Json) -> str:
        return "".join(block["text"] for block in document["content"])

    def code(self, answer: Answer) -> str | None:
        assert answer.json["type"] == "error"
        assert answer.json["request_id"] == answer.header("request-id")
        return None

    def read_stream(self, body: bytes) -> Reading:
        frames = [frame for frame in read_frames(body) if frame["type"] != "ping"]
        kinds = [frame["type"] for frame in frames]
        is_complete = "error" not in kinds
        if is_complete:
            check_grammar(frames)
        else:
            assert (kinds.index("error"), "message_stop" in kinds) == (len(kinds) - 1, False), f"it ends with {kinds}"
        deltas = [frame["delta"] for frame in frames if frame["type"] == "content_block_delta"]
        return Reading("".join(delta["text"] for delta in deltas), is_complete)


class Responses:
    """OpenAI's API after chats."""

    path = "/v1/responses"
    headers: ClassVar[Mapping[str, str]] = {}
    statuses: ClassVar[Mapping[int, int]] = {}

    def request(self, chat: Json) -> Json:
        return {"model": chat["model"], "input": chat["messages"], "stream": chat["stream"]}

    def text(self, document: Json) -> str:
        assert (document["status"], document["error"]) == ("completed", None)
        return _text_of(document["output"])

    def code(self, answer: Answer) -> str | None:
        return str(answer.error["code"] or "")

    def read_stream(self, body: bytes) -> Reading:
        events = parse_events(body)
        response = accumulate(events)
        is_complete = response["status"] == "completed"
        assert is_complete or response["status"] == "failed", f"it is {response['status']}"
        text = "".join(event["delta"] for event in events if event["type"] == "response.output_text.delta")
        assert text == _text_of(response["output"]), "the events and the response differ"
        return Reading(text, is_complete)


def _text_of(output: list[Json]) -> str:
    return "".join(part["text"] for item in output for part in item["content"])


def ask_surface(door: Door, surface: Surface, case: Case) -> Answer:
    """Have one request spoilt, and give what a client on a raw socket sees."""
    script = case.script(door)
    body = json.dumps(surface.request(case.asked(door, script))).encode()
    with Client(door.port, TIMEOUT_S) as client:
        client.send("POST", surface.path, body, X_Script=script, **surface.headers)
        answer = client.answer()
    if case.fault.strikes_later:
        door.strike(script)
    return answer


def surface_complaints(door: Door, surface: Surface, case: Case, answer: Answer) -> Iterator[str]:
    """Tell what is wrong with an answer; nothing when it is as it should be."""
    wanted = case.outcome
    status = wanted.status if case.streams or wanted.status != 200 or wanted == COMPLETE else wanted.whole_status
    if not answer.whole:
        yield "the answer was cut"
    elif answer.status not in (status, surface.statuses.get(status)):
        yield f"status {answer.status} instead of {status}"
    else:
        try:
            if answer.status != 200:
                yield from _complaints_of_an_error(door, wanted.code, surface.code(answer))
            else:
                reading = surface.read_stream(answer.body) if case.streams else Reading(surface.text(answer.json), True)
                yield from _complaints_of_an_answer(reading, Reading(door.visible(case.text), wanted == COMPLETE))
        except (AssertionError, LookupError, ValueError) as error:
            yield f"{type(error).__name__}: {error}; the answer: {answer.body[-200:]!r}"


def _complaints_of_an_error(door: Door, wanted: str, code: str | None) -> Iterator[str]:
    if code is not None and code != door.code(wanted):
        yield f"the code {code!r} instead of {wanted!r}"


def _complaints_of_an_answer(reading: Reading, wanted: Reading) -> Iterator[str]:
    if reading.is_complete != wanted.is_complete:
        yield "its ending tells an untruth"
    if reading.text != wanted.text:
        yield f"the text {reading.text[:80]!r} instead of {wanted.text[:80]!r}"
