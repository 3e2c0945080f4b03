"""What an open page says when what it shows drains, ends, starts again, or becomes another version."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.browser.chromium import Browser
from tests.browser.consoles import TOKEN, address
from tests.support.client import chat
from tests.support.fixtures import Serve
from tests.support.processes import ROOT, Upstream, eventually, free_port, is_listening, spawn, uncovered_environment

OTHER_TOKEN = "another-token-0123456789"


@contextmanager
def console_beside(proxy_port: int, folder: Path, port: int, **environ: str) -> Iterator[None]:
    """Run `argoproxy console` at a port for the proxy at another one."""
    settings = {"PORT": str(proxy_port), "CONSOLE": f"127.0.0.1:{port}", "CONSOLE_TOKEN": TOKEN, **environ}
    command = [sys.executable, "-m", "argoproxy", "console"]
    environment = {**uncovered_environment(), "PYTHONPATH": str(ROOT), **settings}
    process = spawn(command, cwd=folder, env=environment, stderr=subprocess.DEVNULL)
    try:
        eventually(lambda: is_listening(port))
        yield
    finally:
        process.kill()
        process.wait()


def test_a_drain_and_an_end_are_told(browser: Browser, start: Serve, upstream: Upstream) -> None:
    port = free_port()
    settings = {"CONSOLE": f"127.0.0.1:{port}", "CONSOLE_TOKEN": TOKEN, "DRAIN_DELAY": "600"}
    proxy = start(TARGET_BASE_URL=upstream.url, **settings)
    eventually(lambda: is_listening(port))
    with browser.open(address(port, "live")) as tab:
        tab.wait_text("as of", "#time")
        assert tab.text("#state") == ""
        proxy.process.send_signal(signal.SIGTERM)
        tab.wait_text("drains", "#state")
        assert tab.text("main h1") == "Live"
        assert proxy.stop() == 0
        tab.wait_text("does not answer", "#state")
        assert tab.text("main h1") == "Live"
        assert tab.text("#time") == ""


def test_a_start_with_another_token_is_told(browser: Browser, start: Serve, upstream: Upstream) -> None:
    port = free_port()
    settings = {"TARGET_BASE_URL": upstream.url, "CONSOLE": f"127.0.0.1:{port}"}
    proxy = start(**settings, CONSOLE_TOKEN=TOKEN)
    eventually(lambda: is_listening(port))
    with browser.open(address(port, "models")) as tab:
        tab.wait_text("as of", "#time")
        assert proxy.stop() == 0
        tab.wait_text("does not answer", "#state")
        eventually(lambda: not is_listening(port))
        start(**settings, CONSOLE_TOKEN=OTHER_TOKEN)
        tab.wait_text("started anew, with another token", "main")
        tab.go(address(port, "models", OTHER_TOKEN))
        tab.wait_text("Models", "main h1")


def test_a_console_beside_a_proxy_sees_it_end_and_start_again(
    browser: Browser, start: Serve, upstream: Upstream, tmp_path: Path
) -> None:
    proxy_port = free_port()
    settings = {"TARGET_BASE_URL": upstream.url, "PORT": str(proxy_port)}
    first = start(**settings)
    chat(first.port)
    port = free_port()
    with (
        console_beside(proxy_port, tmp_path, port, TARGET_BASE_URL=upstream.url),
        browser.open(address(port, "models")) as tab,
    ):
        tab.wait_text("m1")
        first.stop()
        tab.wait_text("does not run", "#state")
        second = start(**settings)
        chat(second.port, model="m-of-the-second")
        tab.wait_text("m-of-the-second")
        tab.wait("document.getElementById('state').textContent === ''")


def test_a_page_of_another_version_is_told_to_reload(
    browser: Browser, start: Serve, upstream: Upstream, tmp_path: Path
) -> None:
    """The console ends and comes again from a package whose page is another one, as after an update."""
    proxy = start(TARGET_BASE_URL=upstream.url)
    package = tmp_path / "newer" / "argoproxy"
    shutil.copytree(ROOT / "argoproxy", package, ignore=shutil.ignore_patterns("__pycache__"))
    with (package / "console" / "static" / "console.css").open("a") as file:
        file.write("/* newer */")
    port = free_port()
    with browser.open() as tab:
        with console_beside(proxy.port, tmp_path, port):
            tab.go(address(port, "models"))
            tab.wait_text("as of", "#time")
            assert not tab.ask("document.getElementById('reload').checkVisibility()")
        tab.wait_text("does not answer", "#state")
        with console_beside(proxy.port, tmp_path, port, PYTHONPATH=str(package.parent)):
            tab.wait_text("another version", "#state")
            tab.click("#reload")
            tab.wait("document.getElementById('reload')?.hidden")
            tab.wait_text("as of", "#time")
            assert tab.text("#state") == ""
