"""Every fault of the laboratory as a client of Messages sees it: a whole message, or one error and nothing after it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.lab.faults import COMPLETE
from tests.lab.judge import Case, Door, cases
from tests.support.client import Answer, Client
from tests.support.fixtures import Serve
from tests.support.messages_grammar import check_grammar, read_frames
from tests.support.processes import UNCOVERED, Upstream

AT_ONCE = 8
TIMEOUT_S = 120.0
CASES = [case for case in cases() if not case.fault.is_of_tls]
#: Statuses that Anthropic's API has others for.
RENAMED = {422: 400, 503: 529}


@pytest.fixture(params=["gthread-true", "gevent-false"], scope="module")
def door(
    request: pytest.FixtureRequest, serve: Serve, upstream: Upstream, tmp_path_factory: pytest.TempPathFactory
) -> Door:
    worker_class, strips = request.param.split("-")
    config = tmp_path_factory.mktemp("lab") / "config.yaml"
    models = {"begins-soon": {"first_byte_timeout": 0.5}, "goes-on-soon": {"idle_timeout": 1.5}}
    config.write_text(json.dumps({"models": models}))
    proxy = serve(
        TARGET_BASE_URL=upstream.url,
        CONFIG_PATH=str(config),
        THREADS=str(AT_ONCE + 2),
        HEARTBEAT="0.1",
        WORKER_CLASS=worker_class,
        THINK_FILTER=strips,
        **UNCOVERED,
    )
    return Door(
        proxy.url,
        strips == "true",
        lambda steps, body: upstream.script(*steps, body=body),
        upstream.strike,
        model_that_begins_soon="begins-soon",
        model_that_goes_on_soon="goes-on-soon",
    )


def ask_for(door: Door, case: Case) -> Answer:
    script = case.script(door)
    body = json.dumps({**case.asked(door, script), "max_tokens": 9}).encode()
    with Client(door.port, TIMEOUT_S) as client:
        client.send("POST", "/v1/messages", body, X_Script=script, anthropic_version="2023-06-01")
        answer = client.answer()
    if case.fault.strikes_later:
        door.strike(script)
    return answer


def complaints(door: Door, case: Case, answer: Answer) -> Iterator[str]:
    wanted = case.outcome
    if not answer.whole:
        yield "the answer was cut"
    elif case.streams and wanted.status == 200:
        yield from complaints_of_a_stream(door, case, answer)
    elif wanted == COMPLETE and answer.status != 200:
        yield f"status {answer.status}"
    elif wanted == COMPLETE:
        if text_of(answer.json["content"]) != door.visible(case.text):
            yield f"the text {text_of(answer.json['content'])[:80]!r}"
    else:
        status = wanted.whole_status if wanted.status == 200 else wanted.status
        if answer.status not in (status, RENAMED.get(status)):
            yield f"status {answer.status} instead of {status}"
        if answer.json["type"] != "error" or answer.json["request_id"] != answer.header("request-id"):
            yield f"no error of Anthropic's: {answer.body[:80]!r}"


def complaints_of_a_stream(door: Door, case: Case, answer: Answer) -> Iterator[str]:
    frames = [frame for frame in read_frames(answer.body) if frame["type"] != "ping"]
    kinds = [frame["type"] for frame in frames]
    deltas = [frame["delta"] for frame in frames if frame["type"] == "content_block_delta"]
    if "".join(delta["text"] for delta in deltas) != door.visible(case.text):
        yield f"the text {deltas} instead of {door.visible(case.text)[:80]!r}"
    if case.outcome == COMPLETE:
        check_grammar(frames)
    elif kinds[-1] != "error" or kinds.count("error") != 1 or "message_stop" in kinds:
        yield f"it ends with {kinds[-3:]}"


def text_of(content: list[Any]) -> str:
    return "".join(block["text"] for block in content)


def test_every_fault_has_one_correct_ending(door: Door) -> None:
    # What strikes a connection that is not in use would strike that of another case too.
    side_by_side = [case for case in CASES if not case.fault.strikes_later]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = list(zip(side_by_side, pool.map(lambda case: ask_for(door, case), side_by_side), strict=True))
    answers += [(case, ask_for(door, case)) for case in CASES if case.fault.strikes_later]
    found = {str(case): list(complaints(door, case, answer)) for case, answer in answers}
    assert {name: said for name, said in found.items() if said} == {}
