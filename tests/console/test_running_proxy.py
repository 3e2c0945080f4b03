"""A console that is there before its proxy, and sees it drain, end and start again."""

from __future__ import annotations

from pathlib import Path

from argoproxy.console.api_routes import ApiRoutes
from argoproxy.console.data_views import DataViews
from argoproxy.console.live.request_reader import RequestReader
from argoproxy.console.running_proxy import STATE_HEADER, ProxyRoutes, RunningProxy
from argoproxy.console.views.doctor_run import DoctorRuns
from argoproxy.console.views.sources import SettingsReader
from argoproxy.console.views.totals import RecentTotals
from argoproxy.server.runtime import mark_draining


def test_each_answer_tells_of_the_proxy_that_runs_now(tmp_path: Path) -> None:
    built: list[Path | None] = []
    found: list[Path | None] = [None]
    now = [0.0]

    def build(shared: Path | None) -> ProxyRoutes:
        built.append(shared)
        views = DataViews(
            SettingsReader({}, tmp_path, shared), RecentTotals(shared), DoctorRuns({}, tmp_path), RequestReader(shared)
        )
        return ProxyRoutes(ApiRoutes(views, {"which": lambda _: {"folder": str(shared)}}), views)

    proxy = RunningProxy(5000, build, lambda port: found[-1], lambda: now[0])

    def ask() -> tuple[str, object]:
        now[0] += 2.0
        answer = proxy.read("/api/which", "", "")
        return dict(answer.headers)[STATE_HEADER], answer.body

    assert ask() == ("stopped", b'{"folder":"None"}')
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    found.append(first)
    assert ask() == ask() == ("serving", f'{{"folder":"{first}"}}'.encode())
    mark_draining(first)
    assert ask()[0] == "draining"
    found.append(None)
    assert ask() == ("stopped", f'{{"folder":"{first}"}}'.encode())
    found.append(second)
    assert ask() == ("serving", f'{{"folder":"{second}"}}'.encode())
    assert built == [None, first, second]
    proxy.stop()
