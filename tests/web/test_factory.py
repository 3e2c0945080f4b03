"""Which proxy a worker serves with, when settings are published that it can't use."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import cast

import pytest

from argoproxy.config.values.config_error import ConfigError
from argoproxy.pipeline.proxy import Proxy
from argoproxy.web.factory import CurrentProxy


class Made:
    """As much of a proxy as is exchanged."""

    closed = False

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize("error", [ConfigError(["none"]), OSError("no descriptors left")])
def test_a_proxy_that_cannot_be_made_leaves_the_one_that_serves(tmp_path: Path, error: Exception) -> None:
    published, versions = tmp_path / "settings.json", itertools.count()
    outcomes: list[Made | Exception] = [Made(), error, Made()]
    asked: list[Made | Exception] = []

    def make() -> Proxy:
        asked.append(outcomes[len(asked)])
        if isinstance(asked[-1], Exception):
            raise asked[-1]
        return cast(Proxy, asked[-1])

    def publish() -> None:
        beside = tmp_path / f"{next(versions)}"
        beside.write_text("")
        beside.replace(published)

    publish()
    current = CurrentProxy(make, published)
    first = cast(Made, current())
    publish()
    assert [cast(Made, current()), cast(Made, current())] == [first, first]
    assert len(asked) == 2, "once for each time that something was published"
    assert not first.closed
    publish()
    assert cast(Made, current()) is outcomes[2]
    assert first.closed
