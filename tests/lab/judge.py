"""Ask a door for what the laboratory's upstream spoils, and tell what its client saw that it should not have seen."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

import openai

from tests.lab.faults import CATALOGUE, COMPLETE, WORDS, Fault, Outcome, Reply, reply
from tests.support.client import Answer, Client

#: Registers a script with the upstream, by its steps and how the request's body is taken; gives its name.
Register = Callable[[list[Any], str], str]
#: Lets a script go on, and waits until the rest of it is played.
Strike = Callable[[str], None]
TIMEOUT_S = 120.0


@dataclass(frozen=True)
class Door:
    """A gateway to be judged: where it listens, whether it takes thoughts out, and whether it has the codes of ours.

    A model's name may choose a short time-out: only what is to be late may be ended by one, so that a slow machine
    changes no verdict.
    """

    url: str
    strips: bool
    register: Register
    strike: Strike
    has_our_codes: bool = True
    model: str = "m1"
    model_that_begins_soon: str = "m1"
    model_that_goes_on_soon: str = "m1"

    @property
    def port(self) -> int:
        return urlsplit(self.url).port or 80

    def code(self, code: str | None) -> str:
        """Give a code as far as it is to be compared."""
        return (code or "") if self.has_our_codes else ""

    def visible(self, text: str) -> str:
        """Give what a client may see of a text that was said so far."""
        if not self.strips:
            return text
        before, _, thought = text.partition("<think>")
        return before + thought.partition("</think>")[2]


@dataclass(frozen=True)
class Case:
    """One fault in one mode; in a crossed one the upstream is asked in the other mode than the client asks."""

    name: str
    streams: bool
    crossed: bool = False

    def __str__(self) -> str:
        return f"{self.name} ({'streamed' if self.streams else 'whole'}{', crossed' if self.crossed else ''})"

    @property
    def is_said_in_a_stream(self) -> bool:
        return self.streams != self.crossed

    @property
    def fault(self) -> Fault:
        return CATALOGUE[self.name]

    @property
    def outcome(self) -> Outcome:
        outcome = self.fault.streamed if self.is_said_in_a_stream else self.fault.whole
        assert outcome is not None, "there is no such case"
        is_held_back = self.crossed and outcome.status == 200 and outcome != COMPLETE
        return replace(outcome, status=outcome.whole_status, words=()) if is_held_back else outcome

    @property
    def text(self) -> str:
        """What is said before it breaks, thoughts and all."""
        if self.outcome == COMPLETE:
            return self.fault.text or "".join(WORDS)
        return "".join(self.outcome.words)

    def model(self, door: Door) -> str:
        if self.fault.is_silence:
            return door.model_that_goes_on_soon
        return door.model_that_begins_soon if self.outcome.ending == "upstream_timeout" else door.model

    def asked(self, door: Door, script: str) -> dict[str, Any]:
        words = f"script:{script} {'x' * self.fault.request}"
        return {"model": self.model(door), "messages": [{"role": "user", "content": words}], "stream": self.streams}

    @property
    def said(self) -> Reply:
        """What the upstream says, before it is spoilt."""
        return reply(streams=self.is_said_in_a_stream, text=self.fault.text)

    def script(self, door: Door) -> str:
        return door.register(self.fault.steps(self.said), self.fault.body)


def cases() -> Iterator[Case]:
    """Give every fault in every mode it is to be seen in."""
    for name, fault in CATALOGUE.items():
        if fault.streamed:
            yield Case(name, streams=True)
        if fault.whole:
            yield Case(name, streams=False)


def crossed_cases() -> Iterator[Case]:
    """Give every fault in the modes in which a door has to put an answer together, or to split it."""
    for case in cases():
        if not case.fault.is_heavy:
            yield replace(case, streams=not case.streams, crossed=True)


def ask(door: Door, case: Case) -> Answer:
    """Have one request spoilt, and give what a client on a raw socket sees."""
    script = case.script(door)
    headers = {"X_Upstream_Mode": "stream" if case.is_said_in_a_stream else "non_stream"} if case.crossed else {}
    body = json.dumps(case.asked(door, script)).encode()
    with Client(door.port, TIMEOUT_S) as client:
        client.send("POST", "/v1/chat/completions", body, X_Script=script, Content_Type="application/json", **headers)
        answer = client.answer()
    if case.fault.strikes_later:
        door.strike(script)
    return answer


def complaints(door: Door, case: Case, answer: Answer) -> Iterator[str]:
    """Tell what is wrong with an answer; nothing when it is as it should be."""
    wanted = case.outcome
    is_streamed = case.streams and (wanted.status == 200 or (case.crossed and answer.status == 200))
    status = wanted.status if case.streams or wanted.code == "" or wanted.status != 200 else wanted.whole_status
    if not answer.whole:
        yield "the answer was cut"
    if answer.status != status and not (case.crossed and is_streamed):
        yield f"status {answer.status} instead of {status}"
        return
    text, code = told(answer, is_streamed=is_streamed)
    expected = door.visible(case.text) if is_streamed or wanted == COMPLETE else ""
    if text != expected:
        yield f"the text {text[:80]!r} instead of {expected[:80]!r}"
    if door.code(code) != door.code(wanted.code):
        yield f"the code {code!r} instead of {wanted.code!r}"
    if is_streamed and answer.body.rstrip().endswith(b"data: [DONE]") != (wanted == COMPLETE):
        yield "[DONE] tells an untruth"
    has_one = "no finish reason" not in case.name
    if is_streamed and finishes(answer) != (wanted == COMPLETE and has_one):
        yield "the finish reason tells an untruth"
    if answer.status == 200 and not is_streamed and has_one and answer.json["choices"][0]["finish_reason"] != "stop":
        yield "the finish reason is lost"


def told(answer: Answer, *, is_streamed: bool) -> tuple[str, str | None]:
    """Give the text of an answer and the code of its error."""
    if is_streamed:
        (error,) = [chunk["error"] for chunk in answer.chunks if "error" in chunk] or [{}]
        return answer.text, error.get("code")
    document = answer.json
    if "error" in document:
        return "", document["error"].get("code")
    return document["choices"][0]["message"]["content"], None


def finishes(answer: Answer) -> bool:
    return any(choice.get("finish_reason") for chunk in answer.chunks for choice in chunk.get("choices", ()))


@contextmanager
def official_client(door: Door) -> Iterator[openai.OpenAI]:
    """Give OpenAI's own client: one for many requests, for it is slow to be made."""
    with openai.OpenAI(base_url=f"{door.url}/v1", api_key="x", max_retries=0, timeout=TIMEOUT_S) as client:
        yield client


