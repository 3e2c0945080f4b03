"""Every fault of the laboratory as clients of Messages and of Responses see it: a whole answer, or one error and
nothing after it."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import openai
import pytest

from tests.lab.faults import COMPLETE
from tests.lab.judge import Case, Door, cases, official_client
from tests.lab.surfaces import Messages, Responses, Surface, ask_surface, surface_complaints
from tests.support.fixtures import Serve
from tests.support.processes import UNCOVERED, Upstream

AT_ONCE = 8
CASES = [case for case in cases() if not case.fault.is_of_tls]
#: What OpenAI's client meets too: one of each kind.
SAMPLE = [
    "interim replies",
    "a refusal",
    "silence",
    "silence in the body",
    "RST in the body",
    "truncated gzip",
    "an event that is no JSON",
    "an error in the stream",
    "an error at once",
    "[DONE], no finish reason",
    "neither",
]


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
        RESPONSES="convert",
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


@pytest.mark.parametrize("surface", [Messages(), Responses()], ids=["messages", "responses"])
def test_every_fault_has_one_correct_ending(door: Door, surface: Surface) -> None:
    # What strikes a connection that is not in use would strike that of another case too.
    side_by_side = [case for case in CASES if not case.fault.strikes_later]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        asked = pool.map(lambda case: ask_surface(door, surface, case), side_by_side)
        answers = list(zip(side_by_side, asked, strict=True))
    answers += [(case, ask_surface(door, surface, case)) for case in CASES if case.fault.strikes_later]
    found = {str(case): list(surface_complaints(door, surface, case, answer)) for case, answer in answers}
    assert {name: said for name, said in found.items() if said} == {}


@pytest.mark.parametrize("case", [case for case in CASES if case.name in SAMPLE], ids=str)
def test_openais_client_raises_unless_a_response_is_complete(door: Door, case: Case) -> None:
    script, wanted = case.script(door), case.outcome
    asked = Responses().request(case.asked(door, script))
    asked |= {"extra_headers": {"X-Script": script}}
    with official_client(door) as client:
        if wanted == COMPLETE:
            assert text_of(client, asked) == door.visible(case.text)
        elif case.streams and wanted.status == 200:
            # Its form of "the stream ended without a completed response".
            with pytest.raises(RuntimeError, match="completed"):
                text_of(client, asked)
        else:
            with pytest.raises(openai.APIStatusError) as refused:
                text_of(client, asked)
            assert refused.value.status_code == (wanted.whole_status if wanted.status == 200 else wanted.status)
            assert (refused.value.code or "") == wanted.code


def text_of(client: openai.OpenAI, asked: dict[str, object]) -> str:
    """Ask by OpenAI's client, and give the text of the response. Raises what it raises."""
    fields: dict[str, object] = {key: value for key, value in asked.items() if key != "stream"}
    if not asked["stream"]:
        return client.responses.create(**fields).output_text  # type: ignore[call-overload, no-any-return]
    with client.responses.stream(**fields) as events:  # type: ignore[call-overload]
        return str(events.get_final_response().output_text)
