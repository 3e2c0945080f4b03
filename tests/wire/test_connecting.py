"""The way to an upstream: watched for the client while it is made, bounded by one time for all of it."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from argoproxy.errors import ClientGone, ConnectTimeout
from argoproxy.protocol.routing.timeouts import Timeouts
from argoproxy.transport.connect import Resolver, open_connection
from argoproxy.transport.exchange import Exchange
from argoproxy.transport.parallel import wait_for
from argoproxy.transport.watch import Poller, Watch
from tests.support.client import STREAM_BODY, Client, chat
from tests.support.fixtures import Serve
from tests.support.processes import PATIENCE_S, ROOT, Upstream, eventually
from tests.support.silent_servers import SilentServer, full_backlog, silent_server


def ended_with(received: socket.socket) -> None:
    """See that a connection is closed by whoever made it."""
    while received.recv(65536):
        pass


def connections_begun(port: int) -> int:
    """Count the connections to a port that nobody has accepted yet (SYN_SENT, proc(5))."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(fields[2].endswith(f":{port:04X}") and fields[3] == "02" for fields in lines)


@pytest.fixture
def silent() -> Iterator[SilentServer]:
    with silent_server() as server:
        yield server


#: what does not come: the settings of the door, by the ports of a server
#: that accepts no connection and of one that is silent
WAYS: dict[str, Callable[[int, int], dict[str, str]]] = {
    "a connection": lambda full, silent: {"TARGET_BASE_URL": f"http://127.0.0.1:{full}"},
    "TLS": lambda full, silent: {"TARGET_BASE_URL": f"https://localhost:{silent}"},
    "a tunnel": lambda full, silent: {
        "TARGET_BASE_URL": "https://localhost:9",
        "HTTPS_PROXY": f"http://127.0.0.1:{silent}",
    },
}


@pytest.mark.parametrize("worker_class", ["gthread", "gevent"])
@pytest.mark.parametrize("what", WAYS)
def test_a_client_that_leaves_is_seen(serve: Serve, silent: SilentServer, what: str, worker_class: str) -> None:
    with full_backlog() as port:
        door = serve(**WAYS[what](port, silent.port), WORKER_CLASS=worker_class, WORKERS="1", CONNECT_TIMEOUT="600")
        before = connections_begun(port)
        with Client(door.port) as client:
            client.send("POST", "/v1/chat/completions", STREAM_BODY, X_Request_Id="mine")
            received = None if what == "a connection" else silent.accept()
            eventually(lambda: received or connections_begun(port) > before)
        if received:
            with received:
                ended_with(received)
        eventually(lambda: any("mine" in line.values() for line in door.lines()))
        assert door.lines()[-1]["ending"] == "client_gone"
        assert "Traceback" not in door.log()


@pytest.mark.parametrize("worker_class", ["gthread", "gevent"])
@pytest.mark.parametrize("what", WAYS)
def test_one_time_bounds_all_of_it(serve: Serve, silent: SilentServer, what: str, worker_class: str) -> None:
    with full_backlog() as port:
        door = serve(**WAYS[what](port, silent.port), WORKER_CLASS=worker_class, WORKERS="1", CONNECT_TIMEOUT="0.5")
        begun = time.monotonic()
        answer = chat(door.port)
        assert (answer.status, answer.error["code"]) == (504, "connect_timeout")
        assert time.monotonic() - begun > 0.4
        assert door.line(answer.id)["ending"] == "upstream_timeout"


def test_a_handshake_in_drips_is_bounded_too(serve: Serve, silent: SilentServer) -> None:
    door = serve(TARGET_BASE_URL=f"https://localhost:{silent.port}", CONNECT_TIMEOUT="0.7")

    def drip() -> None:
        """Go on until the other side has had enough."""
        with silent.accept() as sock, suppress(OSError):
            sock.send(b"\x16\x03\x03\x10\x00")
            while True:
                sock.send(b"\x16")
                time.sleep(0.1)

    dripping = threading.Thread(target=drip, daemon=True)
    dripping.start()
    assert chat(door.port).error["code"] == "connect_timeout"
    dripping.join()


