"""Places of keys with `concurrent`: each end of a request gives its place back, at once, and once only."""

from __future__ import annotations

import json
import os
import signal
from contextlib import ExitStack

from tests.limits.limited import Limited, StartLimited, answers_of
from tests.limits.metered import ORDINARY_TOKENS, begin, document, end, held, streamed
from tests.support.client import Client
from tests.support.processes import eventually
from tests.support.scripts import reply

PLACES = 3


def fill(limited: Limited, key: str, script: str, stack: ExitStack, places: int = PLACES) -> list[Client]:
    """Take all places with streams whose first text has come."""
    clients = [stack.enter_context(limited.send(key, script, stream=True)) for _ in range(places)]
    for client in clients:
        client.head()
        client.until(b'"a"')
    return clients


def is_full(limited: Limited, key: str) -> bool:
    answer = limited.chat(key)
    if answer.status == 429:
        assert (answer.error["code"], answer.error["param"]) == ("rate_limit_exceeded", "key.concurrent")
        assert float(answer.header("Retry-After")) >= 0
    return answer.status == 429


def test_concurrency_times_replicas(limited: Limited, name: str) -> None:
    """What is allowed at once is allowed in all workers together."""
    key = limited.new_key(name, concurrent=PLACES)
    script = limited.script(*held(document(3, 7)))
    for round_number in range(1, 4):
        clients = limited.at_once(20, key, script)
        limited.decided(name, script, 20 * round_number)
        assert limited.upstream.count(script) == PLACES * round_number
        limited.upstream.open(script, PLACES)
        statuses = [answer.status for answer in answers_of(clients)]
        assert statuses.count(200) == PLACES
        limited.settled(name, PLACES * round_number)


def test_slot_leak_abort(limited: Limited, name: str) -> None:
    """Clients that leave in the middle of their streams, again and again."""
    key = limited.new_key(name, concurrent=PLACES)
    script = limited.script(*begin("a"), ["await"], *end())
    for round_number in range(1, 6):
        with ExitStack() as stack:
            fill(limited, key, script, stack)
            assert is_full(limited, key)
        assert len(limited.settled(name, PLACES * round_number)) == PLACES * round_number
    assert not is_full(limited, key)


def test_slot_leak_before_the_head(limited: Limited, name: str) -> None:
    """Clients that leave before anything came."""
    key = limited.new_key(name, concurrent=PLACES)
    script = limited.script(["hold"])
    for round_number in range(1, 4):
        clients = [limited.send(key, script) for _ in range(PLACES)]
        limited.upstream_has(script, PLACES * round_number)
        assert is_full(limited, key)
        for client in clients:
            client.leave()
        limited.settled(name, PLACES * round_number)
    assert not is_full(limited, key)


def test_slot_leak_upstream_timeout(limited: Limited, name: str) -> None:
    """Upstreams that say nothing, that fail, and that break off."""
    key = limited.new_key(name, concurrent=1)
    scripts = {
        504: limited.script(["hold"]),
        502: limited.script(["rst"]),
        500: limited.script(reply("500 Internal Server Error", b'{"error": {"message": "x"}}')),
    }
    cut = limited.script(*begin("a"), ["read"], ["rst"])
    for _ in range(3):
        for status, script in scripts.items():
            body = {"timeout": 0.3} if status == 504 else {}
            answer = limited.chat(key, script, **body)
            assert answer.status == status
            limited.proxy.line(answer.id)
        answer = limited.chat(key, cut, stream=True)
        assert b"error" in answer.body
        limited.proxy.line(answer.id)
    assert not is_full(limited, key)


def test_slot_leak_bad_request(limited: Limited, name: str) -> None:
    """Requests that are refused, by the proxy or by the upstream."""
    key = limited.new_key(name, concurrent=1, models=["m1", "m2"])
    refused = limited.script(reply("400 Bad Request", b'{"error": {"message": "x", "type": "invalid_request_error"}}'))
    for _ in range(4):
        assert limited.chat(key, messages=[]).status == 400
        assert limited.chat(key, model="other").status == 403
        assert limited.chat(key, temperature="hot").status == 400
        assert limited.chat(key, timeout=-1).status == 400
        answer = limited.chat(key, refused)
        assert answer.status == 400
        limited.proxy.line(answer.id)
    assert limited.chat(key).status == 200


