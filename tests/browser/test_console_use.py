"""The pages of the console as people use them: on a narrow screen, by keyboard, dark and light, while they change."""

from __future__ import annotations

import pytest

from tests.browser.chromium import SHIFT, WIDTH, Browser, Tab
from tests.browser.consoles import KEY, VIEWS, ConsoleProxy
from tests.browser.page_scripts import BRIGHTNESS, CONTROLS, FAINT, FOCUS, TOO_WIDE
from tests.support.client import chat

NARROW = 320
#: Low enough that long views scroll.
LOW = 420
ACTIVE = "document.activeElement"


def send_chat(odd: ConsoleProxy) -> str:
    """Have the proxy serve one more request, and return its id as views show it."""
    answer = chat(odd.proxy.port, headers={"Authorization": f"Bearer {KEY}"})
    odd.proxy.line(answer.id)
    return answer.id[:8]


def wait_for_answers(tab: Tab) -> None:
    """Wait until the page has had two answers more: the second one was asked for after this."""
    for _ in range(2):
        tab.ask("document.getElementById('time').textContent = ''")
        tab.wait("document.getElementById('time').textContent")


def view_address(odd: ConsoleProxy, view: str) -> str:
    return odd.address(f"request/{odd.request_id}" if view == "request" else view)


@pytest.mark.parametrize("view", [*VIEWS, "request"])
def test_a_narrow_screen_needs_no_scrolling_sideways(browser: Browser, odd: ConsoleProxy, view: str) -> None:
    with browser.open(view_address(odd, view), NARROW) as tab:
        tab.wait("document.querySelector('main h1')")
        assert tab.ask(TOO_WIDE) == []
        tab.ask("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
        assert tab.ask(TOO_WIDE) == []


@pytest.mark.parametrize("scheme", ["dark", "light"])
@pytest.mark.parametrize("view", [*VIEWS, "request"])
def test_each_text_can_be_read(browser: Browser, odd: ConsoleProxy, view: str, scheme: str) -> None:
    with browser.open() as tab:
        tab.prefer(scheme)
        tab.go(view_address(odd, view))
        tab.wait("document.querySelector('main h1')")
        assert (tab.ask(BRIGHTNESS) < 128) is (scheme == "dark")
        tab.ask("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
        assert tab.ask(FAINT) == []


def test_a_faint_text_would_be_seen(browser: Browser) -> None:
    page = "<body style=background:white><p style=color:%23999>faint<p style=color:%23333>dark<p>plain"
    with browser.open(f"data:text/html,{page}") as tab:
        assert ["faint" in text for _, text in tab.ask(FAINT)] == [True]


@pytest.mark.parametrize(("modifiers", "width"), [(0, NARROW), (SHIFT, WIDTH)], ids=["forwards", "backwards"])
@pytest.mark.parametrize("view", [*VIEWS, "request"])
def test_each_control_is_reached_by_keyboard(
    browser: Browser, odd: ConsoleProxy, view: str, modifiers: int, width: int
) -> None:
    """Tab leads through all of them and shows where it is."""
    with browser.open(view_address(odd, view), width, LOW) as tab:
        tab.wait("document.querySelector('main h1')")
        count, reached = tab.ask(f"({CONTROLS}).length"), set[int]()
        # Boxes that scroll may have the focus as well.
        for _ in range(2 * count + 9):
            tab.press("Tab", modifiers)
            focus = tab.ask(FOCUS)
            if focus["number"] >= 0:
                assert focus["isOutlined"], focus["what"]
                assert focus["isSeen"], focus["what"]
                reached.add(focus["number"])
        assert reached == set(range(count))


def test_the_way_past_the_menu_leads_into_the_view(browser: Browser, odd: ConsoleProxy) -> None:
    with browser.open(odd.address("models")) as tab:
        tab.wait_text("Models", "main h1")
        tab.press("Tab")
        tab.press("Enter")
        tab.wait(f"{ACTIVE}.id === 'main'")
        assert tab.ask("location.hash") == "#/models"


def test_the_menu_keeps_the_focus(browser: Browser, odd: ConsoleProxy) -> None:
    with browser.open(odd.address("live")) as tab:
        tab.wait_text("Live", "main h1")
        tab.press("Tab")
        for _ in range(2):
            tab.press("Tab")
        tab.press("Enter")
        tab.wait_text("Models", "main h1")
        assert tab.ask(f"{ACTIVE}.textContent") == "Models"


def test_escape_leaves_a_request_and_a_field(browser: Browser, odd: ConsoleProxy) -> None:
    with browser.open(odd.address("log")) as tab:
        tab.wait("document.querySelector('main a')")
        tab.ask("document.querySelector('main a').focus()")
        tab.press("Enter")
        tab.wait_text("Client")
        assert tab.ask("location.hash").startswith("#/request/")
        tab.press("Escape")
        tab.wait_text("Log", "main h1")
        tab.go(odd.address("try"))
        tab.wait("document.querySelector('textarea')")
        tab.ask("document.querySelector('textarea').focus()")
        tab.press("Escape")
        tab.wait(f"{ACTIVE}.id === 'main'")


def test_a_view_that_was_marked_is_drawn_once_it_is_not(browser: Browser, odd: ConsoleProxy) -> None:
    with browser.open(odd.address("log")) as tab:
        tab.wait_text("Log", "main h1")
        tab.ask("getSelection().selectAllChildren(document.querySelector('main h1'))")
        request = send_chat(odd)
        wait_for_answers(tab)
        assert request not in tab.text()
        tab.ask("getSelection().removeAllRanges()")
        tab.wait_text(request)


def test_what_is_pressed_stays_until_it_is_let_go(browser: Browser, odd: ConsoleProxy) -> None:
    with browser.open(odd.address("log")) as tab:
        tab.wait("document.querySelector('main a')")
        tab.click("main a", "mousePressed")
        request = send_chat(odd)
        wait_for_answers(tab)
        assert request not in tab.text()
        tab.click("main a", "mouseReleased")
        tab.wait("location.hash.startsWith('#/request/')")


def test_the_focus_stays_where_it_is_when_rows_are_added(browser: Browser, odd: ConsoleProxy) -> None:
    with browser.open(odd.address("live")) as tab:
        tab.wait("document.querySelector('main a')")
        tab.ask("document.querySelector('main a').focus()")
        focused = tab.ask(f"{ACTIVE}.href")
        tab.wait_text(send_chat(odd))
        assert tab.ask(f"{ACTIVE}.href") == focused


def test_a_chat_that_was_written_is_there_when_its_page_is_seen_again(browser: Browser, odd: ConsoleProxy) -> None:
    with browser.open(odd.address("try")) as tab:
        tab.wait("document.querySelector('textarea')")
        tab.ask("document.querySelector('textarea').value = 'mine'")
        send_chat(odd)
        tab.ask("document.dispatchEvent(new Event('visibilitychange'))")
        # Later than what the event might have caused.
        for _ in range(3):
            tab.ask("fetch('api/models').then((one) => one.status)")
        assert tab.ask("document.querySelector('textarea').value") == "mine"
