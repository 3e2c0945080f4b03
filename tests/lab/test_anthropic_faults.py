"""Every fault of the laboratory on an upstream of the kind `anthropic`: one correct ending, and the client raises."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.lab.anthropic_faults import AnthropicCase, anthropic_cases
from tests.lab.judge import (
    Door,
    ask,
    ask_by_the_sdk,
    complaints,
    complaints_of_the_sdk,
    official_client,
)
from tests.support.fixtures import Serve
from tests.support.processes import UNCOVERED, Proxy, Upstream

AT_ONCE = 8
#: Time-outs, in seconds, only for what is to be ended by them.
SHORT_TIMEOUTS = {"begins-soon": {"first_byte_timeout": 0.5}, "goes-on-soon": {"idle_timeout": 1.5}}


@pytest.fixture(scope="module")
def proxy(serve: Serve, upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Proxy:
    config = tmp_path_factory.mktemp("lab") / "config.yaml"
    upstreams = {"anthropic": {"kind": "anthropic", "base_url": upstream.url}}
    config.write_text(json.dumps({"upstreams": upstreams, "models": SHORT_TIMEOUTS}))
    settings = {"CONFIG_PATH": str(config), "THREADS": str(AT_ONCE + 2), "HEARTBEAT": "0.1", "THINK_FILTER": "true"}
    return serve(**settings, **UNCOVERED)


@pytest.fixture(scope="module")
def door(proxy: Proxy, upstream: Upstream) -> Door:
    return Door(
        proxy.url,
        strips=True,
        register=lambda steps, body: upstream.script(*steps, body=body),
        strike=upstream.strike,
        model_that_begins_soon="begins-soon",
        model_that_goes_on_soon="goes-on-soon",
    )


def test_every_fault(door: Door, proxy: Proxy) -> None:
    with official_client(door) as client:

        def witness(case: AnthropicCase) -> tuple[AnthropicCase, list[str], list[str]]:
            answer = ask(door, case)
            ids, wrong = [answer.id], list(complaints(door, case, answer))
            if not (case.fault.is_heavy or case.crossed):
                seen = ask_by_the_sdk(door, client, case)
                ids.append(seen.id)
                wrong += complaints_of_the_sdk(door, case, seen)
            return case, ids, wrong

        swept = list(anthropic_cases())
        with ThreadPoolExecutor(AT_ONCE) as pool:
            seen = list(pool.map(witness, [case for case in swept if not case.fault.strikes_later]))
        seen += [witness(case) for case in swept if case.fault.strikes_later]
    endings = {line["id"]: line["ending"] for line in proxy.lines()}
    for case, ids, wrong in seen:
        wrong += [f"the ending {endings[one]}" for one in ids if endings[one] != case.outcome.ending]
    assert {str(case): wrong for case, _, wrong in seen if wrong} == {}
