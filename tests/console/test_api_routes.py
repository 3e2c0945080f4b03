"""The paths of the console's data: JSON, an ETag, errors in the shape of all others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from argoproxy.console.api_routes import ApiRoutes
from argoproxy.console.data_views import DataViews
from argoproxy.console.live.request_reader import RequestReader
from argoproxy.console.views.doctor_run import DoctorRuns
from argoproxy.console.views.sources import SettingsReader
from argoproxy.console.views.totals import RecentTotals

VIEWS = ["models", "upstreams", "keys", "usage", "settings", "log", "doctor", "exchange/ab12", "live"]


@pytest.fixture
def routes(tmp_path: Path) -> ApiRoutes:
    environ = {"DEMO": "true", "PORT": "1"}
    views = DataViews(
        SettingsReader(environ, tmp_path, None), RecentTotals(None), DoctorRuns(environ, tmp_path), RequestReader(None)
    )
    return ApiRoutes(views, {"live": lambda query: {"asked": dict(query)}})


@pytest.mark.parametrize("name", VIEWS)
def test_a_view_is_sent_once_until_it_changes(routes: ApiRoutes, name: str) -> None:
    first = routes.read(f"/api/{name}", "", "")
    assert (first.status, dict(first.headers)["Cache-Control"]) == (200, "no-store")
    assert isinstance(first.body, bytes)
    assert isinstance(json.loads(first.body), dict)
    again = routes.read(f"/api/{name}", "", f'W/"x", {dict(first.headers)["ETag"]}')
    assert (again.status, again.body) == (304, b"")


def test_a_query_reaches_its_view(routes: ApiRoutes) -> None:
    assert routes.read("/api/live", "a=1&b=%20", "").body == b'{"asked":{"a":"1","b":" "}}'


@pytest.mark.parametrize(
    ("path", "query", "status"),
    [
        ("/api/nothing", "", 404),
        ("/api/", "", 404),
        ("/api/try", "", 405),
        ("/api/usage", "by=colour", 400),
        ("/api/live", "&".join(["a=1"] * 100), 400),
    ],
)
def test_what_cant_be_read_is_refused(routes: ApiRoutes, path: str, query: str, status: int) -> None:
    answer = routes.read(path, query, "")
    assert answer.status == status
    assert isinstance(answer.body, bytes)
    assert json.loads(answer.body)["error"]["message"]


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/api/nothing", b"{}", 404),
        ("/api/models", b"{}", 405),
        ("/api/try", b"{", 400),
        ("/api/try", b"", 400),
        ("/api/try", b'{"body": {}}', 502),
        ("/api/doctor", b'{"chat": 1}', 400),
    ],
)
def test_what_cant_be_done_is_refused(routes: ApiRoutes, path: str, body: bytes, status: int) -> None:
    answer = routes.act(path, body)
    assert answer.status == status
    assert isinstance(answer.body, bytes)
    assert json.loads(answer.body)["error"]["message"]


def test_settings_that_cant_be_used_are_told(tmp_path: Path) -> None:
    environ = {"PORT": "none"}
    views = DataViews(
        SettingsReader(environ, tmp_path, None), RecentTotals(None), DoctorRuns(environ, tmp_path), RequestReader(None)
    )
    answer = ApiRoutes(views, {}).read("/api/settings", "", "")
    assert answer.status == 503
    assert b"port" in bytes(answer.body).lower()  # type: ignore[arg-type]
