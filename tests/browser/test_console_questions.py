"""What operators open the console for: each answer is found by a few clicks, and from the console alone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.browser.chromium import Browser, Tab
from tests.browser.consoles import ConsoleProxy
from tests.browser.traffic import REASON, THOUGHT, run_proxy, send_traffic

REQUESTS = 60


@pytest.fixture(scope="module")
def served(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConsoleProxy]:
    """A console whose proxy has served mixed traffic."""
    with run_proxy(tmp_path_factory.mktemp("traffic"), 1) as console:
        send_traffic(console.proxy, REQUESTS)
        yield console


def rows_of(tab: Tab) -> list[list[str]]:
    """Return the cells of the table in the view."""
    script = (
        "[...document.querySelectorAll('main tbody tr')].map((row) => [...row.cells].map((cell) => cell.innerText))"
    )
    rows: list[list[str]] = tab.ask(script)
    return rows


def to_ms(text: str) -> float:
    """Return the milliseconds of a time as the page writes it, 0 for none."""
    number, _, unit = text.partition(" ")
    return float(number or 0) * {"": 0, "ms": 1, "s": 1000, "min": 60_000}[unit]


def choose(tab: Tab, view: str) -> None:
    """Click on a view in the menu."""
    tab.wait("document.querySelector('nav a')")
    tab.click(f"nav a[href='#/{view}']")
    tab.wait_text(view.capitalize(), "main h1")


def test_the_slowest_model_is_found(browser: Browser, served: ConsoleProxy) -> None:
    with browser.open(served.address("live")) as tab:
        choose(tab, "models")
        tab.wait_text("large-405b")
        medians = {row[0]: to_ms(row[7].partition(" / ")[0]) for row in rows_of(tab)}
        assert max(medians, key=lambda name: medians[name]) == "large-405b"


def test_a_failed_request_and_its_cause_are_found(browser: Browser, served: ConsoleProxy) -> None:
    with browser.open(served.address("live")) as tab:
        choose(tab, "models")
        tab.wait_text("vision-11b")
        counts = {row[0]: row[3:5] for row in rows_of(tab)}["vision-11b"]
        assert counts[0] == counts[1] != "0"
        choose(tab, "log")
        tab.click("[name=search]")
        for letter in "upstream_error":
            tab.press(letter)
        tab.wait("[...document.querySelectorAll('tbody tr')].every((row) => row.innerText.includes('upstream_error'))")
        tab.click("tbody a")
        tab.wait_text("Upstream, attempt 1")
        assert REASON in tab.text()


def test_who_used_the_most_tokens_is_found(browser: Browser, served: ConsoleProxy) -> None:
    with browser.open(served.address("live")) as tab:
        choose(tab, "usage")
        tab.wait_text("ann")
        assert [row[0] for row in rows_of(tab)] == ["batch-jobs", "ann", "ci"]


def test_what_a_thought_said_is_found(browser: Browser, served: ConsoleProxy) -> None:
    with browser.open(served.address("live")) as tab:
        choose(tab, "log")
        tab.click("[name=search]")
        for letter in "thinker":
            tab.press(letter)
        tab.wait("[...document.querySelectorAll('tbody tr')].every((row) => row.innerText.includes('thinker'))")
        tab.click("tbody a")
        tab.wait_text("the client did not get it")
        tab.ask(
            "[...document.querySelectorAll('summary')].find((one) => one.innerText.includes('did not get')).click()"
        )
        tab.wait_text(THOUGHT)
