"""The console under other names and paths, and what pages of others can do to it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.browser.chromium import Browser
from tests.browser.consoles import TOKEN, VIEWS, console_settings
from tests.support.fixtures import Serve
from tests.support.nginx import prepare_nginx
from tests.support.processes import Upstream, eventually, free_port, is_listening, spawn

NAME, STRANGER = "console.test", "stranger.test"
BEHIND = """
server {{
    listen 127.0.0.1:{port};
    default_type text/html;
    location / {{
        return 200 "<title>other</title>";
    }}
    location /ops/console/ {{
        proxy_pass http://127.0.0.1:{console}/;
        proxy_set_header Host $http_host;
    }}
}}
"""


@dataclass(frozen=True)
class Places:
    """The port of a console, and that of nginx before it."""

    console: int
    front: int


@pytest.fixture(scope="module")
def places(
    browser: Browser, serve: Serve, upstream: Upstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Places]:
    if not shutil.which("nginx"):
        pytest.skip("there is no nginx; Debian has it: apt install nginx")
    folder, console, front = tmp_path_factory.mktemp("places"), free_port(), free_port()
    upstreams = {"up": {"base_url": upstream.url}}
    serve(CONFIG_PATH=console_settings(folder, console, upstreams=upstreams, console_hosts=[NAME]))
    with (folder / "nginx.log").open("wb") as log:
        nginx = spawn(prepare_nginx(folder, BEHIND.format(port=front, console=console)), stderr=log)
    try:
        eventually(lambda: is_listening(console) and is_listening(front))
        yield Places(console, front)
    finally:
        nginx.terminate()
        nginx.wait()


@pytest.mark.parametrize("view", VIEWS)
def test_it_works_below_a_path(browser: Browser, places: Places, view: str) -> None:
    root = f"http://127.0.0.1:{places.front}/ops/console/"
    with browser.open(f"{root}#token={TOKEN}&to={view}") as tab:
        tab.wait_text(view.capitalize(), "main h1")
        assert tab.console == []
        assert [one for one in tab.asked if not one.startswith(root)] == []
        tab.ask("location.hash = '#/models'")
        tab.wait_text("Models", "main h1")


def test_a_name_that_was_not_told_leads_nowhere(browser: Browser, places: Places) -> None:
    """A foreign name may lead to this machine (DNS rebinding): its pages would be of one site with the console."""
    with browser.open(f"http://{STRANGER}:{places.console}/#token={TOKEN}&to=live") as tab:
        assert "console_hosts" in tab.text("body")
        status = f"fetch('/api/live', {{headers: {{Authorization: 'Bearer {TOKEN}'}}}}).then((one) => one.status)"
        assert tab.ask(status) == 403


def test_pages_of_others_get_nothing(browser: Browser, places: Places) -> None:
    """Neither by asking, with a token even, nor by a form, nor in a frame."""
    target, other = f"http://127.0.0.1:{places.console}/", f"http://127.0.0.1:{places.front}/"
    with browser.open(f"http://{STRANGER}:{places.front}/") as tab:
        for options in ("{}", "{mode: 'no-cors'}", f"{{headers: {{Authorization: 'Bearer {TOKEN}'}}}}"):
            asked = f"fetch('{target}api/settings', {options}).then((one) => one.text(), () => '')"
            assert tab.ask(asked) == ""
        for framed in (other, target):
            tab.ask(f"document.body.append(Object.assign(document.createElement('iframe'), {{src: '{framed}'}}))")
        eventually(lambda: tab.frames == [other, "chrome-error://chromewebdata/"])


def test_a_request_line_of_a_front_never_holds_the_token(browser: Browser, places: Places, tmp_path: Path) -> None:
    with browser.open(f"http://{NAME}:{places.front}/ops/console/#token={TOKEN}&to=live") as tab:
        tab.wait_text("Live", "main h1")
        assert [one for one in tab.asked if TOKEN in one.partition("#")[0]] == []
        assert TOKEN not in tab.ask("document.cookie + location.href + document.referrer")
        assert tab.ask("Object.keys(localStorage).length") == 0
