"""Makes the pictures of the console in the documentation: `python -m tests.browser.screenshots [FOLDER]`.

It takes a minute and a half. The pictures show mixed traffic; make them again when a view looks different.
"""

from __future__ import annotations

import io
import sys
import tempfile
import threading
from pathlib import Path

from PIL import Image

from tests.browser.chromium import Browser, run_browser
from tests.browser.consoles import ConsoleProxy
from tests.browser.traffic import REQUESTS, hold_streams, run_proxy, send_traffic
from tests.support.processes import ROOT, eventually

SIZE = (1280, 760)
COLOURS = 256
#: How long traffic goes on, and how many bars, one a second, there must be of it.
SECONDS, BARS = 90.0, 80


def save(picture: bytes, file: Path) -> None:
    """Save a picture with few colours, which makes it small."""
    with Image.open(io.BytesIO(picture)) as image:
        image.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(file, optimize=True)


def show_live(browser: Browser, console: ConsoleProxy, folder: Path) -> None:
    """Picture the live view while there is traffic."""
    traffic = threading.Thread(target=send_traffic, args=(console.proxy, REQUESTS, SECONDS))
    with browser.open(console.address("live"), *SIZE) as tab, hold_streams(console.proxy):
        traffic.start()
        eventually(lambda: tab.ask("document.querySelectorAll('rect.all').length") >= BARS, 3 * SECONDS)
        save(tab.picture(), folder / "console.png")
        traffic.join()


def show_request(browser: Browser, console: ConsoleProxy, folder: Path) -> None:
    """Picture a request with a thought, dark."""
    thinking = next(line["id"] for line in reversed(console.proxy.lines()) if line["model"] == "thinker-r1")
    with browser.open(width=SIZE[0], height=SIZE[1]) as tab:
        tab.prefer("dark")
        tab.go(console.address(f"request/{thinking}"))
        tab.wait_text("the client did not get it")
        tab.ask(
            "[...document.querySelectorAll('summary')].find((one) => one.innerText.includes('did not get')).click()"
        )
        save(tab.picture(), folder / "console-request.png")


def show_models(browser: Browser, console: ConsoleProxy, folder: Path) -> None:
    """Picture the models, low: they are few."""
    with browser.open(console.address("models"), SIZE[0], SIZE[1] // 2) as tab:
        tab.wait_text("large-405b")
        save(tab.picture(), folder / "console-models.png")


def main(folder: Path) -> None:
    """Make all pictures."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as work:
        profile, settings = Path(work, "profile"), Path(work, "proxy")
        profile.mkdir()
        settings.mkdir()
        with run_browser(profile) as browser, run_proxy(settings) as console:
            for show in (show_live, show_request, show_models):
                show(browser, console, folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs")
