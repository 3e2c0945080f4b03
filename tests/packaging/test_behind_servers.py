"""The proxy behind nginx and Caddy, with the blocks that docs/deploy.md shows."""

from __future__ import annotations

import json
import re
import shutil
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trustme

from argoproxy.config.values.settings import BY_KEY
from tests.support.client import STREAM_BODY, Client
from tests.support.fixtures import Serve
from tests.support.nginx import prepare_nginx
from tests.support.processes import ROOT, Proxy, Upstream, clean_environment, eventually, free_port, is_listening, spawn
from tests.support.scripts import CHUNKED, DONE, Step, bodies, chunked, event

PAGE = (ROOT / "docs" / "deploy.md").read_text()
SITE = "llm.example.org"
CADDY = "{{\n    admin off\n    auto_https disable_redirects\n}}\n{block}"
UPLOAD = 20 * 1024 * 1024
#: Shorter than the silence in which so many heartbeats are sent, and far longer than the time between two of them.
READ_TIMEOUT, HEARTBEAT_S, HEARTBEATS = "8s", "1", 10


def block_of(language: str) -> str:
    """Return the only block of the page in a language."""
    (block,) = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    return str(block)


class Site:
    """A web server in front of the proxy, with a certificate for its name."""

    def __init__(self, command: list[str], port: int, folder: Path, trust: ssl.SSLContext) -> None:
        self.port, self._trust = port, trust
        environ = {**clean_environment(), "HOME": str(folder), "XDG_DATA_HOME": str(folder)}
        with (folder / "log.txt").open("wb") as log:
            self.process = spawn(command, cwd=folder, env=environ, stdout=log, stderr=log)
        eventually(lambda: is_listening(port) or self.process.poll() is not None)
        assert self.process.poll() is None, (folder / "log.txt").read_text()

    def client(self) -> Client:
        client = Client(self.port)
        client.sock = self._trust.wrap_socket(client.sock, server_hostname=SITE)
        return client


def nginx(folder: Path, proxy: Proxy, port: int) -> list[str]:
    """Write the settings of nginx, with the block of the page. Returns the command."""
    block = block_of("nginx").replace("listen 443", f"listen 127.0.0.1:{port}").replace("127.0.0.1:5000", proxy.url[7:])
    block = block.replace("/etc/ssl/llm.pem", f"{folder}/cert.pem").replace("/etc/ssl/llm.key", f"{folder}/key.pem")
    return prepare_nginx(folder, re.sub(r"(proxy_read_timeout) \w+", rf"\1 {READ_TIMEOUT}", block))


def caddy(folder: Path, proxy: Proxy, port: int) -> list[str]:
    """Write the settings of Caddy, with the block of the page. Returns the command."""
    block = block_of("caddyfile").replace("127.0.0.1:5000", proxy.url[7:])
    first = f"https://{SITE}:{port} {{\n    bind 127.0.0.1\n    tls {folder}/cert.pem {folder}/key.pem\n"
    (folder / "Caddyfile").write_text(CADDY.format(block=block.replace(f"{SITE} {{\n", first)))
    return ["caddy", "run", "--adapter", "caddyfile", "--config", f"{folder}/Caddyfile"]


@pytest.fixture(scope="module")
def proxy(serve: Serve, upstream: Upstream) -> Proxy:
    return serve(TARGET_BASE_URL=upstream.url, HEARTBEAT=HEARTBEAT_S)


@pytest.fixture(scope="module", params=[nginx, caddy], ids=["nginx", "caddy"])
def site(
    request: pytest.FixtureRequest, proxy: Proxy, ca: trustme.CA, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    configure: Callable[[Path, Proxy, int], list[str]] = request.param
    if not shutil.which(configure.__name__):
        pytest.skip(f"{configure.__name__} is not installed")
    folder, port = tmp_path_factory.mktemp("site"), free_port()
    certificate = ca.issue_cert(SITE)
    certificate.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    certificate.private_key_pem.write_to_path(folder / "key.pem")
    trust = ssl.create_default_context()
    ca.configure_trust(trust)
    running = Site(configure(folder, proxy, port), port, folder, trust)
    yield running
    running.process.terminate()
    running.process.wait()


def test_a_stream_arrives_event_by_event(site: Site, upstream: Upstream) -> None:
    script = upstream.script(
        ["send", CHUNKED],
        *(step for word in "abcd" for step in (["send", chunked(event(word))], ["await"])),
        ["send", bodies([event("", "stop"), DONE])],
    )
    with site.client() as client:
        client.send("POST", "/v1/chat/completions", STREAM_BODY, Host=SITE, X_Script=script)
        for word in "abcd":
            client.until(json.dumps(word).encode())
            upstream.open(script)
        answer = client.answer()
    assert (answer.text, answer.whole) == ("abcd", True)


def test_a_long_silence_cuts_nothing(site: Site, upstream: Upstream) -> None:
    script = upstream.script(
        ["send", CHUNKED], ["send", chunked(event("a"))], ["await"], ["send", bodies([event("b", "stop"), DONE])]
    )
    with site.client() as client:
        client.send("POST", "/v1/chat/completions", STREAM_BODY, Host=SITE, X_Script=script)
        client.until(b"\n:", HEARTBEATS)
        upstream.open(script)
        answer = client.answer()
    assert (answer.text, answer.whole) == ("ab", True)


def test_an_upload_passes(site: Site, upstream: Upstream) -> None:
    with site.client() as client:
        client.send("POST", "/v1/files", bytes(UPLOAD), Host=SITE, Content_Type="application/octet-stream")
        client.answer()
    assert upstream.seen_at("/v1/files")[-1]["length"] == UPLOAD


@pytest.mark.parametrize("steps", [[], [["send", CHUNKED + chunked(event("a"))]]], ids=["before", "within"])
def test_a_client_that_leaves_ends_the_request_to_the_model(site: Site, upstream: Upstream, steps: list[Step]) -> None:
    script = upstream.script(*steps, ["hold"])
    with site.client() as client:
        client.send("POST", "/v1/chat/completions", STREAM_BODY, Host=SITE, X_Script=script)
        eventually(lambda: upstream.count(script))
        if steps:
            client.until(b'"a"')
    assert upstream.left(script)


def test_nginx_waits_longer_than_the_proxy() -> None:
    (seconds,) = re.findall(r"proxy_read_timeout (\d+)s;", block_of("nginx"))
    assert int(seconds) > int(BY_KEY["timeout"].default)
