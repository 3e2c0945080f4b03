"""Chromium without a window: what a page has become, and what it said in its console."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
#: Time of the page, which passes faster than ours while it waits for nothing.
PAGE_TIME_MS = 6000
PATIENCE_S = 120.0
#: No name leads anywhere but to this host: what asks for another one fails, and says so.
NO_NETWORK = "MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost"


@dataclass(frozen=True)
class LoadedPage:
    """The document as markup, and the lines of the page's console."""

    markup: str
    console: list[str]

    @property
    def text(self) -> str:
        """Return the text of the main part."""
        main = re.search(r"<main.*?</main>", self.markup, re.DOTALL)
        return re.sub(r"<[^>]*>", " ", main[0]) if main else ""


def find_chromium() -> str:
    """Return the program; skip the test without one, or fail it where it must be there."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None and os.environ.get("REQUIRE_BROWSER"):
        pytest.fail("there is no Chromium")
    return found or pytest.skip("there is no Chromium; Debian has it: apt install chromium")


def load_page(url: str) -> LoadedPage:
    """Open a page, and wait until it has nothing to do for a while."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
        flags += [f"--user-data-dir={profile}", "--enable-logging=stderr", f"--host-resolver-rules={NO_NETWORK}"]
        flags += [f"--virtual-time-budget={PAGE_TIME_MS}", "--window-size=1280,900", "--dump-dom", url]
        ended = subprocess.run(
            [find_chromium(), *flags], capture_output=True, text=True, timeout=PATIENCE_S, check=True, cwd=profile
        )
    console = [line for line in ended.stderr.splitlines() if "CONSOLE" in line]
    return LoadedPage(ended.stdout, console)
