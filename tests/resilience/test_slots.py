"""The only place at an upstream comes back, however the request that had it ends."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.resilience.farm import Farm, attempts, error_codes, reload, speaker, state
from tests.support.client import STREAM_BODY, Answer, Client, chat
from tests.support.processes import Proxy, eventually

ONE_PLACE = {"max_concurrent": 1, "queue": {"size": 0}}
TWO_MODELS = {"m1": {"upstream": "one"}, "m2": {"upstream": "one"}}
MESSAGES = [{"role": "user", "content": "Hi"}]
#: By way: a path, a request, and how the upstream is set up for it.
WAYS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "completions": ("/v1/completions", {"prompt": "Hi"}, {}),
    "embeddings": ("/v1/embeddings", {"input": "Hi"}, {}),
    "messages": ("/v1/messages", {"messages": MESSAGES, "max_tokens": 9}, {}),
    "messages handed over": ("/v1/messages", {"messages": MESSAGES, "max_tokens": 9}, {"kind": "anthropic"}),
    "responses": ("/v1/responses", {"input": "Hi"}, {}),
    "responses handed over": ("/v1/responses", {"input": "Hi"}, {"responses": "forward"}),
    "native": ("/v1/chat/completions", {"messages": MESSAGES}, {"native": True}),
}
#: What a switched upstream does, and the status of a whole answer then.
FAILURES = {
    "refused": 502,
    "silent": 504,
    "status": 500,
    "error_event": 502,
    "break_before": 502,
    "break_after": 502,
    "held": 504,
}
IMAGE = {"type": "image_url", "image_url": {"url": "http://127.0.0.1:1/none.png"}}
#: Requests that are refused: by their form, by a rule of their API, on their way upstream.
BAD_REQUESTS: dict[str, dict[str, Any]] = {
    "no number": {"temperature": "hot"},
    "no messages": {"messages": []},
    "an image that can't be had": {"messages": [{"role": "user", "content": [IMAGE]}]},
}
PLUG_INS = '''
import os
import time

from argoproxy.api import BaseUpstream, BaseUrl, OpenAIUpstream


class Crashing(BaseUpstream):
    """Its filter crashes at the batch of m1 that has the number `at`, or at the end."""

    def __init__(self, base_url, api_key, at):
        self.upstream, self.at = OpenAIUpstream(BaseUrl.parse(base_url)), at

    def completion_request(self, call):
        return self.upstream.completion_request(call)

    def read_completion(self, reply, call):
        return self.upstream.read_completion(reply, call)

    def filters(self, call):
        return [Crash(self.at)] if call.model == "m1" else []


class Crash:
    def __init__(self, at):
        self.at = at

    def feed(self, batch):
        self.at -= 1
        if self.at == 0:
            raise RuntimeError("crashed")
        return batch

    def finish(self):
        raise RuntimeError("crashed at the end")


class SlowLog:
    """Notes each request, and keeps those of m1 until there is a file."""

    def __init__(self, folder):
        self.folder = folder

    def __call__(self, outcome):
        open(os.path.join(self.folder, "noted-" + outcome.model), "w").close()
        while outcome.model == "m1" and not os.path.exists(os.path.join(self.folder, "go")):
            time.sleep(0.01)
'''


def serve(farm: Farm, environ: dict[str, str] | None = None, options: Any = None, **settings: Any) -> Proxy:
    """Start a proxy whose upstream has one place, and no line."""
    farm.write("one", options={"one": {**ONE_PLACE, **(options or {})}}, **settings)
    return farm.serve(environ)


def ask_with_place(proxy: Proxy, **body: Any) -> Answer:
    """Return the answer to a chat, once it has a place: that of the request before is freed after the last byte."""
    found: list[Answer] = []

    def has_place() -> bool:
        found.append(chat(proxy.port, **body))
        return not (found[-1].status == 503 and found[-1].error["code"] == "overloaded")

    eventually(has_place)
    return found[-1]


def assert_freed(farm: Farm, proxy: Proxy) -> None:
    """Check that the upstream answers again, and that nothing holds it afterwards."""
    farm.upstream("one").switch("ok")
    eventually(lambda: chat(proxy.port).status == 200)
    assert_nothing_held(proxy)


def assert_nothing_held(proxy: Proxy) -> None:
    """Check that no request counts as being served or as waiting."""
    eventually(lambda: (state(proxy, "one")["open_streams"], state(proxy, "one")["waiting"]) == (0, 0))


@contextmanager
def held(farm: Farm, proxy: Proxy, model: str = "m1") -> Iterator[Client]:
    """Take the place, by a stream that has begun."""
    one = farm.upstream("one")
    one.switch("held")
    with Client(proxy.port) as client:
        client.send("POST", "/v1/chat/completions", json.dumps({**json.loads(STREAM_BODY), "model": model}).encode())
        eventually(lambda: one.active() == 1)
        client.until(b"data: {")
        yield client


@pytest.mark.parametrize("kind", ["held", "silent"])
@pytest.mark.parametrize("worker_class", ["gthread", "gevent", "sync"])
def test_slot_leak_abort(farm: Farm, worker_class: str, kind: str) -> None:
    """Its client leaves within a stream, or before there is an answer."""
    one = farm.upstream("one")
    proxy = serve(farm, {"WORKER_CLASS": worker_class})
    one.switch(kind)
    with Client(proxy.port) as client:
        client.send("POST", "/v1/chat/completions", STREAM_BODY)
        eventually(lambda: one.active() == 1)
        assert chat(proxy.port).error["code"] == "overloaded"
    assert_freed(farm, proxy)


@pytest.mark.parametrize("way", WAYS)
def test_slot_leak_abort_on_every_way(farm: Farm, way: str) -> None:
    path, body, options = WAYS[way]
    one = farm.upstream("one")
    proxy = serve(farm, options=options)
    one.switch("silent")
    with Client(proxy.port) as client:
        client.send("POST", path, json.dumps({"model": "m1", **body}).encode())
        eventually(lambda: one.active() == 1)
        assert chat(proxy.port).error["code"] == "overloaded"
    assert_freed(farm, proxy)


@pytest.mark.parametrize("streams", [False, True])
def test_slot_leak_upstream_timeout(farm: Farm, streams: bool) -> None:
    """Time-outs and every other failure: the place of each is there for the next one."""
    one = farm.upstream("one")
    proxy = serve(farm, first_byte_timeout="300ms", idle_timeout="300ms", retry_wait=0)
    for kind, status in FAILURES.items():
        one.switch(kind)
        answer = ask_with_place(proxy, stream=streams)
        # Once the head of a stream has gone out, an error is its last event.
        assert answer.status == status or (answer.status == 200 and error_codes(answer)), (kind, answer)
    assert_freed(farm, proxy)


def test_slot_leak_bad_request(farm: Farm) -> None:
    proxy = serve(farm, inline_images=True)
    for kind, body in BAD_REQUESTS.items():
        assert ask_with_place(proxy, **body).status == 400, kind
        assert speaker(ask_with_place(proxy)) == "one"
    farm.upstream("one").switch("status", status=400)
    assert [ask_with_place(proxy).status for _ in range(3)] == [400] * 3
    assert_freed(farm, proxy)


@pytest.mark.parametrize("worker_class", ["gthread", "gevent"])
def test_slot_held_by_logging(farm: Farm, worker_class: str) -> None:
    """A listener that takes its time has the request's thread, and not its place."""
    (farm.folder / "plug_ins.py").write_text(PLUG_INS)
    listener = {"class": "plug_ins:SlowLog", "options": {"folder": str(farm.folder)}}
    proxy = serve(farm, {"WORKER_CLASS": worker_class}, models=TWO_MODELS, listeners=[listener])
    noted = farm.folder / "noted-m1"
    with Client(proxy.port) as client:
        client.send("POST", "/v1/chat/completions", STREAM_BODY)
        client.until(b"[DONE]")
        eventually(noted.exists)
        assert speaker(chat(proxy.port, model="m2")) == "one"
        (farm.folder / "go").touch()
    assert_freed(farm, proxy)


