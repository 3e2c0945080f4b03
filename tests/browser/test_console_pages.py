"""The pages of the console in Chromium: each shows what it should, runs nothing that others wrote, and says why not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.browser.chromium import find_chromium, load_page
from tests.support.client import chat
from tests.support.fixtures import Serve
from tests.support.processes import Proxy, Upstream, eventually, free_port, is_listening
from tests.support.scripts import completion, reply

TOKEN = "token-of-the-console-0123456789"
#: Would run, or load something, if it became markup.
CANARY = "<img src=x onerror=alert(1)><script>alert(2)</script>\"'><b id=canary>"
VIEWS = ["live", "models", "upstreams", "keys", "usage", "settings", "try", "doctor", "log"]


@pytest.fixture(scope="module")
def console_port() -> int:
    find_chromium()
    return free_port()


@pytest.fixture(scope="module")
def proxy(console_port: int, serve: Serve, upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Proxy:
    """A proxy with a journal and a ledger, which has served odd requests."""
    folder = tmp_path_factory.mktemp("console")
    script = upstream.script(
        reply(body=completion(f"<think>{CANARY}</think>{CANARY}"), Content_Type="application/json")
    )
    document = {
        "upstreams": {"up": {"base_url": upstream.url}, "odd": {"base_url": f"{upstream.url}/s/{script}"}},
        "models": {"odd*": {"upstream": "odd"}},
        "keys": {"ann": {"key": "sk-console-0123456789", "rpm": 1000, "budget": "5/month"}},
        "prices": {"*": {"input": 1, "output": 1}},
        "enable_auth": True,
        "state_path": str(folder / "state"),
        "output_path": str(folder / "journal"),
        "console": f"127.0.0.1:{console_port}",
        "console_token": TOKEN,
    }
    file = folder / "config.yaml"
    file.write_text(json.dumps(document))
    running = serve(CONFIG_PATH=str(file))
    eventually(lambda: is_listening(console_port))
    return running


@pytest.fixture(scope="module")
def request_id(proxy: Proxy) -> str:
    """The id of a request in which everything is odd."""
    headers = {"Authorization": "Bearer sk-console-0123456789", "User-Agent": CANARY}
    asked = [{"role": "user", "content": CANARY}]
    answer = chat(proxy.port, model=f"odd{CANARY}", messages=asked, headers=headers)
    assert answer.status == 200, answer.body
    proxy.line(answer.id)
    chat(proxy.port, model=CANARY, messages=asked, headers=headers)
    return answer.id


def address(port: int, view: str, token: str = TOKEN) -> str:
    return f"http://127.0.0.1:{port}/#token={token}&to={view}"


@pytest.mark.parametrize("view", VIEWS)
def test_each_view_is_filled_and_runs_nothing_foreign(
    proxy: Proxy, console_port: int, request_id: str, view: str
) -> None:
    page = load_page(address(console_port, view))
    assert page.console == []
    assert f"<h1>{view.capitalize()}</h1>" in page.markup
    assert 'id="canary"' not in page.markup
    assert page.markup.count("<script") == 1
    assert "<img" not in page.markup
    assert TOKEN not in page.markup
    assert "sk-console" not in page.markup
    assert "undefined" not in page.text
    assert "NaN" not in page.text


def test_a_request_is_shown_with_its_thought(proxy: Proxy, console_port: int, request_id: str) -> None:
    page = load_page(address(console_port, f"request/{request_id}"))
    assert page.console == []
    assert "thought" in page.text
    assert "the client did not get it" in page.text
    assert "&lt;script&gt;alert(2)" in page.markup
    assert 'id="canary"' not in page.markup


def test_the_live_view_counts(proxy: Proxy, console_port: int, request_id: str) -> None:
    page = load_page(address(console_port, "live"))
    assert request_id[:8] in page.text
    assert "requests a second" in page.text


def test_a_wrong_token_shows_nothing_but_why(proxy: Proxy, console_port: int, request_id: str) -> None:
    page = load_page(address(console_port, "models", "another-token"))
    assert "A token is required" in page.text
    assert request_id[:8] not in page.markup


def test_an_address_that_makes_no_sense_leads_to_the_first_view(proxy: Proxy, console_port: int) -> None:
    for view in ("request/%", "nothing", "%"):
        page = load_page(address(console_port, view))
        assert page.console == []
        assert "<h1" in page.markup


def test_what_a_page_must_not_do_would_be_seen(tmp_path: Path) -> None:
    """The line that Chromium writes when a policy stops a script: without it an empty console would show nothing."""
    file = tmp_path / "page.html"
    policy = "<meta http-equiv=Content-Security-Policy content=\"default-src 'none'\">"
    file.write_text(f"<!doctype html>{policy}<script>document.title = 'it ran'</script>")
    page = load_page(f"file://{file}")
    assert "it ran" not in page.markup.partition("<script>")[0]
    assert any("Content Security Policy" in line for line in page.console)


def test_a_proxy_that_has_ended_takes_its_console_along(start: Serve, upstream: Upstream) -> None:
    find_chromium()
    port = free_port()
    proxy = start(TARGET_BASE_URL=upstream.url, CONSOLE=f"127.0.0.1:{port}", CONSOLE_TOKEN=TOKEN)
    eventually(lambda: is_listening(port))
    assert "Nothing yet" in load_page(address(port, "keys")).text
    proxy.stop()
    eventually(lambda: not is_listening(port))
