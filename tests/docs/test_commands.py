"""Every command of the documentation is run, in the order of its page; a comment before a fence says otherwise.

| comment | the fence |
| --- | --- |
| `not run: REASON` | is left out |
| `run by: tests/…/test_x.py` | is run, or what it shows is tested, by that file |
| `file: NAME` | is a file, which the commands after it find |
| `given: FOLDER` | finds the folder's files in one of the same name |
| `output` | is a sample of what the commands before it print |
| `log` | is a sample of a line in the log of the proxy that the page has started |
| `fails: WHY` | ends with a command that fails |

What a page starts, its later commands talk to; those before it talk to the demo, which takes any model for its own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.samples import shows, split_console
from tests.docs.session import PageSession
from tests.support.fixtures import Serve
from tests.support.pages import Fence, fences, name_of, pages
from tests.support.processes import ROOT, Upstream, eventually

COMMANDS = {"bash", "sh", "console", "python", "javascript", "js", "typescript", "ts", "powershell"}
KINDS = {"", "not run", "run by", "file", "given", "output", "log", "fails"}
ALL = [fence for page in pages() for fence in fences(page)]
RUN = [
    fence
    for fence in ALL
    if (fence.kind in ("", "given", "fails") and fence.language in COMMANDS) or fence.kind in ("output", "log")
]


class Pages:
    """The sessions of all pages: a fence runs after those before it, each once."""

    def __init__(self, folder: Path, upstream_url: str, port: int) -> None:
        self._folder, self._upstream_url, self._port = folder, upstream_url, port
        self._page, self._done = Path(), 0
        self._session: PageSession | None = None
        self._printed = ""

    def run(self, fence: Fence) -> None:
        """Run a fence. Raises AssertionError."""
        on_page = fences(fence.page)
        if self._session is None or self._page != fence.page or fence.line < self._done:
            self._open(fence.page)
        for earlier in on_page:
            if self._done < earlier.line <= fence.line:
                self._done = earlier.line
                self._run_one(earlier)

    def close(self) -> None:
        if self._session:
            self._session.close()
        self._session = None

    def _open(self, page: Path) -> None:
        self.close()
        self._page, self._done, self._printed = page, 0, ""
        folder = self._folder / re.sub(r"\W", "-", name_of(page))
        while folder.exists():
            folder = folder.with_name(f"{folder.name}-again")
        self._session = PageSession(folder, self._upstream_url, self._port)

    def _run_one(self, fence: Fence) -> None:
        assert self._session
        if fence.kind == "file":
            self._session.write(fence.rest, fence.text)
        elif fence.kind == "output":
            self._compare(fence.text)
        elif fence.kind == "log":
            session, line = self._session, fence.text
            eventually(lambda: shows(session.server_log(), line))
        elif fence in RUN:
            if fence.kind == "given":
                self._session.copy(ROOT / fence.rest)
            commands = split_console(fence.text) if fence.language == "console" else [(fence.text, "")]
            for command, sample in commands:
                self._run_commands(fence, command)
                self._compare(sample)

    def _run_commands(self, fence: Fence, script: str) -> None:
        assert self._session
        status, self._printed = self._session.run(fence, script)
        assert (status != 0) == (fence.kind == "fails"), f"exit status {status}:\n{self._printed}"

    def _compare(self, sample: str) -> None:
        assert self._session
        expected = self._session.substitute(sample)
        assert shows(self._printed, expected), f"expected:\n{expected}\nprinted:\n{self._printed}"


@pytest.fixture(scope="module")
def running(serve: Serve, upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pages]:
    port = serve(DEMO="true", LLM_PARAMS="model=default,upstream_model_name=demo").port
    made = Pages(tmp_path_factory.mktemp("pages"), upstream.url, port)
    yield made
    made.close()


@pytest.mark.parametrize("fence", RUN, ids=lambda fence: fence.name)
def test_what_a_page_shows_works(running: Pages, fence: Fence) -> None:
    running.run(fence)


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_every_fence_says_what_it_is(page: Path) -> None:
    for fence in fences(page):
        assert fence.kind in KINDS, f"{fence.name}: {fence.mark}"
        assert fence.language, f"{fence.name}: no language"
        if fence.kind == "not run":
            assert len(fence.rest.split()) > 2, f"{fence.name}: why not?"
        if fence.kind == "run by":
            assert page.name in (ROOT / fence.rest).read_text(), f"{fence.name}: {fence.rest} does not name the page"
        if fence.language == "json":
            json.loads(fence.text)
