from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.browser.chromium import Browser, run_browser
from tests.browser.consoles import ConsoleProxy, start_odd_proxy
from tests.support.fixtures import Serve
from tests.support.processes import Upstream


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser; each test opens tabs of its own."""
    with run_browser(tmp_path_factory.mktemp("browser")) as running:
        yield running


@pytest.fixture(scope="session")
def odd(browser: Browser, serve: Serve, upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> ConsoleProxy:
    """A proxy with a console that has served odd requests: texts of clients and upstreams are markup."""
    return start_odd_proxy(serve, upstream, tmp_path_factory.mktemp("odd"))
