"""Metrics over real workers: exact, never falling, whatever becomes of a worker."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from argoproxy import __version__
from argoproxy.telemetry.slots import FOLDER_VARIABLE, PREFIX
from tests.support.client import STREAM_BODY, Client, ask, chat
from tests.support.fixtures import Serve
from tests.support.processes import ROOT, Proxy, Upstream, eventually, free_port
from tests.support.scrape import Counts, scrape, summary, total
from tests.support.scripts import CHUNKED, chunked, event

WORKERS = 4
HELD = (["send", CHUNKED + chunked(event("a"))], ["hold"])
SHM = Path("/dev/shm")
#: Ends of the names of metrics that may fall.
GAUGES = ("in_flight", "open_streams", "waiting_requests", "circuit_state", "open_models")


@pytest.fixture
def door(upstream: Upstream, tmp_path: Path) -> Iterator[Proxy]:
    """A proxy of four workers that nobody else uses."""
    running = Proxy(tmp_path, {"TARGET_BASE_URL": upstream.url, "WORKERS": str(WORKERS)})
    eventually(lambda: len(running.workers()) == WORKERS)
    yield running
    running.stop()


def side_by_side(times: int, work: Callable[[], object]) -> None:
    with ThreadPoolExecutor(16) as pool:
        for done in [pool.submit(work) for _ in range(times)]:
            done.result()


def abort(proxy: Proxy, script: str) -> None:
    """Begin a stream and leave it."""
    with Client(proxy.port) as client:
        client.send("POST", "/v1/chat/completions", STREAM_BODY, X_Script=script)
        client.until(b"content")


def kill(proxy: Proxy, pid: int) -> None:
    """Kill a worker, and wait until another one serves in its place."""
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: pid not in proxy.workers() and len(proxy.workers()) == WORKERS)


def ready(proxy: Proxy) -> None:
    """Have each worker serve something."""
    while len(files(folder(proxy))) < 3 * WORKERS:
        side_by_side(64, lambda: chat(proxy.port))


def folder(proxy: Proxy) -> Path:
    """Find the folder of a proxy: the one its workers have files open in."""
    return next(Path(name).parent for _, name in proxy.open_files() if PREFIX in name)


def files(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.glob("*.db"))


def test_sums_are_exact_though_clients_leave_and_a_worker_is_killed(door: Proxy, upstream: Upstream) -> None:
    held = upstream.script(*HELD)
    side_by_side(200, lambda: chat(door.port))
    side_by_side(20, lambda: abort(door, held))
    eventually(lambda: summary(door)["requests"]["total"] == 220)
    kill(door, door.workers()[0])
    side_by_side(200, lambda: chat(door.port, model="m2", stream=True, stream_options={"include_usage": True}))
    side_by_side(20, lambda: abort(door, held))
    eventually(lambda: summary(door)["requests"]["total"] == 440)
    told, counts = summary(door), scrape(door)
    assert told["requests"]["by_ending"] == {"client_gone": 40, "complete": 400}
    assert told["requests"]["by_model"] == {"m1": 240, "m2": 200}
    assert told["requests"]["by_status"] == {"200": 440}
    assert told["tokens"] == {"input": 3 * 400, "output": 7 * 400}
    assert told["in_flight"] == total(counts, "argoproxy_requests_in_flight") == 0
    assert total(counts, "argoproxy_requests_total") == 440
    assert total(counts, "argoproxy_requests_total", ending="client_gone", model="m1", status="200") == 40
    assert total(counts, "argoproxy_tokens_total", model="m2", type="output") == 1400
    for name in ("request_duration_seconds", "time_to_first_byte_seconds", "overhead_seconds"):
        assert total(counts, f"argoproxy_{name}_count", route="/v1/chat/completions") == 440
    assert total(counts, "gen_ai_server_request_duration_seconds_count", error_type="") == 440
    assert total(counts, "gen_ai_server_time_to_first_token_seconds_count", gen_ai_request_model="m2") == 200
    assert total(counts, "gen_ai_client_token_usage_sum", gen_ai_token_type="input") == 1200


def test_no_counter_falls_while_workers_serve_and_are_killed(door: Proxy) -> None:
    over = threading.Event()

    def load() -> None:
        while not over.is_set():
            try:
                chat(door.port, stream=True)
            except (OSError, AssertionError):
                time.sleep(0.01)

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    before: Counts = {}
    try:
        for number in range(100):
            counts = patiently(lambda: scrape(door))
            for key, value in before.items():
                assert key[0].endswith(GAUGES) or counts[key] >= value, key
            before = counts
            if number % 30 == 10:
                os.kill(door.workers()[0], signal.SIGKILL)
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert total(before, "argoproxy_requests_total") > 10


def patiently(work: Callable[[], Counts]) -> Counts:
    """Try again when the worker that was asked is killed."""
    while True:
        try:
            return work()
        except (OSError, AssertionError):
            time.sleep(0.01)


@pytest.mark.slow
def test_after_many_restarts_a_scrape_reads_as_many_files_and_tells_as_much(door: Proxy) -> None:
    ready(door)
    before, samples = files(folder(door)), len(scrape(door))
    counted = summary(door)["requests"]["total"]
    for number in range(3 * WORKERS):
        kill(door, door.workers()[0])
        chat(door.port)
        served = counted + number + 1
        eventually(lambda: summary(door)["requests"]["total"] == served)  # noqa: B023 it is asked at once
    ready(door)
    assert set(files(folder(door))) <= set(before)
    assert len(list(folder(door).glob("slot-*"))) == WORKERS
    assert len(scrape(door)) == samples


def test_whichever_worker_answers_tells_the_same(door: Proxy) -> None:
    side_by_side(50, lambda: chat(door.port))
    eventually(lambda: summary(door)["requests"]["total"] == 50)
    begun = time.monotonic()
    told = [summary(door) for _ in range(40)]
    uptimes = [one.pop("uptime_seconds") for one in told]
    assert all(one == told[0] for one in told)
    assert told[0]["version"] == __version__
    assert uptimes == sorted(uptimes)
    assert uptimes[-1] - uptimes[0] <= time.monotonic() - begun + 1


@pytest.mark.parametrize("worker_class", ["gthread", "gevent", "sync"])
def test_every_worker_class_counts(serve: Serve, upstream: Upstream, worker_class: str) -> None:
    proxy = serve(TARGET_BASE_URL=upstream.url, WORKER_CLASS=worker_class, WORKERS="2", PORT_NAME="metrics")
    held = upstream.script(*HELD)
    for _ in range(4):
        chat(proxy.port)
        abort(proxy, held)
        ask(proxy.port, "GET", "/v1/files")
        ask(proxy.port, "POST", "/v1/chat/completions", b"{")
    eventually(lambda: summary(proxy)["requests"]["total"] == 16)
    requests = summary(proxy)["requests"]
    assert requests["by_ending"] == {"client_gone": 4, "complete": 8, "refused": 4}
    assert requests["by_route"] == {"/v1/chat/completions": 12, "/{path}": 4}
    assert requests["by_model"] == {"": 8, "m1": 8}


def test_what_is_open_is_told(door: Proxy, upstream: Upstream) -> None:
    held = upstream.script(*HELD)
    clients = [Client(door.port) for _ in range(6)]
    for client in clients:
        client.send("POST", "/v1/chat/completions", STREAM_BODY, X_Script=held)
        client.until(b"content")
    assert summary(door)["in_flight"] == 6
    for pid in door.workers()[:2]:
        kill(door, pid)
    for client in clients:
        client.leave()
    eventually(lambda: summary(door)["in_flight"] == 0)


#: A body that a thread reads as it comes; smaller ones are complete when a request begins.
LARGE = 2 * 1024 * 1024


def test_overhead_leaves_out_what_was_waited_for(door: Proxy, upstream: Upstream) -> None:
    slow = upstream.script(["sleep", 0.4], ["send", CHUNKED], ["sleep", 0.4], ["send", chunked(event("a"))], ["hold"])
    abort(door, slow)
    with Client(door.port) as client:
        client.send("POST", "/v1/files", None, Content_Length=str(LARGE))
        time.sleep(0.4)
        client.sock.sendall(bytes(LARGE))
        client.answer()
    eventually(lambda: summary(door)["requests"]["total"] == 2)
    counts = scrape(door)
    taken_s = total(counts, "argoproxy_time_to_first_byte_seconds_sum")
    assert taken_s > 0.8
    assert 0 < total(counts, "argoproxy_overhead_seconds_sum") < taken_s - 0.79


def test_scrapes_and_probes_are_neither_counted_nor_logged(door: Proxy) -> None:
    for method, path in (("GET", "/metrics"), ("HEAD", "/metrics"), ("POST", "/metrics"), ("GET", "/health/live")):
        ask(door.port, method, path)
    assert summary(door)["requests"]["total"] == 0
    assert door.lines() == []


def test_head_has_the_head_alone(proxy: Proxy) -> None:
    answer = ask(proxy.port, "HEAD", "/metrics")
    assert (answer.status, answer.body) == (200, b"")
    assert answer.header("Content-Type") == "text/plain; version=0.0.4; charset=utf-8"
    assert int(answer.header("Content-Length")) > 0


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_other_methods_are_405_and_not_passed_on(proxy: Proxy, upstream: Upstream, method: str) -> None:
    script = upstream.script(["hold"])
    answer = ask(proxy.port, method, "/metrics", X_Script=script)
    assert (answer.status, answer.header("Allow")) == (405, "GET, HEAD")
    assert answer.error["code"] == "method_not_allowed"
    assert upstream.seen(script) == []


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("", "text/plain; version=0.0.4; charset=utf-8"),
        ("*/*", "text/plain; version=0.0.4; charset=utf-8"),
        ("application/openmetrics-text;q=0.8,text/plain;q=0.5,*/*;q=0.1", "text/plain; version=0.0.4; charset=utf-8"),
        ("text/html,application/xhtml+xml,*/*;q=0.8", "text/plain; version=0.0.4; charset=utf-8"),
        ("application/json", "application/json"),
        ("application/json, text/plain;q=0.5", "application/json"),
    ],
)
def test_the_form_is_the_one_asked_for(proxy: Proxy, accept: str, content_type: str) -> None:
    answer = ask(proxy.port, "GET", "/metrics", None, **({"Accept": accept} if accept else {}))
    assert answer.header("Content-Type") == content_type
    assert answer.body.endswith(b"}" if content_type == "application/json" else b"\n")


def test_the_folder_is_removed_at_the_exit(door: Proxy) -> None:
    there = folder(door)
    assert there.parent == SHM
    assert door.stop() == 0
    assert not there.exists()


@pytest.mark.parametrize("environ", [{}, {FOLDER_VARIABLE: "/nowhere"}], ids=["none", "one that is gone"])
def test_without_a_folder_metrics_are_unavailable(upstream: Upstream, tmp_path: Path, environ: dict[str, str]) -> None:
    port = free_port()
    command = [sys.executable, "-m", "gunicorn", "--bind", f"127.0.0.1:{port}", "--pythonpath", str(ROOT)]
    settings = {"TARGET_BASE_URL": upstream.url, "PORT": str(port), **environ}
    proxy = Proxy(tmp_path, settings, [*command, "cot_proxy:app"])
    try:
        assert chat(proxy.port).status == 200
        answer = ask(proxy.port, "GET", "/metrics")
        assert (answer.status, answer.error["code"]) == (503, "metrics_unavailable")
        assert bool(proxy.coded("metrics_disabled")) is bool(environ)
    finally:
        proxy.stop()