def test_refused_burns_rpm(farm: Farm) -> None:
    """Requests that found no place were not sent: they count for no circuit and for no budget of retries."""
    one = farm.upstream("one")
    proxy = serve(farm)
    with held(farm, proxy) as client:
        assert {chat(proxy.port).status for _ in range(30)} == {503}
        one.release()
        client.until(b"[DONE]")
    assert (len(one.chats()), state(proxy, "one")["state"]) == (1, "closed")
    one.switch("status", status=429, headers=[["Retry-After", "0"]])
    assert attempts(ask_with_place(proxy)) == 2
    assert_freed(farm, proxy)


def worker_of(proxy: Proxy, client: Client) -> int:
    """Return the pid of the worker that has accepted a connection."""
    port, own = client.sock.getsockname()[1], client.sock.getpeername()[1]
    table = Path("/proc/net/tcp").read_text()
    (inode,) = re.findall(rf"\s\w+:{own:04X} \w+:{port:04X} 01 (?:\S+ +){{4}}\S+ +(\d+)", table)
    (found,) = [pid for pid, name in proxy.open_files() if name == f"socket:[{inode}]"]
    return found


@pytest.mark.parametrize("worker_class", ["gthread", "gevent", "sync"])
def test_worker_killed_with_slots(farm: Farm, worker_class: str) -> None:
    """The other workers free its place: no new one has to come for that."""
    proxy = serve(farm, {"WORKER_CLASS": worker_class})
    with held(farm, proxy) as client:
        assert chat(proxy.port).error["code"] == "overloaded"
        holder = worker_of(proxy, client)
        os.kill(proxy.process.pid, signal.SIGSTOP)
        try:
            os.kill(holder, signal.SIGKILL)
            farm.upstream("one").switch("ok")
            eventually(lambda: chat(proxy.port).status == 200)
        finally:
            os.kill(proxy.process.pid, signal.SIGCONT)
    assert_freed(farm, proxy)


