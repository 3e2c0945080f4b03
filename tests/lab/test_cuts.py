"""A reply that is cut behind any of its bytes, gently or not: never half an answer as a whole one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.lab.faults import GONE, MADE_NO_SENSE, MOMENT, SHORT, WORDS, reply
from tests.lab.judge import Door
from tests.support.client import Answer, chat
from tests.support.fixtures import Serve
from tests.support.processes import UNCOVERED, Upstream
from tests.support.scripts import DONE, Step, chunked

STEP = 7
AT_ONCE = 8
KNOWN = {GONE, SHORT, MADE_NO_SENSE, "upstream_stream_cut_short"}


def complaints(answer: Answer, arrived: int, *, streams: bool) -> Iterator[str]:
    """Tell what is wrong with the answer to a reply of which so many pieces arrived whole; -1 for a part of its head
    at most."""
    if not streams or arrived < 0:
        if (answer.status, answer.error["code"] in KNOWN) != (502, True):
            yield f"{answer.status} {answer.body!r}"
        return
    if arrived == 0 and answer.status == 502:
        return
    said = Door("", strips=True, register=lambda *_: "", strike=lambda _: None).visible("".join(WORDS[:arrived]))
    last = answer.chunks[-1]
    if (answer.status, answer.text, answer.whole) != (200, said, True):
        yield f"{answer.status} {answer.text!r} instead of {said!r}"
    if arrived > len(WORDS):
        if not answer.body.endswith(DONE.encode()) or "error" in last:
            yield f"all was said, and it ends with {json.dumps(last)}"
    elif "error" not in last or last["error"]["code"] not in KNOWN or b"[DONE]" in answer.body:
        yield f"it ends with {json.dumps(last)}"


@pytest.mark.parametrize("how", [["close"], ["rst"]], ids=["FIN", "RST"])
@pytest.mark.parametrize("framed", [True, False], ids=["in chunks", "without a length"])
@pytest.mark.parametrize("streams", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize("worker_class", ["gthread", "gevent"])
def test_no_cut_is_taken_for_an_end(
    serve: Serve, upstream: Upstream, worker_class: str, streams: bool, framed: bool, how: Step
) -> None:
    door = serve(TARGET_BASE_URL=upstream.url, WORKER_CLASS=worker_class, **UNCOVERED)
    said = reply(streams=streams)
    head = said.chunked if framed else said.head("Connection: close")
    sent = [chunked(piece) if framed else piece for piece in said.pieces]
    wire = head + "".join(sent)
    margin = len("\r\n") if framed else 0
    ends = [len(head) + len("".join(sent[:count])) - margin * (count > 0) for count in range(len(sent))]

    def spoilt(size: int) -> tuple[int, list[str]]:
        script = upstream.script(["send", wire[:size]], MOMENT, how)
        answer = chat(door.port, stream=streams, headers={"X-Script": script})
        arrived = sum(end <= size for end in ends) - 1
        return size, list(complaints(answer, arrived, streams=streams))

    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = dict(pool.map(spoilt, range(0, len(wire) - margin, STEP)))
    assert {size: wrong for size, wrong in found.items() if wrong} == {}
    assert len(found) > 30
