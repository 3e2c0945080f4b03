"""Upstreams behind an HTTP proxy, plain and through its tunnel."""

from __future__ import annotations

import select
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import trustme

from tests.support.client import Client, ask, chat
from tests.support.fixtures import Serve
from tests.support.processes import Proxy, Upstream, free_port
from tests.support.scripts import CHUNKED, chunked, completion, event, reply


class HttpProxy:
    """Forwards absolute-form requests and tunnels; remembers the heads it saw."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        """Speak TLS by `context`."""
        self._context = context
        self.heads: list[str] = []
        self.refuses = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def url(self) -> str:
        return f"{'https' if self._context else 'http'}://user:pass@127.0.0.1:{self.port}"

    def close(self) -> None:
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve_one, args=(sock,), daemon=True).start()

    def _serve_one(self, sock: socket.socket) -> None:
        with suppress(OSError):
            self._forward(self._context.wrap_socket(sock, server_side=True) if self._context else sock)

    def _forward(self, sock: socket.socket) -> None:
        data = b""
        while b"\r\n\r\n" not in data:
            data += sock.recv(65536)
        head = data.partition(b"\r\n\r\n")[0].decode()
        self.heads.append(head)
        if self.refuses:
            sock.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
            sock.close()
            return
        method, target, _ = head.split("\r\n")[0].split(" ")
        port = int(target.removeprefix("http://").split("/")[0].rpartition(":")[2])
        other = socket.create_connection(("127.0.0.1", port))
        if method == "CONNECT":
            sock.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            other.sendall(data)
        with sock, other:
            while all(self._pump(*pair) for pair in self._ready(sock, other)):
                pass

    @staticmethod
    def _ready(sock: socket.socket, other: socket.socket) -> list[tuple[socket.socket, socket.socket]]:
        """Wait until one of the two has sent something: who, and for whom it is."""
        pairs = [(sock, other), (other, sock)]
        if isinstance(sock, ssl.SSLSocket) and sock.pending():
            return pairs[:1]
        ready = select.select([sock, other], [], [])[0]
        return [pair for pair in pairs if pair[0] in ready]

    @staticmethod
    def _pump(source: socket.socket, target: socket.socket) -> bool:
        data = source.recv(65536)
        target.sendall(data)
        return bool(data)


@pytest.fixture
def between() -> Iterator[HttpProxy]:
    running = HttpProxy()
    yield running
    running.close()


def test_a_plain_upstream_behind_a_proxy(serve: Serve, upstream: Upstream, between: HttpProxy) -> None:
    door = serve(TARGET_BASE_URL=upstream.url, HTTP_PROXY=between.url)
    assert chat(door.port, stream=True).text == "Hello there!"
    assert ask(door.port, "GET", "/v1/a%2fb?x=1").json["target"] == f"{upstream.url}/v1/a%2fb?x=1"
    assert between.heads[0].startswith(f"POST {upstream.url}/v1/chat/completions HTTP/1.1\r\n")
    assert "Proxy-Authorization: Basic dXNlcjpwYXNz" in between.heads[0]


def test_a_tls_upstream_through_a_tunnel(
    serve: Serve, tls_upstream: Upstream, between: HttpProxy, ca_file: Path
) -> None:
    door = serve(TARGET_BASE_URL=tls_upstream.url, https_proxy=between.url, SSL_CERT_FILE=str(ca_file))
    assert chat(door.port, stream=True).text == "Hello there!"
    assert chat(door.port).status == 200
    assert between.heads[0].startswith(f"CONNECT localhost:{tls_upstream.port} HTTP/1.")
    script = tls_upstream.script(["send", CHUNKED + chunked(event("a"))], ["hold"])
    with Client(door.port) as client:
        client.send("POST", "/v1/chat/completions", b'{"model": "m1", "prompt": "x", "stream": true}', X_Script=script)
        client.until(b"content")
    assert tls_upstream.left(script)


@pytest.fixture
def between_over_tls(ca: trustme.CA) -> Iterator[HttpProxy]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ca.issue_cert("127.0.0.1").configure_cert(context)
    running = HttpProxy(context)
    yield running
    running.close()


def test_a_proxy_that_speaks_tls_itself(
    serve: Serve, upstream: Upstream, tls_upstream: Upstream, between_over_tls: HttpProxy, ca_file: Path
) -> None:
    large = b"x" * 3_000_000
    for behind in (upstream, tls_upstream):
        door = serve(TARGET_BASE_URL=behind.url, ALL_PROXY=between_over_tls.url, SSL_CERT_FILE=str(ca_file))
        assert chat(door.port, stream=True).text == "Hello there!"
        script = behind.script(reply(body=b"y" * 2_000_000))
        answer = ask(door.port, "POST", "/v1/files", large, X_Script=script, Content_Type="x/y")
        assert (answer.status, len(answer.body), behind.last(script)["length"]) == (200, 2_000_000, len(large))
    assert between_over_tls.heads[-1].startswith("CONNECT ")


def test_a_proxy_that_speaks_tls_is_verified(serve: Serve, tls_upstream: Upstream, between_over_tls: HttpProxy) -> None:
    answer = chat(serve(TARGET_BASE_URL=tls_upstream.url, ALL_PROXY=between_over_tls.url).port)
    assert (answer.status, answer.error["code"]) == (502, "proxy_error")


@pytest.mark.parametrize("no_proxy", ["localhost", "example.org, .localhost", "*", "other,localhost:1,LOCALHOST"])
def test_hosts_to_be_reached_directly(serve: Serve, upstream: Upstream, between: HttpProxy, no_proxy: str) -> None:
    door = serve(TARGET_BASE_URL=upstream.url, HTTP_PROXY=between.url, NO_PROXY=no_proxy)
    assert chat(door.port).status == 200
    assert between.heads == []


def test_addresses_to_be_reached_directly(serve: Serve, upstream: Upstream, between: HttpProxy) -> None:
    url = upstream.url.replace("localhost", "127.0.0.1")
    door = serve(TARGET_BASE_URL=url, HTTP_PROXY=between.url, NO_PROXY="10.0.0.0/8, 127.0.0.0/8")
    assert chat(door.port).status == 200
    assert between.heads == []
    through = serve(TARGET_BASE_URL=url, HTTP_PROXY=between.url, NO_PROXY="10.0.0.0/8,example.org")
    assert chat(through.port).status == 200
    assert len(between.heads) == 1


def test_a_proxy_that_is_not_there(serve: Serve, upstream: Upstream, tls_upstream: Upstream) -> None:
    nobody = f"http://127.0.0.1:{free_port()}"
    for url in (upstream.url, tls_upstream.url):
        answer = chat(serve(TARGET_BASE_URL=url, ALL_PROXY=nobody).port)
        assert (answer.status, answer.error["code"]) == (502, "proxy_error")


def test_a_proxy_of_another_kind_is_refused(serve: Serve, upstream: Upstream) -> None:
    answer = chat(serve(TARGET_BASE_URL=upstream.url, ALL_PROXY="socks5://127.0.0.1:1").port)
    assert (answer.status, answer.error["code"]) == (502, "proxy_error")


def test_a_proxy_that_refuses(serve: Serve, tls_upstream: Upstream, between: HttpProxy) -> None:
    between.refuses = True
    answer = chat(serve(TARGET_BASE_URL=tls_upstream.url, HTTPS_PROXY=between.url).port)
    assert (answer.status, answer.error["code"]) == (502, "proxy_error")
    assert "pass" not in answer.body.decode()


def tunnelled(serve: Serve, tls_upstream: Upstream, between: HttpProxy, ca_file: Path) -> Proxy:
    return serve(TARGET_BASE_URL=tls_upstream.url, https_proxy=between.url, SSL_CERT_FILE=str(ca_file))


def test_a_stale_connection_through_a_tunnel_is_tried_once_more(
    serve: Serve, tls_upstream: Upstream, between: HttpProxy, ca_file: Path
) -> None:
    door = tunnelled(serve, tls_upstream, between, ca_file)
    assert chat(door.port).status == 200
    script = tls_upstream.script(["stale"], reply(body=completion("Hi")))
    assert chat(door.port, headers={"X-Script": script}).status == 200
    assert tls_upstream.count(script) == 2
    assert [head.partition(" ")[0] for head in between.heads] == ["CONNECT", "CONNECT"]


def test_a_proxy_is_not_blamed_for_what_an_upstream_did(
    serve: Serve, tls_upstream: Upstream, between: HttpProxy, ca_file: Path
) -> None:
    door = tunnelled(serve, tls_upstream, between, ca_file)
    script = tls_upstream.script(["close"])
    answer = chat(door.port, headers={"X-Script": script})
    assert (answer.status, answer.error["code"]) == (502, "upstream_disconnected")
    assert tls_upstream.count(script) == 1, "it has seen the request: nobody else may be asked"
