"""The pages of the console in Chromium: each shows what it should, runs nothing that others wrote, and says why not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.browser.chromium import Browser, Tab
from tests.browser.consoles import KEY, TOKEN, UPSTREAM_KEY, VIEWS, ConsoleProxy, address
from tests.support.client import CHAT_BODY, Client, chat
from tests.support.fixtures import Serve
from tests.support.processes import Upstream, eventually, free_port, is_listening
from tests.support.scripts import reply


def check_harmless(tab: Tab, port: int) -> None:
    """Nothing that others wrote became markup or ran, no secret is there, and nothing left the host."""
    markup, asked = tab.markup, tab.asked
    assert tab.console == []
    assert 'id="canary"' not in markup
    assert markup.count("<script") == 1
    assert "<img" not in markup
    for secret in (TOKEN, KEY, UPSTREAM_KEY):
        assert secret not in markup
    assert "undefined" not in tab.text()
    assert "NaN" not in tab.text()
    assert asked
    assert [one for one in asked if not one.startswith(f"http://127.0.0.1:{port}/")] == []
    assert [one for one in asked if TOKEN in one.partition("#")[0]] == []


@pytest.mark.parametrize("view", VIEWS)
def test_each_view_is_filled_and_runs_nothing_foreign(browser: Browser, odd: ConsoleProxy, view: str) -> None:
    with browser.open(odd.address(view)) as tab:
        tab.wait_text(view.capitalize(), "main h1")
        assert tab.ask("document.querySelector('nav [aria-current]').textContent") == view.capitalize()
        assert TOKEN not in tab.ask("location.href")
        check_harmless(tab, odd.port)


@pytest.mark.parametrize("view", ["live", "models", "log"])
def test_what_others_wrote_is_text(browser: Browser, odd: ConsoleProxy, view: str) -> None:
    """Names of models are shown as they are: the page would run them if it took them for markup."""
    with browser.open(odd.address(view)) as tab:
        tab.wait_text("<script>alert(2)")
        check_harmless(tab, odd.port)


def test_a_request_is_shown_with_its_thought(browser: Browser, odd: ConsoleProxy) -> None:
    with browser.open(odd.address(f"request/{odd.request_id}")) as tab:
        tab.wait_text("the client did not get it")
        tab.ask("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
        assert "thought, " in tab.text()
        assert "<script>alert(2)" in tab.text()
        check_harmless(tab, odd.port)


def test_the_error_of_an_upstream_is_shown_without_its_key(browser: Browser, odd: ConsoleProxy) -> None:
    failed = next(line["id"] for line in odd.proxy.lines() if line["model"].startswith('"refused'))
    with browser.open(odd.address(f"request/{failed}")) as tab:
        tab.wait_text("Upstream, attempt 1")
        tab.ask("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
        assert "<script>alert(2)" in tab.text()
        check_harmless(tab, odd.port)


def test_the_live_view_counts(browser: Browser, odd: ConsoleProxy) -> None:
    with browser.open(odd.address("live")) as tab:
        assert odd.request_id[:8] in tab.wait_text("requests a second")


def test_a_wrong_token_shows_nothing_but_why(browser: Browser, odd: ConsoleProxy) -> None:
    with browser.open(odd.address("models", "another-token")) as tab:
        tab.wait_text("A token is required")
        assert odd.request_id[:8] not in tab.markup


@pytest.mark.parametrize("view", ["request/%", "nothing", "%"])
def test_an_address_that_makes_no_sense_leads_to_a_view(browser: Browser, odd: ConsoleProxy, view: str) -> None:
    with browser.open(odd.address(view)) as tab:
        tab.wait("document.querySelector('main h1')")
        assert tab.console == []


def test_what_a_page_must_not_do_would_be_seen(browser: Browser, tmp_path: Path) -> None:
    """The line that Chromium writes when a policy stops a script: without it an empty console would show nothing."""
    file = tmp_path / "page.html"
    policy = "<meta http-equiv=Content-Security-Policy content=\"default-src 'none'\">"
    file.write_text(f"<!doctype html>{policy}<script>document.title = 'it ran'</script>")
    with browser.open(f"file://{file}") as tab:
        assert tab.ask("document.title") != "it ran"
        assert any("Content Security Policy" in line for line in tab.console)


def test_a_console_that_has_nothing_to_show_says_so(browser: Browser, start: Serve, upstream: Upstream) -> None:
    port = free_port()
    start(TARGET_BASE_URL=upstream.url, CONSOLE=f"127.0.0.1:{port}", CONSOLE_TOKEN=TOKEN)
    eventually(lambda: is_listening(port))
    with browser.open(address(port, "keys")) as tab:
        tab.wait_text("Nothing yet")
    with browser.open(address(port, "live")) as tab:
        tab.wait_text("Nothing yet")
    with browser.open(address(port, "log")) as tab:
        tab.wait_text("output_path")


def test_a_chat_can_be_tried_by_keyboard(browser: Browser, odd: ConsoleProxy, upstream: Upstream) -> None:
    """The box sends what it shows, and shows what came; a link never sends anything."""

    def count_chats() -> int:
        return sum(line["method"] == "POST" for line in odd.proxy.lines())

    before = count_chats()
    with browser.open(odd.address("try")) as tab:
        tab.wait("document.querySelector('form button')")
        assert count_chats() == before
        tab.ask("document.querySelector('[name=key]').focus()")
        for letter in KEY:
            tab.press(letter)
        tab.press("Enter")
        tab.wait("document.querySelector('main pre').textContent")
        assert KEY not in tab.markup
    assert chat(odd.proxy.port, headers={"Authorization": f"Bearer {KEY}"}).status == 200


def test_a_request_under_way_is_a_row_until_it_ends(browser: Browser, odd: ConsoleProxy, upstream: Upstream) -> None:
    script = upstream.script(["await"], reply(body=b'{"choices":[]}'))
    with Client(odd.proxy.port) as client, browser.open(odd.address("live")) as tab:
        tab.wait_text("No request is under way")
        client.send("POST", "/v1/chat/completions", CHAT_BODY, X_Script=script, Authorization=f"Bearer {KEY}")
        tab.wait_text("asked")
        upstream.open(script)
        client.answer()
        tab.wait_text("No request is under way")
