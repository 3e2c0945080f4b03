"""What the console reads of a proxy that runs: its journal, counts and settings; and chats that its user tries."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from argoproxy.config.values.layers import read_layers
from argoproxy.console.data_views import DataViews
from argoproxy.console.live.request_reader import RequestReader
from argoproxy.console.proxy_client import ForwardedChat, ModelNames, forward_chat, list_models
from argoproxy.console.views.doctor_run import DoctorRuns
from argoproxy.console.views.sources import SettingsReader
from argoproxy.console.views.totals import RecentTotals
from argoproxy.errors import BadRequest, UpstreamUnreachable
from argoproxy.server.runtime import folder_at
from tests.support.client import chat
from tests.support.configs import config
from tests.support.fixtures import Serve
from tests.support.processes import Proxy, Upstream, eventually, free_port

KEY = "sk-console-0123456789"


@pytest.fixture(scope="module")
def proxy(serve: Serve, upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Proxy:
    folder = tmp_path_factory.mktemp("journal")
    return serve(
        TARGET_BASE_URL=upstream.url,
        OUTPUT_PATH=str(folder),
        ENABLE_AUTH="true",
        API_KEY_SECRET=f"ann={KEY}",
        LLM_PARAMS="model=m1,temperature=0.5",
    )


@pytest.fixture
def views(proxy: Proxy, tmp_path: Path) -> Iterator[DataViews]:
    shared = eventually(lambda: folder_at(proxy.port))
    settings = SettingsReader(proxy.environ, tmp_path, shared)
    made = DataViews(
        settings,
        RecentTotals(shared, count(0, 10).__next__),
        DoctorRuns(proxy.environ, tmp_path),
        RequestReader(shared),
    )
    yield made
    made.stop()


def ask(proxy: Proxy, **fields: Any) -> str:
    return chat(proxy.port, headers={"Authorization": f"Bearer {KEY}"}, **fields).id


def test_an_exchange_shows_what_was_stripped_and_changed(proxy: Proxy, views: DataViews) -> None:
    request_id = ask(proxy, stream=True)
    shown = eventually(lambda: found if (found := views.exchange(request_id))["client"] else None)
    (attempt,) = shown["attempts"]
    assert [change["path"] for change in attempt["changes"]] == ["temperature"]
    parts = attempt["answer"][0]["parts"]
    assert [(part["kind"], part["fate"]) for part in parts] == [("thought", "stripped"), ("text", "")]
    assert [part["text"] for part in shown["client"]["answer"][0]["parts"]] == ["Hello there!"]
    assert KEY not in str(shown)


def test_counts_are_those_of_the_workers(proxy: Proxy, views: DataViews) -> None:
    ask(proxy)

    def count_tokens() -> int:
        return views.upstreams()["upstreams"][0]["counts"]["tokens_out"]

    assert eventually(count_tokens) > 0
    keys = views.keys({})
    assert ([row["name"] for row in keys["keys"]], keys["access"]) == (["ann"], "keys")
    assert keys["keys"][0]["counts"]["tokens_out"] > 0
    assert "m1" in {row["name"] for row in views.usage({"by": "model"})["rows"]}
    assert views.log({})["lines"]
    assert KEY not in str((keys, views.log({}), views.settings({"model": "m1"}), views.upstreams()))


def test_times_of_models_are_those_of_the_log(proxy: Proxy, views: DataViews) -> None:
    request_id = ask(proxy)

    def has_ended() -> bool:
        return any((last := model["last"]) and last["id"] == request_id for model in views.models()["models"])

    eventually(has_ended)
    model = next(model for model in views.models()["models"] if model["name"] == "m1")
    assert (model["first_byte_ms"]["p50"] or 0) > 0
    assert sum(cell["requests"] for cell in model["strip"]) == model["recent"] > 0


def test_models_are_listed_by_the_proxy(views: DataViews) -> None:
    def is_listed() -> bool:
        return any(model["is_listed"] for model in views.models()["models"])

    eventually(is_listed)


@pytest.mark.parametrize("stream", [False, True])
def test_a_chat_that_is_tried_is_answered_by_the_proxy(views: DataViews, stream: bool) -> None:
    messages = [{"role": "user", "content": "Hi"}]
    answer = views.try_chat({"body": {"model": "m1", "messages": messages, "stream": stream}})
    body = b"".join(answer.pieces)
    headers = {name.lower(): value for name, value in answer.headers}
    assert (answer.status, headers["content-type"].startswith("text/event-stream")) == (200, stream)
    assert b"there" in body
    assert b"think" not in body
    assert headers["x-logging-id"]


def test_a_chat_is_tried_with_another_key(views: DataViews) -> None:
    answer = views.try_chat({"path": "/v1/chat/completions", "body": {}, "key": "sk-unknown-key"})
    assert answer.status == 401
    answer.pieces.close()


@pytest.mark.parametrize(
    "document", [None, {}, {"body": []}, {"body": {}, "path": "/metrics"}, {"body": {}, "key": "\n"}]
)
def test_what_is_no_chat_is_not_sent(views: DataViews, document: object) -> None:
    with pytest.raises(BadRequest):
        views.try_chat(document)


@pytest.mark.parametrize("document", [{"model": "--help"}, {"model": 7}, {"chat": "yes"}])
def test_doctor_takes_no_other_options(views: DataViews, document: object) -> None:
    with pytest.raises(BadRequest):
        views.run_doctor(document)


def test_doctor_examines_the_settings_of_the_proxy(views: DataViews) -> None:
    assert views.run_doctor({})["state"] == "running"
    view = eventually(lambda: shown if (shown := views.doctor())["state"] != "running" else None)
    assert view["report"], view["reason"]
    assert {check["code"] for check in view["report"]["checks"]} >= {"http", "models"}
    assert KEY not in str(view)


def test_a_proxy_that_does_not_run_is_told() -> None:
    stopped = config(PORT=str(free_port()), DEMO="true")
    with pytest.raises(UpstreamUnreachable):
        forward_chat(stopped, ForwardedChat("/v1/chat/completions", {}))
    assert list_models(stopped) == ()
    with pytest.raises(UpstreamUnreachable, match="Unix socket"):
        forward_chat(config(HOST="unix:/tmp/x", DEMO="true"), ForwardedChat("/v1/chat/completions", {}))


def test_names_of_models_stay_known_while_the_proxy_is_busy() -> None:
    answers = [("m1",), ()]
    now = [0.0]
    names = ModelNames(lambda _: answers.pop(0), lambda: now[0])
    assert names.names(config(DEMO="true")) == ()
    eventually(lambda: names.names(config(DEMO="true")) == ("m1",))
    now[0] = 1000.0
    names.names(config(DEMO="true"))
    eventually(lambda: not answers)
    assert names.names(config(DEMO="true")) == ("m1",)


def test_layers_that_are_not_published_are_read_where_they_are(tmp_path: Path) -> None:
    environ = {"DEMO": "true", "PORT": "5007"}
    assert SettingsReader(environ, tmp_path, None).read().layers == read_layers(environ, tmp_path)
