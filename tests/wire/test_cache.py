"""Kept answers on real Gunicorn: who gets them, in which form, and which answers are never kept."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from argoproxy.stores.answers.sqlite_answers import FILE_NAME
from argoproxy.stores.keys.key_admin import KeyAdmin
from argoproxy.stores.keys.sqlite_keys import SqliteKeys
from tests.support.client import Answer, Client, ask, chat
from tests.support.fixtures import Serve
from tests.support.journal_reader import JournalReader
from tests.support.processes import Proxy, Upstream, eventually
from tests.support.scrape import scrape, total
from tests.support.scripts import CHUNKED, DONE, END, Step, chunked, completion, event, reply, stream

Json = dict[str, Any]

USAGE = {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}
LAST = f"data: {json.dumps({'id': 'up-1', 'object': 'chat.completion.chunk', 'choices': [], 'usage': USAGE})}\n\n"
EVENTS = [event("Hel"), event("lo"), event("", "stop"), LAST, DONE]
ANY = "{cache: {ttl: 1h, sampling: true}}"
#: So many requests, each on a connection of its own, reach every one of four workers.
SPREAD = 40


class Cached:
    """A proxy that keeps the answers of all models, in front of one scripted upstream."""

    def __init__(self, start: Serve, upstream: Upstream, folder: Path) -> None:
        self._start, self.upstream, self.folder = start, upstream, folder
        self.state = folder / "state"

    def serve(self, *rules: str, plugin: str = "", **environ: str) -> Proxy:
        lines = ["models:", *(rules or (f"'*': {ANY}",))]
        lines = [lines[0], *(f"  {rule}" for rule in lines[1:])]
        lines += [f"upstreams: {{up: {{base_url: {self.upstream.url}, responses: convert}}}}", "teams: {red: {}}"]
        lines += [f"authenticate: {plugin}"] if plugin else []
        (self.folder / "config.yaml").write_text("\n".join(lines))
        settings = {"CONFIG_PATH": str(self.folder / "config.yaml"), "STATE_PATH": str(self.state)}
        return self._start(**{**settings, **environ})

    def script(self, *steps: Step) -> dict[str, str]:
        return {"X-Script": self.upstream.script(*steps)}

    def count(self, headers: dict[str, str]) -> int:
        return self.upstream.count(headers["X-Script"])


@pytest.fixture
def cached(start: Serve, upstream: Upstream, tmp_path: Path) -> Cached:
    return Cached(start, upstream, tmp_path)


def status_of(answer: Answer) -> str:
    """Return what Cache-Status says, without the time."""
    status = answer.header("Cache-Status")
    assert answer.header("X-Cache") == ("HIT" if "; hit; " in status else "BYPASS" if "bypass" in status else "MISS")
    return status.removeprefix("argoproxy; ").partition("; ttl=")[0]


def ask_until_kept(ask_once: Callable[[], Answer]) -> Answer:
    """Ask until the answer comes from the cache: it is stored after the client has its last byte."""
    answer: Answer = eventually(lambda: (answer := ask_once()).header("Age") and answer)
    return answer


def settle(proxy: Proxy, answer: Answer) -> Answer:
    """Return an answer when its request is over for the proxy, and the answer stored."""
    proxy.line(answer.id)
    return answer


def whole(text: str = "Hello", **more: Any) -> Step:
    document = json.loads(completion(text, **more))
    return reply(body=json.dumps({**document, "usage": USAGE}).encode())


@pytest.mark.parametrize("is_stream", [False, True])
def test_a_second_request_gets_the_same_bytes(cached: Cached, *, is_stream: bool) -> None:
    proxy = cached.serve()
    headers = cached.script(*stream(*EVENTS)) if is_stream else cached.script(whole())
    first = chat(proxy.port, stream=is_stream, headers=headers)
    assert (first.status, status_of(first), first.header("Age")) == (200, "fwd=miss", "")
    kept = ask_until_kept(lambda: chat(proxy.port, stream=is_stream, headers=headers))
    assert (kept.status, status_of(kept), kept.body, kept.header("Age")) == (200, "hit", first.body, "0")
    assert kept.header("Content-Type").split(";")[0] == first.header("Content-Type").split(";")[0]
    assert cached.count(headers) == 1
    line = proxy.line(kept.id)
    assert (line["cache"], line["ending"], "upstream" in line) == ("hit", "complete", False)


@pytest.mark.parametrize("asks_first", [False, True])
@pytest.mark.parametrize("sends", ["stream", "whole"])
def test_cache_stream_vs_document(cached: Cached, sends: str, *, asks_first: bool) -> None:
    """One entry serves both forms, whichever was asked for first and however the upstream sends; with usage for those
    who ask for it."""
    proxy = cached.serve()
    headers = cached.script(*stream(*EVENTS)) if sends == "stream" else cached.script(whole())
    settle(proxy, chat(proxy.port, stream=asks_first, headers=headers))
    document = chat(proxy.port, headers=headers)
    plain = chat(proxy.port, stream=True, headers=headers)
    told = chat(proxy.port, stream=True, stream_options={"include_usage": True}, headers=headers)
    assert {status_of(one) for one in (document, plain, told)} == {"hit"}
    assert document.json["choices"][0]["message"]["content"] == plain.text == told.text == "Hello"
    assert (document.json["usage"], told.chunks[-1]["usage"]) == (USAGE, USAGE)
    assert not any(chunk.get("usage") for chunk in plain.chunks)
    assert plain.body.endswith(DONE.encode())
    assert cached.count(headers) == 1


def test_one_entry_serves_the_apis_that_are_converted(cached: Cached) -> None:
    proxy = cached.serve()
    headers = cached.script(whole())
    settle(proxy, chat(proxy.port, max_tokens=99, headers=headers))
    hi = [{"role": "user", "content": "Hi"}]
    message = {"model": "m1", "max_tokens": 99, "messages": hi}
    for is_stream in (False, True):
        sent = json.dumps({**message, "stream": is_stream}).encode()
        answer = ask(proxy.port, "POST", "/v1/messages", sent, **headers)
        assert (answer.status, status_of(answer)) == (200, "hit")
        assert b"Hello" in answer.body
        assert b'"output_tokens":2' in answer.body.replace(b" ", b"")
    asked = json.dumps({"model": "m1", "max_output_tokens": 99, "input": hi, "store": False}).encode()
    first = settle(proxy, ask(proxy.port, "POST", "/v1/responses", asked, **headers))
    second = ask(proxy.port, "POST", "/v1/responses", asked, **headers)
    assert (first.status, second.status, status_of(second)) == (200, 200, "hit")
    assert second.json["output"][0]["content"][0]["text"] == "Hello"


def test_legacy_completions_are_kept(cached: Cached) -> None:
    proxy = cached.serve()
    choice = {"index": 0, "text": "Hello", "finish_reason": "stop"}
    headers = cached.script(reply(body=json.dumps({"id": "up-1", "choices": [choice]}).encode()))
    body = json.dumps({"model": "m1", "prompt": "Hi"}).encode()
    settle(proxy, ask(proxy.port, "POST", "/v1/completions", body, **headers))
    second = ask(proxy.port, "POST", "/v1/completions", body, **headers)
    assert (status_of(second), second.json["choices"]) == ("hit", [choice])
    assert status_of(chat(proxy.port, headers=headers)) == "fwd=miss"


def test_settings_about_answers_work_on_kept_ones(cached: Cached) -> None:
    """What is kept is what the upstream gave, so a rule never gives what another one has removed, nor the reverse."""
    rules = [
        f"{name}: {{upstream_model_name: m1, reasoning: {name}, cache: {{ttl: 1h, sampling: true}}}}"
        for name in ("strip", "keep", "field")
    ]
    proxy = cached.serve(*rules)
    headers = cached.script(whole("<think>hm</think>Hello"))
    settle(proxy, chat(proxy.port, model="strip", headers=headers))
    answers = {name: chat(proxy.port, model=name, headers=headers) for name in ("strip", "keep", "field")}
    messages = {name: answer.json["choices"][0]["message"] for name, answer in answers.items()}
    assert {status_of(answer) for answer in answers.values()} == {"hit"}
    assert (messages["strip"]["content"], messages["keep"]["content"]) == ("Hello", "<think>hm</think>Hello")
    assert (messages["field"]["content"], messages["field"]["reasoning_content"]) == ("Hello", "hm")
    assert cached.count(headers) == 1
    proxy.stop()
    again = cached.serve(*[rule.replace("reasoning: keep", "reasoning: strip") for rule in rules])
    answer = chat(again.port, model="keep", headers=headers)
    assert (status_of(answer), answer.json["choices"][0]["message"]["content"]) == ("hit", "Hello")


BAD = {
    "cut": [["send", CHUNKED + chunked(event("Hel"))], ["close"]],
    "error event": stream(event("Hel"), 'data: {"error": {"message": "sorry"}}\n\n'),
    "error in 200": [reply(body=b'{"error": {"message": "sorry", "code": 500}}')],
    "error": [reply("500 Internal Server Error", b'{"error": {"message": "sorry"}}')],
    "filtered": [whole("Sorry", finish_reason="content_filter")],
    "filtered stream": stream(event("Sorry"), event("", "content_filter"), DONE),
    "length": [whole("Hel", finish_reason="length")],
    "no reason": stream(event("Hel"), DONE),
    "empty": [whole("")],
    "thoughts only": [whole("<think>hm</think>\n")],
    "refusal": [whole("", message={"role": "assistant", "content": None, "refusal": "I can't"})],
    "not 200": [reply("203 Non-Authoritative Information", completion("Hello"))],
}


@pytest.mark.parametrize("name", BAD)
def test_cache_error(cached: Cached, name: str) -> None:
    """Errors, apologies and half answers are not given again."""
    proxy = cached.serve()
    headers = cached.script(*BAD[name])
    is_stream = BAD[name][0][1].startswith(CHUNKED.partition("\r\n\r\n")[0])
    for _ in range(2):
        settle(proxy, chat(proxy.port, stream=is_stream, headers={**headers, "X-No-Fallback": "true"}))
    assert cached.count(headers) >= 2


def test_cache_cut_stream(cached: Cached) -> None:
    """A client that leaves, leaves no answer behind."""
    proxy = cached.serve()
    last: Step = ["send", chunked(event("lo", "stop")) + END]
    headers = cached.script(["send", CHUNKED + chunked(event("Hel"))], ["await"], last)
    body = json.dumps({"model": "m1", "messages": [{"role": "user", "content": "Hi"}], "stream": True}).encode()
    with Client(proxy.port) as client:
        client.send("POST", "/v1/chat/completions", body, **headers)
        client.until(b"Hel")
    eventually(lambda: [line for line in proxy.lines() if line["ending"] == "client_gone"])
    cached.upstream.open(headers["X-Script"], 2)
    again = chat(proxy.port, stream=True, headers=headers)
    assert (status_of(again), again.text) == ("fwd=miss", "Hello")


def test_cache_key_without_tools(cached: Cached) -> None:
    proxy = cached.serve()
    headers = cached.script(whole())
    asked: list[Json] = [
        {},
        {"tools": [{"type": "function", "function": {"name": "f"}}]},
        {"tools": [{"type": "function", "function": {"name": "g"}}]},
        {"response_format": {"type": "json_object"}},
        {"a_field_of_tomorrow": 1},
    ]
    for fields in asked:
        assert status_of(settle(proxy, chat(proxy.port, headers=headers, **fields))) == "fwd=miss"
    for fields in asked:
        assert status_of(chat(proxy.port, headers=headers, user="b", metadata={"a": "b"}, **fields)) == "hit"
    assert cached.count(headers) == len(asked)


@pytest.mark.parametrize(
    ("fields", "detail"),
    [
        ({}, "sampling"),
        ({"temperature": 0, "store": True}, "state"),
        ({"seed": 1, "web_search_options": {}}, "tools"),
    ],
)
def test_what_is_not_answered_from_here_says_why(cached: Cached, fields: Json, detail: str) -> None:
    proxy = cached.serve("'*': {cache: 1h}")
    headers = cached.script(whole())
    for _ in range(2):
        answer = settle(proxy, chat(proxy.port, headers=headers, **fields))
        assert (answer.status, status_of(answer)) == (200, f"fwd=bypass; detail={detail}")
    assert cached.count(headers) == 2
    assert status_of(chat(proxy.port, headers=headers, temperature=0)) == "fwd=miss"


def test_cache_control_of_requests(cached: Cached) -> None:
    proxy = cached.serve()
    headers = cached.script(whole())

    def control(words: str) -> Answer:
        return settle(proxy, chat(proxy.port, headers={**headers, "Cache-Control": words}))

    missing = control("only-if-cached")
    assert (missing.status, missing.error["code"], missing.header("x-should-retry")) == (504, "not_cached", "false")
    assert status_of(control("no-store")) == "fwd=bypass; detail=no-store"
    assert (status_of(control("max-age=60")), status_of(control("only-if-cached"))) == ("fwd=miss", "hit")
    assert cached.count(headers) == 2
    assert (status_of(control("no-cache")), status_of(control("max-age=60"))) == ("fwd=request", "hit")
    assert cached.count(headers) == 3
    assert status_of(control("max-age=-1, only-if-cached")) == "fwd=request"
    assert control("no-cache, only-if-cached").status == 504


def test_an_answer_ends_with_its_time(cached: Cached) -> None:
    """The time of the rule is that of now: a shorter one holds for what was kept before."""
    proxy = cached.serve()
    headers = cached.script(whole())
    settle(proxy, chat(proxy.port, headers=headers))
    proxy.stop()
    shorter = cached.serve("'*': {cache: {ttl: 1s, sampling: true}}")
    eventually(lambda: status_of(settle(shorter, chat(shorter.port, headers={**headers}))) == "fwd=stale")


def test_callers_are_alone_unless_the_rule_says_otherwise(cached: Cached) -> None:
    rules = [f"{name}: {{cache: {{ttl: 1h, sampling: true, scope: {name}}}}}" for name in ("key", "team", "all")]
    proxy = cached.serve(*rules, ENABLE_AUTH="true", API_KEY_SECRET="ann=k-static-of-ann-012345")
    admin = KeyAdmin(SqliteKeys(cached.state), "cli:test")
    fields: dict[str, Json] = {"a": {"team": "red"}, "b": {"team": "red"}, "c": {}}
    keys = {name: admin.create(name, fields[name])["key"] for name in fields}
    keys["ann"] = "k-static-of-ann-012345"
    hits: dict[str, list[bool]] = {}
    for model in ("key", "team", "all"):
        headers = cached.script(whole())
        for key in keys.values():
            asked = {**headers, "Authorization": f"Bearer {key}"}
            answers = [settle(proxy, chat(proxy.port, model=model, headers=asked)) for _ in range(2)]
            assert [one.status for one in answers] == [200, 200]
            assert status_of(answers[1]) == "hit"
            hits.setdefault(model, []).append(status_of(answers[0]) == "hit")
    assert hits == {
        "key": [False, False, False, False],
        "team": [False, True, False, False],
        "all": [False, True, True, True],
    }


def test_callers_of_other_apis_are_alone_too(cached: Cached) -> None:
    """Their keys are in other headers."""
    proxy = cached.serve()
    headers = cached.script(whole())
    body = json.dumps({"model": "m1", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}).encode()
    for key in ("one", "other"):
        asked = {**headers, "x-api-key": key}
        answers = [settle(proxy, ask(proxy.port, "POST", "/v1/messages", body, **asked)) for _ in range(2)]
        assert [status_of(one) for one in answers] == ["fwd=miss", "hit"]


NAMELESS = """
from argoproxy.api import Principal
class Nameless:
    def authenticate(self, headers):
        return Principal("")