def test_slot_held_by_logging(limited_with: StartLimited, name: str) -> None:
    """A listener that is slow with the outcome of a request holds no place of its key."""
    limited = limited_with(listeners=["tests.limits.slow_listener:SlowListener"], WORKERS="1", THREADS="8")
    key = limited.new_key(name, concurrent=1)
    answers = [limited.chat(key) for _ in range(3)]
    assert [answer.status for answer in answers] == [200] * 3
    (limited.state.parent / "go-on").touch()


def test_refused_burns_rpm(limited: Limited, name: str) -> None:
    """What is refused for want of a place counts as no request."""
    key = limited.new_key(name, concurrent=1, rpm=3)
    script = limited.script(*begin("a"), ["await"], *end())
    with ExitStack() as stack:
        (client,) = fill(limited, key, script, stack, 1)
        answers = [limited.chat(key) for _ in range(10)]
        assert {answer.error["param"] for answer in answers} == {"key.concurrent"}
        limited.upstream.open(script)
        client.until(b"[DONE]")
    limited.settled(name, 1)
    for count in (2, 3):
        assert limited.chat(key).status == 200
        limited.settled(name, count)


def test_worker_killed_with_slots(limited: Limited, name: str) -> None:
    """SIGKILL of the workers with open streams frees their places, and they are written down as abandoned."""
    key = limited.new_key(name, concurrent=PLACES, budget="100/total")
    script = limited.script(*begin("a"), ["await"], *end())
    with ExitStack() as stack:
        fill(limited, key, script, stack)
        assert is_full(limited, key)
        killed = limited.proxy.workers()
        for pid in killed:
            os.kill(pid, signal.SIGKILL)
        eventually(lambda: len(set(limited.proxy.workers()) - set(killed)) == len(killed))
        assert not is_full(limited, key)
    entries = limited.settled(name, PLACES + 1)
    endings = sorted(entry["ending"] for entry in entries)
    assert endings == [*["abandoned"] * PLACES, "complete"]
    for entry in entries:
        if entry["ending"] == "abandoned":
            assert entry["cost_nanos"] > 1024 * 1_000_000
            assert entry["completion_tokens"] in (0, None)


def test_a_limit_that_is_lowered_holds_at_once(limited: Limited, name: str) -> None:
    key = limited.new_key(name, concurrent=PLACES)
    script = limited.script(*begin("a"), ["await"], *end())
    with ExitStack() as stack:
        clients = fill(limited, key, script, stack, 2)
        limited.admin.change(name, {"concurrent": 2})
        assert {is_full(limited, key) for _ in range(12)} == {True}
        limited.admin.change(name, {"concurrent": None})
        assert not any(is_full(limited, key) for _ in range(12))
        limited.upstream.open(script, len(clients))
        for client in clients:
            client.until(b"[DONE]")


def test_streams_of_limited_keys_are_asked_for_usage_which_is_withheld(limited: Limited, name: str) -> None:
    key = limited.new_key(name, concurrent=PLACES)
    answer = limited.chat(key, stream=True, user=name)
    assert not any(chunk.get("usage") for chunk in answer.chunks)
    assert all(chunk["choices"] for chunk in answer.chunks)
    asked = [json.loads(seen["body"]) for seen in limited.upstream.seen("") if name in seen["body"]]
    assert [one["stream_options"]["include_usage"] for one in asked] == [True]
    (entry,) = limited.settled(name, 1)
    assert (entry["prompt_tokens"], entry["completion_tokens"]) == ORDINARY_TOKENS
    wanted = limited.chat(
        key, limited.script(*streamed(["a"], 3, 7)), stream=True, stream_options={"include_usage": True}
    )
    assert [chunk["usage"]["total_tokens"] for chunk in wanted.chunks if chunk.get("usage")] == [10]
