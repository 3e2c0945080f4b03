from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import count
from typing import Any

import pytest
import requests
from enterprise_auth import CachedToken, Grant, SignedRequests, fetch_token, signature

from argoproxy.api import BadRequest, ProxyError, UpstreamProtocolError, UpstreamUnreachable
from tests.support.providers.enterprise import CLIENT_ID, SECRET, Enterprise


def prepared(url: str, body: Any = b"{}") -> requests.PreparedRequest:
    """Make a request as the proxy's transport does: by hand."""
    made = requests.PreparedRequest()
    made.method, made.url, made.body = "POST", url, body
    made.headers = requests.structures.CaseInsensitiveDict({"authorization": "Bearer of the caller"})
    return made


@pytest.fixture
def enterprise() -> Iterator[Enterprise]:
    yield from served(Enterprise(0, life_s=3600.0))


def served(server: Any) -> Iterator[Any]:
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def auth_for(server: HTTPServer) -> SignedRequests:
    return SignedRequests(token_url=f"{url_of(server)}/token", client_id=CLIENT_ID, client_secret=SECRET)


def url_of(server: HTTPServer) -> str:
    return f"http://127.0.0.1:{server.server_port}"


def test_the_enterprise_takes_what_is_signed(enterprise: Enterprise) -> None:
    auth, url = auth_for(enterprise), f"{url_of(enterprise)}/eu/v1/models"
    assert requests.get(url, auth=auth, timeout=60).json()["data"][0]["id"] == "house-eu"
    asked = {"model": "m", "messages": [{"role": "user", "content": "世界"}]}
    posted = requests.post(
        f"{url_of(enterprise)}/us/v1/chat/completions?a=b%20c", json=asked, auth=auth, timeout=60
    ).json()
    assert posted["choices"][0]["message"]["content"].startswith("Region us.")
    assert len(enterprise.ends) == 1


def test_a_changed_body_is_refused(enterprise: Enterprise) -> None:
    request = requests.Request("POST", f"{url_of(enterprise)}/eu/v1/chat/completions", data=b"{}").prepare()
    signed = auth_for(enterprise)(request)
    signed.body = b"[]"
    with requests.Session() as session:
        reply = session.send(signed, timeout=60)
    assert (reply.status_code, reply.json()["error"]["message"]) == (401, "The signature is wrong.")


def test_a_request_made_by_hand_is_signed(enterprise: Enterprise) -> None:
    request = auth_for(enterprise)(prepared("http://gateway.test/v1/x?y=z"))
    enterprise.check("POST", "/v1/x?y=z", {name.lower(): value for name, value in request.headers.items()}, b"{}")


def test_the_callers_credentials_are_replaced(enterprise: Enterprise) -> None:
    request = auth_for(enterprise)(prepared("http://gateway.test/v1/x"))
    assert request.headers["Authorization"] == f"Bearer {next(iter(enterprise.ends))}"


@pytest.mark.parametrize(
    "other",
    [
        signature(b"other", prepared("http://a.test/x"), "1"),
        signature(b"secret", prepared("http://a.test/y"), "1"),
        signature(b"secret", prepared("http://a.test/x?"), "2"),
        signature(b"secret", prepared("http://a.test/x", "{ }"), "1"),
        signature(b"secret", prepared("http://a.test/x", None), "1"),
    ],
)
def test_a_signature_is_of_all_that_is_sent(other: str) -> None:
    assert signature(b"secret", prepared("http://a.test/x"), "1") != other
    assert signature(b"secret", prepared("http://b.test/x", "{}"), "1") == signature(
        b"secret", prepared("http://a.test/x"), "1"
    )


def test_a_streamed_body_is_refused() -> None:
    with pytest.raises(BadRequest, match="can't be signed"):
        signature(b"secret", prepared("http://a.test/x", iter([b"a"])), "1")