@contextmanager
def exchange(
    client: socket.socket | None = None, connect_s: float = 60.0, known: Resolver | None = None
) -> Iterator[Exchange]:
    watch = Watch(client, Poller())
    begun = Exchange(watch, Timeouts(connect_s=connect_s), "http://up/", (known or Resolver()).lookup)
    begun.expect_connection()
    yield begun
    watch.close()


def names(monkeypatch: pytest.MonkeyPatch, found: Callable[[], Sequence[Any]]) -> None:
    """Have names resolved to what is given."""
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found())


def at(port: int, address: str = "127.0.0.1") -> tuple[Any, ...]:
    return (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))


def test_a_client_that_leaves_while_a_name_is_asked_for_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    answered = threading.Event()
    names(monkeypatch, lambda: [at(1)] if answered.wait(PATIENCE_S) else [])
    ours, theirs = socket.socketpair()
    with ours, exchange(ours) as asked:
        threading.Timer(0.1, theirs.close).start()
        with pytest.raises(ClientGone):
            open_connection("slow.example", 80, (), asked)
    answered.set()


def test_a_name_that_takes_too_long_is_a_connect_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    answered = threading.Event()
    names(monkeypatch, lambda: [at(1)] if answered.wait(PATIENCE_S) else [])
    with exchange(connect_s=0.1) as asked, pytest.raises(ConnectTimeout):
        open_connection("slow.example", 80, (), asked)
    answered.set()


def test_a_name_is_asked_for_once_at_a_time(monkeypatch: pytest.MonkeyPatch, upstream: Upstream) -> None:
    answered, lookups = threading.Event(), list[int]()

    def found() -> Sequence[Any]:
        lookups.append(1)
        return [at(upstream.port)] if answered.wait(PATIENCE_S) else []

    names(monkeypatch, found)
    known = Resolver()
    for _ in range(3):
        with exchange(connect_s=0.05, known=known) as asked, pytest.raises(ConnectTimeout):
            open_connection("slow.example", 80, (), asked)
    threading.Timer(0.1, answered.set).start()
    with exchange(known=known) as asked:
        open_connection("slow.example", 80, (), asked).close()
        assert len(lookups) == 1
        open_connection("slow.example", 80, (), asked).close()
    assert len(lookups) == 2


def test_nobody_waits_for_a_lookup_at_the_end_of_a_process() -> None:
    code = (
        "import socket, time; from argoproxy.transport.connect import Resolver;"
        "socket.getaddrinfo = lambda *_, **__: time.sleep(1000); Resolver().lookup('slow.example', 80)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False, timeout=PATIENCE_S).returncode == 0


def test_waiting_for_work_forgets_what_was_watched_before() -> None:
    gone, other = socket.socketpair()
    watch, work = Watch(None, Poller()), Future[int]()
    with gone:
        watch.wait(gone, 0)
        other.close()
        threading.Timer(0.1, lambda: work.set_result(1)).start()
        begun = time.monotonic()
        wait_for([work], PATIENCE_S, watch)
    assert work.done()
    assert time.monotonic() - begun < PATIENCE_S
    watch.close()


def test_each_address_has_its_turn(monkeypatch: pytest.MonkeyPatch, upstream: Upstream) -> None:
    with full_backlog() as port, exchange(connect_s=2.0) as asked:
        names(monkeypatch, lambda: [at(1), at(port), at(upstream.port)])
        begun = time.monotonic()
        with open_connection("many.example", 80, [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)], asked) as sock:
            assert sock.getpeername()[1] == upstream.port
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT) < 1 << 20
        assert time.monotonic() - begun > 0.7, "the second one had its share"


@pytest.mark.parametrize(
    ("host", "raised"),
    [
        ("127.0.0.1", ConnectionRefusedError),
        ("[::1]", OSError),
        ("a" * 70 + ".example", socket.gaierror),
        ("nobody.invalid", socket.gaierror),
    ],
)
def test_what_can_not_be_reached_is_an_error_of_the_system(host: str, raised: type[Exception]) -> None:
    with exchange() as asked, pytest.raises(raised):
        open_connection(host, 1, (), asked)


def test_a_name_without_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    names(monkeypatch, list)
    with exchange() as asked, pytest.raises(socket.gaierror):
        open_connection("none.example", 80, (), asked)
