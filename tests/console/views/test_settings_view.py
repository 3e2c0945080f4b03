"""The settings that the workers have, where each is set, and no secret."""

from __future__ import annotations

from pathlib import Path

from argoproxy.config.values.layers import publish_snapshot, read_layers
from argoproxy.console.views.settings_view import show_settings
from argoproxy.console.views.sources import SettingsReader
from argoproxy.server.runtime import SNAPSHOT
from tests.support.console_sources import UPSTREAMS, make_sources

SECRET = "sk-0123456789abcdef"


def test_a_setting_has_its_origin(tmp_path: Path) -> None:
    view = show_settings(make_sources(tmp_path, "api_key_secret: sk-static-0123456789\n", PORT="5005"))
    rows = {row["key"]: row for row in view["settings"]}
    assert (rows["port"]["value"], rows["port"]["place"], rows["port"]["is_default"]) == (5005, "environment", False)
    assert rows["upstreams"]["place"] == "config.yaml, line 2"
    assert (rows["api_key_secret"]["is_starred"], rows["api_key_secret"]["value"]) == (True, "****")
    assert rows["threads"]["is_default"]
    assert all(row["about"] for row in view["settings"])
    assert view["model"] is None
    assert SECRET not in str(view)
    assert "sk-static" not in str(view)


def test_what_becomes_of_a_model_is_told(tmp_path: Path) -> None:
    rule = f"models: {{fast: {{upstream: spare, params: {{temperature: 0.5, api_key: {SECRET}}}}}}}\n"
    sources = make_sources(tmp_path, f"{rule}allowed_models: [fast]\n")
    fast = show_settings(sources, "fast")["model"]
    assert fast
    assert [route["upstream"] for route in fast["routes"]] == ["spare"]
    assert SECRET not in str(fast)
    refused = show_settings(sources, "gpt")["model"]
    assert refused
    assert refused["refused"]


def test_settings_are_those_that_were_published_last(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    (tmp_path / "config.yaml").write_text(UPSTREAMS)
    reader = SettingsReader({}, tmp_path, shared)
    assert reader.read() is reader.read()
    for port in ("5001", "5002"):
        publish_snapshot(read_layers({"PORT": port}, tmp_path), shared / SNAPSHOT)
        assert reader.read().config.server.port == int(port)
    assert reader.read() is reader.read()
