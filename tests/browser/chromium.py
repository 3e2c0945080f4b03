"""Chromium without a window: pages as a person meets them, with what they asked for and said in their console."""

from __future__ import annotations

import base64
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.browser.devtools import DevTools, DevToolsError
from tests.support.processes import eventually

NAMES = ("chromium", "chromium-browser", "google-chrome")
#: No name leads anywhere but to this host, as those below `.test` do: what asks for another one fails, and says so.
NO_NETWORK = "MAP *.test 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost"
FLAGS = (
    "--headless=new --remote-debugging-pipe --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run"
    " --disable-background-networking --disable-component-update --disable-sync --disable-extensions"
    " --disable-features=Translate,OptimizationHints,MediaRouter --force-prefers-reduced-motion --hide-scrollbars"
    " --disable-site-isolation-trials"
).split()
WIDTH, HEIGHT = 1280, 900
#: The text that keys write and the codes that Windows gives them, which is what pages are told.
KEYS = {"Tab": ("", 9), "Enter": ("\r", 13), "Escape": ("", 27), " ": (" ", 32)}
SHIFT = 8


def find_chromium() -> str:
    """Return the program; skip the test without one, or fail it where it must be there."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None and os.environ.get("REQUIRE_BROWSER"):
        pytest.fail("there is no Chromium")
    return found or pytest.skip("there is no Chromium; Debian has it: apt install chromium")


@contextmanager
def run_browser(folder: Path) -> Iterator[Browser]:
    """Run a browser that keeps what it must in a folder."""
    command = [find_chromium(), *FLAGS, f"--user-data-dir={folder}", f"--host-resolver-rules={NO_NETWORK}"]
    tools = DevTools([*command, f"--window-size={WIDTH},{HEIGHT}", "about:blank"], folder, folder / "log.txt")
    try:
        yield Browser(tools)
    finally:
        tools.close()


class Browser:
    """A browser that runs."""

    def __init__(self, tools: DevTools) -> None:
        self._tools = tools

    @contextmanager
    def open(self, url: str = "about:blank", width: int = WIDTH, height: int = HEIGHT) -> Iterator[Tab]:
        """Open a page in a tab that shares nothing with other tabs."""
        context = self._tools.call("Target.createBrowserContext")["browserContextId"]
        target = self._tools.call("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
        session = self._tools.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        tab = Tab(self._tools, session)
        tab.resize(width, height)
        try:
            tab.go(url)
            yield tab
        finally:
            self._tools.call("Target.disposeBrowserContext", browserContextId=context)
            self._tools.events.pop(session, None)


class Tab:
    """A page in a tab, and what its user does."""

    def __init__(self, tools: DevTools, session: str) -> None:
        self._tools, self._session = tools, session
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._call(f"{domain}.enable")

    def go(self, url: str) -> None:
        """Open an address, and wait until what it names is loaded."""
        before = len(self._events("Page.loadEventFired"))
        answer = self._call("Page.navigate", url=url)
        assert "errorText" not in answer, answer["errorText"]
        if "loaderId" in answer:
            eventually(lambda: len(self._events("Page.loadEventFired")) > before)

    def ask(self, script: str) -> Any:
        """Return the value of an expression of the page's language."""
        answer = self._call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise DevToolsError(f"{script}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def wait(self, script: str) -> None:
        """Wait until an expression is true; it may not be one yet while another page is loaded."""

        def is_true() -> bool:
            with suppress(DevToolsError):
                return bool(self.ask(f"!!({script})"))
            return False

        eventually(is_true)

    def text(self, selector: str = "main") -> str:
        """Return the text of an element as its reader sees it; "" without one."""
        text: str = self.ask(f"(document.querySelector({selector!r}) || {{}}).innerText || ''")
        return text

    def wait_text(self, text: str, selector: str = "main") -> str:
        """Wait until an element says something, and return all that it says."""
        found: str = eventually(lambda: seen if text in (seen := self.text(selector)) else "")
        return found

    @property
    def markup(self) -> str:
        """The document."""
        markup: str = self.ask("document.documentElement.outerHTML")
        return markup

    def press(self, key: str, modifiers: int = 0) -> None:
        """Press a key and let it go; a character writes itself."""
        text, code = KEYS.get(key, (key, ord(key[0].upper())))
        pressed = {"key": key, "code": key, "windowsVirtualKeyCode": code, "modifiers": modifiers}
        more = {"text": text} if text else {}
        self._call("Input.dispatchKeyEvent", type="keyDown" if text else "rawKeyDown", **pressed, **more)
        self._call("Input.dispatchKeyEvent", type="keyUp", **pressed)

    def click(self, selector: str, *kinds: str) -> None:
        """Press the mouse over an element and let it go; or only the one of these `kinds`."""
        box = self.ask(f"document.querySelector({selector!r}).getBoundingClientRect().toJSON()")
        at = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2, "button": "left", "clickCount": 1}
        for kind in kinds or ("mousePressed", "mouseReleased"):
            self._call("Input.dispatchMouseEvent", type=kind, **at)

    def resize(self, width: int, height: int = HEIGHT) -> None:
        """Make the page so large."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self._call("Emulation.setDeviceMetricsOverride", **size)

    def prefer(self, scheme: str) -> None:
        """Prefer `dark` or `light`."""
        self._call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    @property
    def frames(self) -> list[str]:
        """The addresses of what stands in frames of the page."""
        tree = self._call("Page.getFrameTree")["frameTree"]
        return [str(one["frame"]["url"]) for one in tree.get("childFrames", ())]

    def picture(self) -> bytes:
        """Return a picture of what is seen, as PNG."""
        return base64.b64decode(self._call("Page.captureScreenshot", format="png")["data"])

    @property
    def console(self) -> list[str]:
        """What the page's console says: its own lines, errors, and what the browser has refused."""
        self._tools.take_events()
        return [
            *(str(one["entry"]["text"]) for one in self._events("Log.entryAdded")),
            *(str(one["args"]) for one in self._events("Runtime.consoleAPICalled")),
            *(str(one["exceptionDetails"]) for one in self._events("Runtime.exceptionThrown")),
        ]

    @property
    def asked(self) -> list[str]:
        """The addresses that the page has asked for."""
        self._tools.take_events()
        return [str(one["request"]["url"]) for one in self._events("Network.requestWillBeSent")]

    def _events(self, method: str) -> list[dict[str, Any]]:
        """Return what events of a kind told, of those that have come."""
        self._tools.take_events()
        return [event["params"] for event in self._tools.events[self._session] if event["method"] == method]

    def _call(self, method: str, **parameters: Any) -> Any:
        return self._tools.call(method, self._session, **parameters)
