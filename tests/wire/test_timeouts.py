"""The four time-outs: each ends a request by its own code, wherever it was set."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.client import chat
from tests.support.fixtures import Serve
from tests.support.processes import Proxy, Upstream
from tests.support.scripts import CHUNKED, chunked, event
from tests.support.silent_servers import full_backlog

BOUND_S = 0.5
#: Where the reply must begin before the time is over.
LONG_BOUND_S = 3.0
SLOW: list[Any] = ["repeat", 200, [["send", chunked(event("a"))], ["sleep", 0.05]]]
#: time-out: what the upstream does, and whether it has begun to answer by then
CAUSES: dict[str, tuple[list[Any], bool]] = {
    "connect_timeout": ([], False),
    "first_byte_timeout": ([["hold"]], False),
    "idle_timeout": ([["send", CHUNKED + chunked(event("a"))], ["hold"]], True),
    "total_timeout": ([["send", CHUNKED], SLOW], True),
}


@pytest.fixture(scope="module")
def unheard() -> Iterator[str]:
    """The URL of a server that accepts no connection."""
    with full_backlog() as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def door(serve: Serve, upstream: Upstream, unheard: str, tmp_path_factory: pytest.TempPathFactory) -> Proxy:
    upstreams: dict[str, Any] = {"patient": {"base_url": upstream.url}, "full_backlog": {"base_url": unheard}}
    models: dict[str, Any] = {}
    for name in CAUSES:
        bound_s = LONG_BOUND_S if name == "total_timeout" else BOUND_S
        where = "full_backlog" if name == "connect_timeout" else "patient"
        upstreams[f"with-{name}"] = {**upstreams[where], name: bound_s}
        models[f"by-upstream-{name}"] = {"upstream": f"with-{name}"}
        models[f"by-rule-{name}"] = {"upstream": where, name: bound_s}
    config: Path = tmp_path_factory.mktemp("timeouts") / "config.yaml"
    config.write_text(json.dumps({"upstreams": upstreams, "models": models}))
    return serve(CONFIG_PATH=str(config), HEARTBEAT="0.1")


@pytest.mark.parametrize("asks", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize("where", ["upstream", "rule"])
@pytest.mark.parametrize("name", CAUSES)
def test_each_has_its_own_code(door: Proxy, upstream: Upstream, name: str, where: str, asks: bool) -> None:
    steps, has_begun = CAUSES[name]
    begun = time.monotonic()
    answer = chat(door.port, model=f"by-{where}-{name}", stream=asks, headers={"X-Script": upstream.script(*steps)})
    assert time.monotonic() - begun > 0.8 * BOUND_S
    if asks and has_begun:
        assert (answer.status, answer.chunks[-1]["error"]["code"]) == (200, name)
        assert b"[DONE]" not in answer.body
    else:
        assert (answer.status, answer.error["code"], answer.error["type"]) == (504, name, "timeout")
    line = door.line(answer.id)
    assert (line["ending"], line["code"]) == ("upstream_timeout", name)


@pytest.mark.parametrize("name", ["first_byte_timeout", "idle_timeout"])
def test_a_requests_own_counts_for_two_of_them(door: Proxy, upstream: Upstream, name: str) -> None:
    script = upstream.script(*CAUSES[name][0])
    answer = chat(door.port, model="m1", timeout=LONG_BOUND_S, headers={"X-Script": script})
    assert (answer.status, answer.error["code"]) == (504, name)
    assert "timeout" not in json.loads(upstream.last(script)["body"])
