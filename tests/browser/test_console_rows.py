"""Ten thousand requests that have ended: what the page shows of them is bounded, and it goes on to answer."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import pytest

from tests.browser.chromium import Browser
from tests.browser.consoles import ConsoleProxy, console_settings
from tests.support.client import chat
from tests.support.fixtures import Serve
from tests.support.processes import Upstream, eventually, free_port, is_listening

ROWS = 10_000
MOST_ELEMENTS = 6000


@pytest.fixture(scope="module")
def busy(
    browser: Browser, serve: Serve, upstream: Upstream, tmp_path_factory: pytest.TempPathFactory
) -> tuple[ConsoleProxy, Path]:
    folder, port = tmp_path_factory.mktemp("busy"), free_port()
    proxy = serve(CONFIG_PATH=console_settings(folder, port, upstreams={"up": {"base_url": upstream.url}}))
    eventually(lambda: is_listening(port))
    answer = chat(proxy.port)
    proxy.line(answer.id)
    (log,) = (folder / "journal").glob("*.log")
    return ConsoleProxy(proxy, port, answer.id), log


def add_rows(log: Path, request_id: str) -> str:
    """Write the line of a request many times more, as if there had been so many, and return the last id."""
    line = next(line for line in log.read_text().splitlines() if request_id in line)
    ids = [uuid4().hex for _ in range(ROWS)]
    with log.open("a") as file:
        file.writelines(f"{line.replace(request_id, one)}\n" for one in ids)
    return ids[-1]


@pytest.mark.parametrize("view", ["live", "log"])
def test_many_rows_do_not_stop_a_page(browser: Browser, busy: tuple[ConsoleProxy, Path], view: str) -> None:
    """The last ones are shown, as many as before or a few hundred; the next ones come, and keys are still obeyed."""
    console, log = busy
    with browser.open(console.address(view)) as tab:
        for _ in range(3):
            last = add_rows(log, console.request_id)
            tab.wait_text(last[:8])
            assert tab.ask("document.querySelectorAll('*').length") < MOST_ELEMENTS
        tab.ask("document.querySelector('#nav a').focus()")
        tab.press("Tab")
        tab.press("Enter")
        tab.wait_text("Models", "main h1")
        tab.wait_text("m1")
        assert tab.console == []


def test_each_of_many_rows_is_found(browser: Browser, busy: tuple[ConsoleProxy, Path]) -> None:
    """Also one that no view lists any more."""
    console, log = busy
    add_rows(log, console.request_id)
    with browser.open(console.address(f"request/{console.request_id}")) as tab:
        tab.wait_text("Asked")
