from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trustme

from tests.support.processes import Proxy, Upstream


@pytest.fixture(scope="session")
def upstream() -> Iterator[Upstream]:
    """A scripted upstream over plain HTTP."""
    running = Upstream()
    yield running
    running.stop()


@pytest.fixture(scope="session")
def ca(tmp_path_factory: pytest.TempPathFactory) -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="session")
def ca_file(ca: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("ca") / "ca.pem"
    ca.cert_pem.write_to_path(file)
    return file


@pytest.fixture(scope="session")
def tls_upstream(ca: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upstream]:
    """A scripted upstream over TLS."""
    folder = tmp_path_factory.mktemp("tls")
    certificate = ca.issue_cert("localhost", "127.0.0.1")
    certificate.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    certificate.private_key_pem.write_to_path(folder / "key.pem")
    running = Upstream((folder / "cert.pem", folder / "key.pem"))
    yield running
    running.stop()


#: How many proxies may run at once, if those beyond were not used for so many seconds.
MOST_RUNNING, IDLE_S = 12, 20.0

Serve = Callable[..., Proxy]


@pytest.fixture(scope="session")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    """Give the proxy with these settings; one that runs with the same ones is shared, and one that nobody has used for
    long is stopped: many idle ones take time from those that serve."""
    running: dict[frozenset[tuple[str, str]], Proxy] = {}
    leaving: list[Proxy] = []

    def stop_idle() -> None:
        by_use = sorted(running, key=lambda settings: running[settings].used)
        for settings in by_use[:-MOST_RUNNING]:
            if time.monotonic() - running[settings].used > IDLE_S:
                leaving.append(running.pop(settings))
                leaving[-1].process.terminate()

    def served(**environ: str) -> Proxy:
        settings = frozenset(environ.items())
        if settings not in running:
            stop_idle()
            running[settings] = Proxy(tmp_path_factory.mktemp("proxy"), {"WORKERS": "1", **environ})
        return running[settings]

    yield served
    for proxy in running.values():
        proxy.process.terminate()
    for proxy in (*leaving, *running.values()):
        proxy.stop()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Serve]:
    """Give a proxy of its own with these settings; it is stopped with the test."""
    started: list[Proxy] = []

    def fresh(**environ: str) -> Proxy:
        started.append(Proxy(tmp_path, {"WORKERS": "1", **environ}))
        return started[-1]

    yield fresh
    for proxy in started:
        proxy.stop()


@pytest.fixture
def proxy(serve: Serve, upstream: Upstream) -> Proxy:
    """The proxy in front of the plain upstream, with default settings and one worker."""
    return serve(TARGET_BASE_URL=upstream.url)
