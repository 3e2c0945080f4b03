"""The upstream that the other tests of this folder switch: each kind is what it says, and everything is counted."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from tests.support.client import STREAM_BODY, Answer, Client, ask, chat
from tests.support.processes import eventually, is_listening
from tests.support.switched_upstream import SwitchedUpstream

TEXT = "one says hello"


@pytest.fixture(scope="module")
def running() -> Iterator[SwitchedUpstream]:
    with SwitchedUpstream("one") as started:
        yield started


@pytest.fixture
def one(running: SwitchedUpstream) -> SwitchedUpstream:
    running.reset()
    return running


def said(answer: Answer) -> str:
    text: str = answer.json["choices"][0]["message"]["content"]
    return text


def test_it_says_its_name_on_every_path(one: SwitchedUpstream) -> None:
    assert said(chat(one.port)) == TEXT
    streamed = chat(one.port, stream=True)
    assert (streamed.text, streamed.body.endswith(b"data: [DONE]\n\n")) == (TEXT, True)
    for path in ("/v1/completions", "/v1/messages", "/v1/responses"):
        for streams in (False, True):
            answer = chat(one.port, path, stream=streams)
            assert (answer.status, b"one" in answer.body, answer.whole) == (200, True, True)
    assert [entry["path"] for entry in one.seen("completions")] == ["/v1/chat/completions"] * 2 + [
        "/v1/completions"
    ] * 2
    assert len(one.chats("m1")) == 8
    assert ask(one.port, "GET", "/v1/models").json["data"][0]["owned_by"] == "one"
    assert len(one.chats()) == 8


def test_a_refusal_is_a_closed_port_until_it_is_over(one: SwitchedUpstream) -> None:
    with Client(one.port) as idle:
        idle.send("POST", "/v1/chat/completions", STREAM_BODY)
        assert idle.answer().text == TEXT
        one.switch("refused")
        assert not is_listening(one.port)
        with pytest.raises(ConnectionRefusedError):
            chat(one.port)
        assert idle.sock.recv(1) == b""
    one.switch("ok")
    assert said(chat(one.port)) == TEXT


def test_a_status_has_its_headers_and_its_error(one: SwitchedUpstream) -> None:
    one.switch("status", status=429, headers=[["Retry-After", "30"]], error={"message": "slow", "code": "rate"})
    answer = chat(one.port)
    assert (answer.status, answer.header("Retry-After"), answer.json["error"]["code"]) == (429, "30", "rate")


def test_one_model_alone_may_fail(one: SwitchedUpstream) -> None:
    one.switch("status", model="m2", status=500)
    assert chat(one.port, model="m2").status == 500
    assert chat(one.port, model="m1").status == 200


@pytest.mark.parametrize(
    ("kind", "text", "has_error"),
    [
        ("error_event", "", True),
        ("late_error_event", "one", True),
        ("break_before", "", False),
        ("break_after", "one", False),
    ],
)
def test_a_stream_fails_where_it_should(one: SwitchedUpstream, kind: str, text: str, has_error: bool) -> None:
    one.switch(kind)
    answer = chat(one.port, stream=True)
    assert (answer.text, answer.whole) == (text, has_error)
    assert any("error" in chunk for chunk in answer.chunks) == has_error
    assert (b'"role"' in answer.body) == (kind != "error_event")


def test_a_held_stream_counts_as_active_until_it_is_released(one: SwitchedUpstream) -> None:
    one.switch("held")
    with Client(one.port) as first, Client(one.port) as second:
        for client in (first, second):
            client.send("POST", "/v1/chat/completions", STREAM_BODY)
            client.until(b'"one"')
        assert one.active() == one.most_active() == 2
        one.release(2)
        assert [client.answer().text for client in (first, second)] == [TEXT, TEXT]
    eventually(lambda: one.active() == 0)


@pytest.mark.parametrize("kind", ["silent", "stalled"])
def test_a_silent_one_says_nothing_until_its_client_leaves(one: SwitchedUpstream, kind: str) -> None:
    one.switch(kind)
    with Client(one.port, timeout_s=0.2) as client:
        client.send("POST", "/v1/chat/completions", STREAM_BODY)
        with pytest.raises(TimeoutError):
            client.head()
    one.switch("ok")
    assert said(chat(one.port)) == TEXT


def test_over_tls_a_stalled_one_does_not_shake_hands(tmp_path: Path) -> None:
    certificate = trustme.CA().issue_cert("localhost")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    certificate.private_key_pem.write_to_path(tmp_path / "key.pem")
    context = ssl._create_unverified_context()
    with SwitchedUpstream("two", (tmp_path / "cert.pem", tmp_path / "key.pem")) as two:
        two.switch("stalled")
        with socket.create_connection(("127.0.0.1", two.port), 0.2) as sock, pytest.raises(TimeoutError):
            context.wrap_socket(sock)
        two.switch("ok")
        with socket.create_connection(("127.0.0.1", two.port)) as sock, context.wrap_socket(sock) as secured:
            body = json.dumps({"model": "m1"}).encode()
            head = f"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: {len(body)}\r\n\r\n"
            secured.sendall(head.encode() + body)
            assert secured.recv(12) == b"HTTP/1.1 200"


def test_what_comes_at_once_is_counted_whole(one: SwitchedUpstream) -> None:
    threads = [threading.Thread(target=chat, args=(one.port,)) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(one.chats()) == 20