"""


def test_callers_without_a_name_share_nothing(cached: Cached) -> None:
    """A plug-in may know them by a header of its own, which is not known here."""
    (cached.folder / "nameless.py").write_text(NAMELESS)
    proxy = cached.serve(
        f"alone: {ANY}", "shared: {cache: {ttl: 1h, sampling: true, scope: all}}", plugin="nameless:Nameless"
    )
    for model, hit in (("alone", ""), ("shared", "HIT")):
        headers = cached.script(whole())
        settle(proxy, chat(proxy.port, model=model, headers=headers))
        assert chat(proxy.port, model=model, headers=headers).header("X-Cache") == hit


@pytest.mark.parametrize("scope", ["key", "all"])
def test_credentials_that_go_upstream_always_count(cached: Cached, scope: str) -> None:
    """A caller with a wrong key gets no answer that a right key has paid for."""
    proxy = cached.serve(f"'*': {{cache: {{ttl: 1h, sampling: true, scope: {scope}}}}}")
    headers = cached.script(whole())
    for key in ("right", "wrong", ""):
        asked = {**headers, "Authorization": f"Bearer {key}"} if key else headers
        answers = [settle(proxy, chat(proxy.port, headers=asked)) for _ in range(2)]
        assert [status_of(one) for one in answers] == ["fwd=miss", "hit"]


@pytest.mark.parametrize("worker_class", ["gthread", "gevent"])
def test_all_workers_know_an_answer(cached: Cached, worker_class: str) -> None:
    proxy = cached.serve(WORKERS="4", WORKER_CLASS=worker_class)
    headers = cached.script(whole())
    settle(proxy, chat(proxy.port, headers=headers))
    answers = [chat(proxy.port, headers=headers) for _ in range(SPREAD)]
    assert {status_of(answer) for answer in answers} == {"hit"}
    assert cached.count(headers) == 1


@pytest.mark.parametrize("worker_class", ["gthread", "gevent"])
def test_the_same_question_at_once_is_asked_once(cached: Cached, worker_class: str) -> None:
    proxy = cached.serve(WORKER_CLASS=worker_class, THREADS="16")
    headers = cached.script(["await"], whole())
    answers: list[Answer] = []

    def ask_once(*, is_stream: bool) -> None:
        answers.append(chat(proxy.port, headers=headers, stream=is_stream))

    threads = [threading.Thread(target=ask_once, kwargs={"is_stream": number % 2 == 0}) for number in range(6)]
    for thread in threads:
        thread.start()
    eventually(lambda: total(scrape(proxy), "argoproxy_requests_in_flight") >= 6)
    cached.upstream.open(headers["X-Script"], 6)
    for thread in threads:
        thread.join()
    assert sorted(status_of(answer) for answer in answers) == ["fwd=miss", *["hit"] * 5]
    assert cached.count(headers) == 1


def test_what_turns_out_not_to_be_kept_is_asked_by_each(cached: Cached) -> None:
    proxy = cached.serve(THREADS="16")
    headers = cached.script(["await"], whole("Hel", finish_reason="length"))
    answers: list[Answer] = []
    threads = [threading.Thread(target=lambda: answers.append(chat(proxy.port, headers=headers))) for _ in range(4)]
    for thread in threads:
        thread.start()
    cached.upstream.open(headers["X-Script"], 4)
    for thread in threads:
        thread.join()
    assert {(answer.status, status_of(answer)) for answer in answers} == {(200, "fwd=miss")}
    assert cached.count(headers) == 4


def test_metrics_count_hits_and_not_their_tokens(cached: Cached, tmp_path: Path) -> None:
    proxy = cached.serve(OUTPUT_PATH=str(tmp_path / "journal"))
    headers = cached.script(whole())
    first = settle(proxy, chat(proxy.port, headers=headers))
    hits = [settle(proxy, chat(proxy.port, headers=headers)) for _ in range(3)]
    settle(proxy, chat(proxy.port, headers={**headers, "Cache-Control": "no-store"}))
    scraped = ask(proxy.port, "GET", "/metrics").body.decode()
    for line in (
        'argoproxy_cache_requests_total{model="m1",result="hit"} 3.0',
        'argoproxy_cache_requests_total{model="m1",result="miss"} 1.0',
        'argoproxy_cache_requests_total{model="m1",result="bypass"} 1.0',
        'argoproxy_cache_saved_tokens_total{model="m1",type="input"} 21.0',
        'argoproxy_tokens_total{key="",model="m1",type="input",upstream="up"} 14.0',
    ):
        assert line in scraped, line
    journal = JournalReader(proxy, tmp_path / "journal")
    (asked, servers), (kept, none) = journal.of(first), journal.of(hits[0])
    assert (len(servers), len(none)) == (1, 0)
    assert asked["output"] == kept["output"]


def test_a_store_in_trouble_harms_no_request(cached: Cached) -> None:
    proxy = cached.serve()
    cached.state.mkdir(exist_ok=True)
    for file in cached.state.glob(f"{FILE_NAME}*"):
        file.unlink()
    (cached.state / FILE_NAME).mkdir()
    headers = cached.script(whole())
    answers = [settle(proxy, chat(proxy.port, headers=headers)) for _ in range(3)]
    assert {(answer.status, status_of(answer)) for answer in answers} == {(200, "fwd=miss")}
    assert len(proxy.coded("cache_unavailable")) == 1


def test_nothing_is_there_where_nothing_is_kept(cached: Cached) -> None:
    proxy = cached.serve("other: {cache: none}")
    headers = cached.script(whole())
    asked = {**headers, "Cache-Control": "only-if-cached"}
    answers = [settle(proxy, chat(proxy.port, headers=asked)) for _ in range(2)]
    assert {answer.status for answer in answers} == {200}
    assert not {name.lower() for one in answers for name, _ in one.headers} & {"cache-status", "x-cache", "age"}
    assert "cache" not in proxy.line(answers[0].id)
    assert not (cached.state / FILE_NAME).exists()


@pytest.mark.parametrize("balance", ["ordered", "weighted"])
def test_answers_of_several_upstreams(upstream: Upstream, start: Serve, tmp_path: Path, balance: str) -> None:
    """Where a rule balances, the answer of any upstream serves; else that of the first one that is asked at all."""
    scripts = [upstream.script(["close"]), upstream.script(whole())]
    urls = [f"{upstream.url}/s/{script}/v1" for script in scripts]
    config = [
        f"state_path: {tmp_path / 'state'}",
        "breaker: {failures: 2, open: 1h}",
        f"upstreams: {{a: {{base_url: {urls[0]}}}, b: {{base_url: {urls[1]}}}}}",
        "models:",
        f"  m1: {{upstream: [a, b], balance: {balance}, cache: {{ttl: 1h, sampling: true}}}}",
    ]
    (tmp_path / "config.yaml").write_text("\n".join(config))
    proxy = start(CONFIG_PATH=str(tmp_path / "config.yaml"))
    first, second, third = (settle(proxy, chat(proxy.port)) for _ in range(3))
    assert [one.status for one in (first, second, third)] == [200, 200, 200]
    assert status_of(first) == "fwd=miss"
    assert status_of(second) == ("hit" if balance == "weighted" else "fwd=miss")
    assert status_of(third) == "hit"