class Clock:
    """Seconds, set by hand."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def kept(life_s: float, clock: Clock) -> CachedToken:
    numbers = count(1)
    return CachedToken(lambda: Grant(f"t{next(numbers)}", life_s), clock)


@pytest.mark.parametrize(("life_s", "good_s"), [(3600.0, 3570.0), (10.0, 8.0), (0.0, 0.0)])
def test_a_token_is_kept_until_shortly_before_it_expires(life_s: float, good_s: float) -> None:
    clock = Clock()
    token = kept(life_s, clock)
    assert token.get() == "t1"
    if good_s:
        clock.now += good_s - 0.5
        assert token.get() == "t1"
        clock.now += 0.5
    assert token.get() == "t2"


def test_the_life_of_a_token_begins_when_it_is_asked_for() -> None:
    clock, numbers = Clock(), count(1)

    def slow() -> Grant:
        clock.now += 5.0
        return Grant(f"t{next(numbers)}", 10.0)

    token = CachedToken(slow, clock)
    assert token.get() == "t1"
    clock.now += 3.0
    assert token.get() == "t2"


def test_many_threads_fetch_one_token() -> None:
    fetches: list[int] = []
    all_there = threading.Barrier(8)

    def fetch() -> Grant:
        fetches.append(1)
        return Grant("t", 3600.0)

    token = CachedToken(fetch)
    found: list[str] = []

    def ask() -> None:
        all_there.wait(5)
        found.append(token.get())

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5)
    assert (found, len(fetches)) == (["t"] * 8, 1)


def test_a_fetch_that_failed_is_tried_again() -> None:
    outcomes: Iterator[Any] = iter([UpstreamUnreachable("No."), Grant("t", 60.0)])

    def fetch() -> Grant:
        outcome = next(outcomes)
        if isinstance(outcome, ProxyError):
            raise outcome
        granted: Grant = outcome
        return granted

    token = CachedToken(fetch)
    with pytest.raises(UpstreamUnreachable):
        token.get()
    assert token.get() == "t"


def test_nobody_waits_for_a_fetch_for_ever() -> None:
    token = CachedToken(lambda: Grant(token.get(), 60.0), patience_s=0.01)
    with pytest.raises(UpstreamUnreachable) as caught:
        token.get()
    assert caught.value.code == "sign_in_unreachable"


class SignIn(HTTPServer):
    """A sign-in service that gives one answer to everybody, and remembers what it was asked."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.status, self.body = status, body
        self.asked: list[tuple[str, bytes]] = []


class _Handler(BaseHTTPRequestHandler):
    server: SignIn

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked.append((self.headers["Authorization"], body))
        self.send_response(self.server.status)
        self.send_header("Location", "/elsewhere")
        self.end_headers()
        self.wfile.write(self.server.body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def fetch_from(status: int, body: bytes) -> tuple[Grant, list[tuple[str, bytes]]]:
    for service in served(SignIn(status, body)):
        return fetch_token(url_of(service), "me", "sécret"), service.asked
    raise AssertionError


@pytest.mark.parametrize(
    ("body", "grant"),
    [
        (b'{"access_token": "t", "expires_in": 60}', Grant("t", 60.0)),
        (b'{"access_token": "t", "expires_in": 0.5}', Grant("t", 0.5)),
        (b'{"access_token": "t", "expires_in": -1}', Grant("t", 0.0)),
        (b'{"access_token": "t", "expires_in": "soon"}', Grant("t", 300.0)),
        (b'{"access_token": "t"}', Grant("t", 300.0)),
    ],
)
def test_a_token_is_fetched_by_client_credentials(body: bytes, grant: Grant) -> None:
    found, asked = fetch_from(200, body)
    assert found == grant
    assert asked == [("Basic bWU6c8OpY3JldA==", b"grant_type=client_credentials")]


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (401, b'{"error": "invalid_client", "access_token": "t"}'),
        (302, b""),
        (500, b"down"),
        (200, b"<html>"),
        (200, b"[]"),
        (200, b"{}"),
        (200, b'{"access_token": ""}'),
        (200, b'{"access_token": 5}'),
    ],
)
def test_an_answer_without_a_token_is_told(status: int, body: bytes) -> None:
    with pytest.raises(UpstreamProtocolError, match="returned no token") as caught:
        fetch_from(status, body)
    assert (caught.value.status, caught.value.code) == (502, "sign_in_failed")


def test_a_service_that_is_not_there_is_told() -> None:
    gone = SignIn(200, b"")
    gone.server_close()
    with pytest.raises(UpstreamUnreachable) as caught:
        fetch_token(url_of(gone), "me", "secret")
    assert (caught.value.code, "127.0.0.1" in caught.value.message) == ("sign_in_unreachable", False)


@pytest.mark.parametrize(
    "options",
    [{"token_url": ""}, {"token_url": "gateway.test/token"}, {"client_id": None}, {"client_secret": ""}],
)
def test_mistakes_in_the_file_are_named(options: Any) -> None:
    usual = {"token_url": "http://gateway.test/token", "client_id": "me", "client_secret": "secret"}
    with pytest.raises(ValueError, match=f"`{next(iter(options))}`"):
        SignedRequests(**{**usual, **options})
