"""What is wrong with an answer by itself, and beside the answers to the same request in other forms."""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Iterator, Sequence
from typing import Any

from tests.fuzz.case import CLIENT_KEY, SERVER_KEYS, Case, Sent, Violation
from tests.fuzz.client import Seen
from tests.fuzz.records import leaked_keys
from tests.support.client import Answer

Json = dict[str, Any]
DONE = "[DONE]"
#: What streams of Messages and of the Responses API end in.
LAST_EVENTS = ("message_stop", "error", "response.completed", "response.incomplete", "response.failed")
DATA_LINE = re.compile("data(?::|$)")


def answer_violations(answer: Answer, sent: Sent, case: Case) -> Iterator[Violation]:
    """Look at one answer."""
    text = body_of(answer).decode("utf-8", "replace") + repr(answer.headers)
    yield from leaked_keys("an answer", text, secrets_of(sent))
    if answer.status == 500 and '"internal_error"' in text:
        yield Violation("internal error", text[:200])
    if case.is_ours and answer.whole and answer.status == 200 and answer.body and is_event_stream(answer):
        yield from _stream_violations(answer)


def secrets_of(sent: Sent) -> tuple[str, ...]:
    """Give the keys that an answer may not hold: the client's own only where it sent it as a key alone."""
    data = b"".join(sent.pieces)
    key = CLIENT_KEY.encode()
    said_elsewhere = data.count(key) > data.count(b"Authorization: Bearer " + key)
    return tuple(SERVER_KEYS.values()) if said_elsewhere else (CLIENT_KEY, *SERVER_KEYS.values())


def is_event_stream(answer: Answer) -> bool:
    return answer.header("Content-Type").startswith("text/event-stream")


def body_of(answer: Answer) -> bytes:
    """Give the body, decompressed where it can be."""
    if answer.header("Content-Encoding") == "gzip":
        try:
            return gzip.decompress(answer.body)
        except (OSError, EOFError, zlib.error):
            return answer.body
    return answer.body


def event_data(answer: Answer) -> list[str]:
    """Give the data of the events of a stream, as a browser reads them (WHATWG HTML, section 9.2.6)."""
    text = answer.body.decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "\n").removeprefix("\ufeff")
    found = []
    for block in re.split("\n\n+", text):
        lines = [line.partition(":")[2].removeprefix(" ") for line in block.split("\n") if DATA_LINE.match(line)]
        if any(lines):
            found.append("\n".join(lines))
    return found


def _stream_violations(answer: Answer) -> Iterator[Violation]:
    """See that a stream that was not cut ends in [DONE] or in an error, and holds nothing but JSON objects."""
    data = [one.strip() for one in event_data(answer)]
    try:
        chunks = [json.loads(one) for one in data if one != DONE]
    except ValueError as error:
        yield Violation("stream", f"an event that is no JSON: {error}: {answer.body[-300:]!r}")
        return
    if not all(isinstance(chunk, dict) for chunk in chunks):
        yield Violation("stream", f"an event that is no object: {answer.body[-300:]!r}")
    elif any(chunk.get("type") in LAST_EVENTS for chunk in chunks[:-1]):
        yield Violation("stream end", f"an event behind the last one: {answer.body[-300:]!r}")
    elif DONE in data[:-1] or not (data and (data[-1] == DONE or _is_last(chunks[-1]))):
        yield Violation("stream end", repr(answer.body[-300:]))
    elif data[-1] == DONE and any("error" in chunk and "choices" not in chunk for chunk in chunks):
        yield Violation("stream end", f"[DONE] behind an error: {answer.body[-300:]!r}")


def _is_last(chunk: Json) -> bool:
    return "error" in chunk or chunk.get("type") in LAST_EVENTS


def comparison_violations(case: Case, seen: Sequence[Seen]) -> Iterator[Violation]:
    """Compare the answers to one request that was asked in several forms."""
    answers = [answer for one in seen for answer in one.answers]
    if case.bodies:
        for answer, body in zip(answers, case.bodies, strict=False):
            if not is_slow(answer) and (answer.status != 200 or not answer.whole or body_of(answer) != body):
                yield Violation("untouched", f"{answer.status} {answer.body[:200]!r} instead of {body[:200]!r}")
    if not case.compares or any(is_slow(answer) or is_left_alone(answer) for answer in answers):
        return
    said = []
    for answer in answers:
        if answer.status != 200 or not answer.whole:
            yield Violation("whole and streamed", f"{answer.status}, whole={answer.whole}: {answer.body[-300:]!r}")
            return
        said.append(said_in(answer))
    for one in said[1:]:
        if one != said[0]:
            yield Violation("whole and streamed", f"{said[0]} became {one}")
    if case.text is not None and said[0][0]["text"] != case.text:
        yield Violation("whole and streamed", f"{case.text!r} became {said[0][0]['text']!r}")


def is_left_alone(answer: Answer) -> bool:
    """Whether earlier cases have opened the circuits of all upstreams of its model."""
    return b'"upstreams_unavailable"' in answer.body or b'"upstreams_rate_limited"' in answer.body


def is_slow(answer: Answer) -> bool:
    """Whether it failed for want of time only, as may be on a busy machine."""
    return b"_timeout" in answer.body


def said_in(answer: Answer) -> dict[int, Json]:
    """Give what an answer says, by its choices: text, thoughts, calls, finish reason."""
    said: dict[int, Json] = {}
    documents = map(json.loads, (one for one in event_data(answer) if one.strip() != DONE))
    for document in documents if is_event_stream(answer) else [answer.json]:
        for choice in document.get("choices") or ():
            _add(said.setdefault(choice["index"], {"text": "", "thoughts": "", "calls": {}, "finish": None}), choice)
    return said


def _add(said: Json, choice: Json) -> None:
    part = choice.get("message") or choice.get("delta") or {}
    said["text"] += part.get("content") or choice.get("text") or ""
    said["thoughts"] += part.get("reasoning_content") or ""
    said["finish"] = choice.get("finish_reason") or said["finish"]
    for place, call in enumerate(part.get("tool_calls") or ()):
        known = said["calls"].setdefault(call.get("index", place), {"name": "", "arguments": ""})
        for name in known:
            known[name] += (call.get("function") or {}).get(name) or ""
