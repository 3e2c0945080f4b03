"""Keys that stand where no key belongs, in a path, an id or a model's name, are written nowhere, on real Gunicorn."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.client import Answer, ask, chat
from tests.support.fixtures import Serve
from tests.support.processes import Proxy, Upstream, eventually
from tests.support.scripts import reply

OURS, THEIRS, TARGET = "sk-canary-ours-0123+/=", "sk-canary-theirs-456789", "sk-canary-target-98765"
ESCAPED = "sk-canary-ours-0123%2B%2F%3D"


def requests(proxy: Proxy, key: str, **headers: str) -> list[Answer]:
    """Send a key wherever a clumsy client may put it."""
    sent: Any = {"Authorization": f"Bearer {key}", **headers}
    port = proxy.port
    return [
        ask(port, "GET", f"/v1/models/{key}", **sent),
        ask(port, "GET", f"/{key}/x", **sent),
        ask(port, "GET", f"/v1/x?key={key}", **sent),
        ask(port, "GET", "/v1/x", **{**sent, "X_Request_Id": f"id-{key}"}),
        ask(port, "GET", f"/v1/%20{key}", **{**sent, "X_API_Key": key}),
        chat(port, model=key, headers=sent),
        chat(port, model=f"openai/{key}", stream=True, headers=sent),
        chat(port, messages=[{"role": "user", "content": key}], headers=sent),
    ]


@pytest.mark.parametrize("debug", ["true", "false"])
def test_keys_of_ours_and_of_clients_are_starred_everywhere(
    serve: Serve, upstream: Upstream, tmp_path: Path, debug: str
) -> None:
    proxy = serve(
        TARGET_BASE_URL=upstream.url,
        TARGET_API_KEY=TARGET,
        ENABLE_AUTH="true",
        API_KEY_SECRET=OURS,
        METRICS_OPEN="true",
        OUTPUT_PATH=str(tmp_path),
        DEBUG=debug,
    )
    answers = [
        *requests(proxy, OURS),
        *requests(proxy, TARGET),
        *requests(proxy, TARGET, Authorization=f"Bearer {OURS}"),
        *requests(proxy, THEIRS, X_API_Key=OURS),
        *requests(proxy, THEIRS),
        ask(proxy.port, "GET", f"/v1/models/{ESCAPED}"),
        ask(proxy.port, "GET", f"/{ESCAPED}/x", Authorization=f"Bearer {OURS}"),
    ]
    check_that_no_key_stands_there(proxy, tmp_path, answers)


def test_keys_of_clients_are_starred_where_none_is_asked_for(serve: Serve, upstream: Upstream, tmp_path: Path) -> None:
    proxy = serve(TARGET_BASE_URL=upstream.url, OUTPUT_PATH=str(tmp_path))
    failing = upstream.script(reply("500 Oops", f'{{"error": {{"message": "{THEIRS}"}}}}'.encode()))
    answers = [*requests(proxy, THEIRS), *requests(proxy, THEIRS, X_Script=failing)]
    check_that_no_key_stands_there(proxy, tmp_path, answers)


def check_that_no_key_stands_there(proxy: Proxy, folder: Path, answers: list[Answer]) -> None:
    """Wait until every request is written down; then look for keys in the log, the journal and the metrics."""
    journal = folder / "client_interaction.jsonl"
    for answer in answers:
        eventually(lambda answer=answer: answer.id in proxy.log() and answer.id in journal.read_text())  # type: ignore[misc]
    metrics = ask(proxy.port, "GET", "/metrics").body.decode()
    summary = ask(proxy.port, "GET", "/metrics", Accept="application/json").body.decode()
    for text in (proxy.log(), metrics, summary, *(file.read_text() for file in folder.iterdir())):
        assert [line for line in text.splitlines() if "canary" in line] == []


@pytest.mark.parametrize("name", ["X-Passwd", "X-Signature", "X-Auth-Id", "App-Key"])
def test_secret_headers_of_an_upstream_are_starred_where_it_echoes_them(
    start: Serve, upstream: Upstream, tmp_path: Path, name: str
) -> None:
    config, folder = tmp_path / "config.yaml", tmp_path / "logs"
    settings = {"base_url": upstream.url, "headers": {name: "canary-of-ours", "X-Title": "seen-by-all"}}
    config.write_text(json.dumps({"upstreams": {"a": settings}, "output_path": str(folder)}))
    proxy = start(CONFIG_PATH=str(config))
    echoed = ask(proxy.port, "GET", "/v1/echo")
    assert b"canary" not in echoed.body
    assert b"seen-by-all" in echoed.body
    script = upstream.script(reply("500 Oops", b'{"error": {"message": "canary-of-ours"}}', X_Echo="canary-of-ours"))
    failed = chat(proxy.port, headers={"X-Script": script})
    assert (failed.json["error"]["message"], failed.header("X-Echo")) == (14 * "*", 14 * "*")
    check_that_no_key_stands_there(proxy, folder, [echoed, failed])