@dataclass
class Seen:
    """What OpenAI's client saw: the request's id, the text that came, and what was raised."""

    id: str = ""
    text: str = ""
    raised: tuple[str, str] | None = None


def ask_by_the_sdk(door: Door, client: openai.OpenAI, case: Case) -> Seen:
    """Have one request spoilt, and return what OpenAI's client sees."""
    script, seen = case.script(door), Seen()
    try:
        for part in _parts(client, case.asked(door, script), script, seen):
            seen.text += part
    except openai.APIStatusError as error:
        seen.id = error.response.headers["X-Logging-Id"]
        seen.raised = ("status", door.code(error.code))
    except openai.APIError as error:
        seen.raised = ("event", door.code(error.code))
    if case.fault.strikes_later:
        door.strike(script)
    return seen


def _parts(client: openai.OpenAI, asked: dict[str, Any], script: str, seen: Seen) -> Iterator[str]:
    """Ask, note the id, and give the text as it comes. Raises openai.APIError."""
    raw = client.chat.completions.with_raw_response.create(**asked, extra_headers={"X-Script": script})
    seen.id = raw.headers.get("X-Logging-Id", "")
    made: Any = raw.parse()
    if not asked["stream"]:
        yield made.choices[0].message.content or ""
        return
    for chunk in made:
        yield "".join(choice.delta.content or "" for choice in chunk.choices)


def complaints_of_the_sdk(door: Door, case: Case, seen: Seen) -> Iterator[str]:
    """Tell whether OpenAI's client raised or finished as it should."""
    wanted = case.outcome
    kind = "event" if case.streams and wanted.status == 200 else "status"
    expected = None if wanted == COMPLETE else (kind, door.code(wanted.code))
    if seen.raised != expected:
        yield f"OpenAI's client saw {seen.raised} instead of {expected}"
    if (expected is None or kind == "event") and seen.text != door.visible(case.text):
        yield f"OpenAI's client saw the text {seen.text[:80]!r}"


def is_served(door: Door) -> bool:
    """Whether a request that nobody spoils is answered, as it must be after any fault."""
    body = json.dumps({"model": "m1", "messages": [{"role": "user", "content": "Hi"}]}).encode()
    with Client(door.port, TIMEOUT_S) as client:
        client.send("POST", "/v1/chat/completions", body, Content_Type="application/json")
        return client.answer().status == 200
