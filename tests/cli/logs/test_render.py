from __future__ import annotations

import json
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest

from argoproxy.cli.logs.render import full_request
from argoproxy.telemetry.journal.curl import MAX_ARGUMENT_BYTES, NotRepeatable, curl_command
from tests.support.journals import client_line


def shown(client: Any, *servers: Any) -> str:
    return "\n".join(full_request(client, servers))


def test_both_sides_are_shown_in_full() -> None:
    text = shown(
        client_line("abc", client_request_id="", key="team", usage={"prompt_tokens": 1}),
        client_line("abc", output={"error": {"message": "no streams", "code": "nope"}}, ending="upstream_error"),
        client_line("abc", upstream="other"),
    )
    for part in ("=== client ===", "=== upstream, request 1 of 2 ===", "=== upstream, request 2 of 2 ==="):
        assert part in text
    assert "\nlogging_id     abc\n" in text
    assert '\nusage          {"prompt_tokens": 1}\n' in text
    assert "\nerror          no streams (nope)\n" in text
    assert '\ninput:\n{\n  "model": "gpt-4o",\n' in text
    assert "client_request_id" not in text


@pytest.mark.parametrize(
    ("error", "summary"),
    [("words", "words"), ({"message": "m"}, "m"), ({"code": 5}, " (5)"), (["odd"], '["odd"]')],
)
def test_errors_of_any_shape_are_summarized(error: Any, summary: str) -> None:
    assert f"\nerror          {summary}\n".replace("  " * 8, " ") in shown(client_line("a", output={"error": error}))


def test_a_missing_side_is_named() -> None:
    assert "=== client: no line" in shown(None, client_line("a"))
    assert "=== upstream: no request was sent ===" in shown(client_line("a"))
    assert "input" not in shown({"logging_id": "a"})
    assert shown({}, {}).count("===") == 4


def test_nothing_shown_moves_the_cursor() -> None:
    text = shown(client_line("a", model="\x1b[2J\x9b1m", output={"a": "\x1b\x9b\u202e\ud800\né"}))
    assert text.replace("\n", "").replace("é", "").isascii()
    assert text.replace("\n", "").isprintable()
    assert '"a": "\\u001b\\u009b\\u202e\\ud800\\né"' in text


def ran(command: str, folder: Path) -> list[str]:
    """Run a command in a shell in which curl tells what it was given: its arguments, then what came in."""
    fake = folder / "curl"
    fake.write_text(
        '#!/bin/sh\nfor word; do printf "%s\\0" "$word"; [ "$word" = @- ] && cat && printf "\\0"; done\nexit 0\n'
    )
    fake.chmod(0o755)
    environ = {"PATH": f"{folder}:/usr/bin:/bin", "API_KEY": "sk-mine"}
    output = subprocess.run("sh", input=command, env=environ, stdout=subprocess.PIPE, check=True, text=True).stdout
    return output.split("\0")[:-1]


BODIES: list[Any] = [
    {"model": "x", "messages": [{"role": "user", "content": 'it\'s "$HOME" `ls` \\ \n é END_OF_BODY'}]},
    {"content": "it's $HOME `ls` \n" * MAX_ARGUMENT_BYTES},
    "text",
    [],
]


@pytest.mark.parametrize("body", BODIES, ids="quotes long text list".split())
def test_a_request_is_sent_again_as_it_was(tmp_path: Path, body: Any) -> None:
    words = ran(curl_command(client_line("a", input=body, key="team"), 5001), tmp_path)
    assert words[:2] == ["-N", "http://localhost:5001/v1/chat/completions"]
    assert words[2:6] == ["-H", "Authorization: Bearer sk-mine", "-H", "Content-Type: application/json"]
    assert json.loads(words[-1]) == body


@pytest.mark.parametrize(
    ("fields", "command"),
    [
        ({"input": None, "method": "GET", "path": "/v1/models"}, "curl http://localhost:5000/v1/models"),
        ({"input": None, "method": "DELETE", "path": "/a b"}, "curl http://localhost:5000/a%20b \\\n  -X DELETE"),
        (
            {"input": {"a": 1}, "method": "PUT", "path": "/x"},
            "curl http://localhost:5000/x \\\n  -X PUT \\\n  -H 'Content-Type: application/json' \\\n"
            "  --data-raw '{\"a\":1}'",
        ),
    ],
)
def test_other_methods_and_no_body(fields: dict[str, Any], command: str) -> None:
    assert curl_command(client_line("a", return_mode="", **fields), 5000) == command


def test_a_body_that_is_not_in_the_journal_can_not_be_sent_again() -> None:
    with pytest.raises(NotRepeatable):
        curl_command(client_line("a", input={"bytes": 12}), 5000)


def test_a_command_shows_no_character_that_moves_the_cursor_and_sends_the_same() -> None:
    body = {"model": "\x9b2J", "messages": [{"role": "user", "content": "\u202e\x1b it's\n\ud800 \U000e0041"}]}
    path = "/v1/chat/\x9b%e9\x1b"
    command = curl_command(client_line("a", input=body, path=path, method="P\x9bT"), 5000)
    assert all(character.isprintable() or character == "\n" for character in command)
    words = shlex.split(command.replace("\\\n", ""))
    assert json.loads(words[words.index("--data-raw") + 1]) == body
    assert words[2] == "http://localhost:5000/v1/chat/%9B%e9%1B"
    assert "/%E2%80%AE" in curl_command(client_line("a", path="/\u202e"), 5000)
