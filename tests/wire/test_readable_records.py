"""What a person reads of requests is safe to read, on real Gunicorn."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.support.client import ask, chat
from tests.support.fixtures import Serve
from tests.support.processes import ROOT, Proxy, Upstream, eventually, shell
from tests.support.scripts import reply

FORGED = "2026-11-22T00:00:00.000Z request id=FAKE status=200"
NASTY = f"a\x1b[2J\x9b31m\u202e\u2028\n{FORGED}\r\n{FORGED}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("readable")


@pytest.fixture(scope="module")
def door(serve: Serve, upstream: Upstream, folder: Path) -> Proxy:
    return serve(TARGET_BASE_URL=upstream.url, DEBUG="true", OUTPUT_PATH=str(folder))


def test_no_request_can_write_a_line_of_its_own_or_move_the_cursor(
    door: Proxy, upstream: Upstream, folder: Path
) -> None:
    failing = upstream.script(reply("500 Oops", json.dumps({"error": {"message": NASTY, "code": NASTY}}).encode()))
    answers = [
        chat(door.port, model=NASTY),
        chat(door.port, model=NASTY, headers={"X-Request-Id": "\x9b2J\xad", "User-Agent": "\x9b"}),
        chat(door.port, model=NASTY, stream=True, headers={"X-Script": failing}),
        ask(door.port, "GET", "/v1/models/%1b%5b2J%0a2026%c2%9b"),
    ]
    ask(door.port, "GET", "/\x9b2J/\xe2\x80\xae")  # the server refuses this one, and may log it
    for answer in answers:
        assert door.line(answer.id)
        for text in (door.log(), (folder / "log.log").read_text()):
            assert not [line for line in text.split("\n") if not line.isprintable()]
            assert not [line for line in text.split("\n") if line.startswith(FORGED)]


@pytest.mark.parametrize("task", ["tail --no-follow", "stats", "show {id}", "show {id} --curl"])
def test_the_journal_is_shown_without_such_characters(door: Proxy, folder: Path, task: str) -> None:
    answer = chat(door.port, model=NASTY, headers={"X-Request-Id": "\x9b2J"})
    eventually(lambda: answer.id in (folder / "client_interaction.jsonl").read_text())
    command = f"{sys.executable} {ROOT}/cot_proxy.py logs {task.format(id=answer.id)}"
    done = shell(f"{command} --output_path {folder}", ROOT, {"PYTHONIOENCODING": "utf-8"})
    text = done.stdout.decode() + done.stderr.decode()
    assert done.returncode == 0, text
    assert "FAKE" in text or task.startswith(("tail", "stats"))
    assert not [line for line in text.split("\n") if not line.isprintable() or line.startswith(FORGED)]