@pytest.mark.parametrize(("streams", "at"), [(False, 1), (True, 1), (True, 2), (True, 99)])
def test_slot_leak_crash_in_a_filter(farm: Farm, streams: bool, at: int) -> None:
    (farm.folder / "plug_ins.py").write_text(PLUG_INS)
    crashing = {"kind": "plug_ins:Crashing", "options": {"at": at}}
    proxy = serve(farm, options=crashing, models=TWO_MODELS)
    for _ in range(3):
        answer = ask_with_place(proxy, stream=streams)
        codes = error_codes(answer) if answer.status == 200 else [answer.error["code"]]
        assert codes == ["own_class_failed"]
        assert speaker(ask_with_place(proxy, model="m2", stream=streams)) == "one"
    assert_nothing_held(proxy)


def send(proxy: Proxy) -> Client:
    client = Client(proxy.port)
    client.send("POST", "/v1/chat/completions", STREAM_BODY)
    return client


def waiting(proxy: Proxy) -> int:
    count: int = state(proxy, "one")["waiting"]
    return count


@pytest.mark.parametrize("limit", [1, 2, "none"])
def test_a_reload_while_requests_wait(farm: Farm, limit: int | str) -> None:
    """Those that wait keep their turns, and a limit that has changed counts for those that come."""
    one = farm.upstream("one")
    file = farm.write("one", options={"one": {"max_concurrent": 1, "queue": {"size": 8, "wait": "300s"}}})
    proxy = farm.serve()
    with held(farm, proxy) as client:
        waiters = [send(proxy) for _ in range(3)]
        eventually(lambda: waiting(proxy) == len(waiters))
        reload(proxy, farm.write("one", options={"one": {"max_concurrent": limit, "queue": {"size": 0}}}))
        newcomer = send(proxy)
        if limit == 1:
            assert newcomer.answer().error["code"] == "overloaded"
        else:
            eventually(lambda: one.active() == 2)
        one.release(1 + len(waiters) + (limit != 1))
        assert speaker(client.answer()) == "one"
        assert {speaker(waiter.answer()) for waiter in waiters} == {"one"}
        for one_of_all in (*waiters, newcomer):
            one_of_all.leave()
    reload(proxy, file)
    assert_freed(farm, proxy)
