"""Mixed traffic with faults and leaving clients: nothing grows, nothing ends otherwise than meant.

So many requests, however long they take; SOAK_S=600 for ten minutes each, `-s` for what was measured.
"""

from __future__ import annotations

import os
import random
import re
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.client import STREAM_BODY, Client, ask, chat
from tests.support.fixtures import Serve
from tests.support.processes import UNCOVERED, Proxy, Upstream, eventually
from tests.support.scripts import CHUNKED, DONE, chunked, event, reply

SOAK_S = float(os.environ.get("SOAK_S", "0"))
#: How many requests there are at least, and for how many of them memory may grow.
REQUESTS, WARM_UP = 1_200, 500
CLIENTS = 8
#: Streams that are open at once before the rest: a worker starts threads on demand, and each takes memory of its own.
BURST = 64
PAUSE_S = 0.02
#: How far apart two samples may be in a run that is hardly warm; in long ones, what memory may grow by the minute.
NOISE_KIB = 8 * 1024
SLOPE_MIB = 0.1
LONG_S = 300.0

Act = Callable[[Proxy], str]


def acts(upstream: Upstream) -> list[Act]:
    """Give what clients do; each act gives the ending it is to have."""
    words = [event(f"word {word} ") for word in range(20)]
    thinking = [event("<think>"), *words, event("</think>"), *words, event("", "stop"), DONE]
    thoughts = upstream.script(["send", CHUNKED], *(["send", chunked(one)] for one in thinking), ["send", "0\r\n\r\n"])
    cut = upstream.script(["send", CHUNKED + chunked(event("a"))], ["close"])
    silent = upstream.script(["send", CHUNKED + chunked(event("a"))], ["hold"])
    refused = upstream.script(reply("429 Too Many Requests", b'{"error": {"message": "later", "type": "limit"}}'))

    def whole(door: Proxy) -> str:
        assert chat(door.port).status == 200
        return "complete"

    def long_prompt(door: Proxy) -> str:
        assert chat(door.port, messages=[{"role": "user", "content": "x" * 100_000}]).status == 200
        return "complete"

    def streamed(door: Proxy) -> str:
        assert chat(door.port, stream=True, headers={"X-Script": thoughts}).body.endswith(DONE.encode())
        return "complete"

    def put_together(door: Proxy) -> str:
        answer = chat(door.port, headers={"X-Script": thoughts, "X-Upstream-Mode": "stream"})
        assert answer.json["choices"][0]["message"]["content"].startswith("word 0 word 1")
        return "complete"

    def broken(door: Proxy) -> str:
        assert b"error" in chat(door.port, stream=True, headers={"X-Script": cut}).body
        return "upstream_broken"

    def leaving(door: Proxy) -> str:
        with Client(door.port) as client:
            client.send("POST", "/v1/chat/completions", STREAM_BODY, X_Script=silent)
            client.until(b"content")
        return "client_gone"

    def limited(door: Proxy) -> str:
        assert chat(door.port, headers={"X-Script": refused}).status == 429
        return "upstream_error"

    def odd(door: Proxy) -> str:
        assert ask(door.port, "POST", "/v1/chat/completions", b"{").status == 400
        return "refused"

    def forwarded(door: Proxy) -> str:
        assert ask(door.port, "POST", "/v1/files", b"x" * 10_000).status == 200
        return "complete"

    return [whole, long_prompt, streamed, put_together, broken, leaving, limited, odd, forwarded]


def start_threads(door: Proxy, upstream: Upstream) -> Counter[str]:
    """Have the worker start more threads than the clients will need; return how the requests ended."""
    silent = upstream.script(["send", CHUNKED + chunked(event("a"))], ["hold"])
    with ExitStack() as stack:
        clients = [stack.enter_context(Client(door.port)) for _ in range(BURST)]
        for client in clients:
            client.send("POST", "/v1/chat/completions", STREAM_BODY, X_Script=silent)
        for client in clients:
            client.until(b"content")
    return Counter(client_gone=BURST)


def memory_kib(door: Proxy) -> int:
    """Give the resident memory of the one worker."""
    (pid,) = door.workers()
    found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found.group(1))


def slope(samples: list[tuple[float, int]]) -> float:
    """Give what the memory grew by, in MiB a minute: the line of least squares."""
    middle_s = sum(at for at, _ in samples) / len(samples)
    middle_kib = sum(kib for _, kib in samples) / len(samples)
    spread = sum((at - middle_s) ** 2 for at, _ in samples)
    return sum((at - middle_s) * (kib - middle_kib) for at, kib in samples) / spread * 60 / 1024


@pytest.mark.timeout(SOAK_S + 300)
@pytest.mark.parametrize("worker_class", ["gthread", "gevent"])
def test_nothing_grows_and_nothing_is_lost(upstream: Upstream, start: Serve, tmp_path: Path, worker_class: str) -> None:
    journal = {"OUTPUT_PATH": str(tmp_path / "journal"), "JOURNAL_MAX_BYTES": "1000000"}
    door = start(TARGET_BASE_URL=upstream.url, WORKER_CLASS=worker_class, **journal, **UNCOVERED)
    possible, endings, failures = acts(upstream), start_threads(door, upstream), list[BaseException]()
    enough, lock = threading.Event(), threading.Lock()

    def client(seed: int) -> None:
        chance = random.Random(seed)
        try:
            while not enough.wait(PAUSE_S):
                ending = chance.choice(possible)(door)
                with lock:
                    endings[ending] += 1
        except BaseException as error:  # noqa: BLE001 told by the test, below
            failures.append(error)

    threads = [threading.Thread(target=client, args=(seed,)) for seed in range(CLIENTS)]
    for thread in threads:
        thread.start()
    begun, samples = time.monotonic(), list[tuple[float, int]]()
    while ((gone_s := time.monotonic() - begun) < SOAK_S or endings.total() < REQUESTS) and not failures:
        time.sleep(0.1)
        if gone_s > 0.3 * SOAK_S and endings.total() > WARM_UP:
            samples.append((gone_s, memory_kib(door)))
    enough.set()
    for thread in threads:
        thread.join()
    assert not failures
    counted = eventually(lambda: _ended(door, endings.total()))
    assert counted == endings
    assert "Traceback" not in door.log()
    grown = slope(samples)
    print(
        f"{worker_class}: {endings.total()} requests in {gone_s:.0f} s, {samples[-1][1] // 1024} MiB resident", end=""
    )
    print(f", {grown:+.3f} MiB a minute; {dict(endings)}")
    assert samples[-1][1] - samples[0][1] < NOISE_KIB
    assert SOAK_S < LONG_S or grown < SLOPE_MIB


def _ended(door: Proxy, total: int) -> Counter[str] | None:
    told = ask(door.port, "GET", "/metrics", Accept="application/json").json
    found = Counter[str](told["requests"]["by_ending"])
    return found if found.total() == total and not told["in_flight"] else None
