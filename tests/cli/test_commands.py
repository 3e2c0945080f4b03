"""The words of the command line: which command they reach, what is written where, exit statuses."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from argoproxy.cli.commands import COMMANDS, help_text
from argoproxy.config.config import load
from argoproxy.config.values.settings import SETTINGS
from tests.support.fixtures import Serve
from tests.support.processes import ROOT, Upstream, clean_environment, free_port, spawn

PAGE = (ROOT / "docs" / "cli.md").read_text()
#: What is left alone until a command needs it.
HEAVY = {"argparse", "dataclasses", "pathlib", "yaml", "json", "argoproxy.config.values.settings", "argoproxy.config"}
COMMENT_OFF = re.compile(r"(?m)^#(?=\w|  )")


def run(
    *arguments: str, folder: Path, program: str = "cot_proxy.py", **environ: str
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *((str(ROOT / program),) if program != "-m" else ("-m", "argoproxy")), *arguments]
    variables = {**clean_environment(), "PYTHONPATH": str(ROOT), **environ}
    return subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, timeout=60, check=False)


def test_help_imports_next_to_nothing(tmp_path: Path) -> None:
    code = f"""
import sys
sys.argv = ["argoproxy", "--help"]
from argoproxy.cli.main import run
try:
    run()
finally:
    print({HEAVY} & set(sys.modules), len(sys.modules), file=sys.stderr)
"""
    command = [sys.executable, "-S", "-c", code]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0
    found, _, count = ended.stderr.strip().rpartition(" ")
    assert found == "set()"
    assert int(count) < 100
    assert all(f"  {name} " in ended.stdout for name in COMMANDS)


def test_help_names_every_flag() -> None:
    flags = {name for setting in SETTINGS for flag in setting.flags for name in flag.names}
    assert flags - set(re.findall(r"--[\w-]+", help_text("argoproxy"))) <= {"--output-path"}


@pytest.mark.parametrize("program", ["cot_proxy.py", "app.py", "argo-proxy", "-m"])
def test_every_way_in_takes_the_same_words(tmp_path: Path, program: str) -> None:
    old, new = (
        run("--show", "--demo", folder=tmp_path, program=program),
        run("config", "show", "--demo", folder=tmp_path, program=program),
    )
    assert (old.returncode, old.stderr) == (0, "")
    assert old.stdout == new.stdout
    assert "demo: true  # flag\n" in old.stdout


@pytest.mark.parametrize(
    ("word", "nearest"),
    [("docter", "doctor"), ("model", "models"), ("sevre", "serve"), ("Config", "config"), ("relaod", "reload")],
)
def test_an_unknown_word_is_no_config_file(tmp_path: Path, word: str, nearest: str) -> None:
    ended = run(word, folder=tmp_path)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert re.search(rf"{word}.* did you mean cot_proxy.py {nearest}\?$", ended.stderr.strip())


def test_a_word_that_names_a_file_is_one(tmp_path: Path) -> None:
    (tmp_path / "settings").write_text("demo: maybe\n")
    assert "settings, line 1" in run("settings", folder=tmp_path).stderr
    for missing in ("none.yaml", "./none"):
        ended = run(missing, folder=tmp_path)
        assert ended.returncode == 2
        assert "does not exist" in ended.stderr


def test_a_command_comes_first(tmp_path: Path) -> None:
    ended = run("--port", "81", "doctor", folder=tmp_path)
    assert ended.returncode == 2
    assert "doctor must come first" in ended.stderr


def test_a_taken_port_has_a_status_and_a_line_of_its_own(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = run("serve", "--demo", "--host", "127.0.0.1", "--port", str(port), folder=tmp_path)
    assert (ended.returncode, ended.stdout) == (3, "")
    (line,) = ended.stderr.splitlines()
    assert f"port {port} is taken by " in line
    assert f"(process {os.getpid()})" in line
    assert re.search(r"--port \d+ is free$", line)


def test_settings_are_shown_as_json(tmp_path: Path) -> None:
    ended = run("config", "show", "--json", "--port", "81", folder=tmp_path, TARGET_API_KEY="sk-very-secret")
    document = json.loads(ended.stdout)
    settings = {one["key"]: one for one in document["settings"]}
    assert settings["port"] == {"key": "port", "value": 81, "place": "flag"}
    assert settings["target_api_key"]["value"] == "****"
    assert settings["openai_api_key"]["value"] is None
    assert "sk-very-secret" not in ended.stdout
    model = json.loads(run("config", "show", "--model", "m", "--json", "--demo", folder=tmp_path).stdout)
    assert model["routes"][0]["upstream"] == "demo"


def test_a_first_config_file_is_written_once(tmp_path: Path) -> None:
    first = run("config", "init", "--url", "http://up:1/v1", "--mode", "stream", folder=tmp_path)
    assert (first.returncode, first.stdout) == (0, "")
    text = (tmp_path / "config.yaml").read_text()
    config = load({}, tmp_path)
    assert (config.target.description, config.server.host, config.warnings) == ("http://up:1/v1", "127.0.0.1", ())
    again = run("config", "init", "--demo", folder=tmp_path)
    assert again.returncode == 2
    assert "exists already" in again.stderr
    assert (tmp_path / "config.yaml").read_text() == text
    assert run("config", "validate", folder=tmp_path).returncode == 0


def test_what_a_first_config_file_leaves_out_is_valid_too(tmp_path: Path) -> None:
    assert run("config", "init", "new.yaml", "--demo", folder=tmp_path).returncode == 0
    text = (tmp_path / "new.yaml").read_text()
    (tmp_path / "config.yaml").write_text(COMMENT_OFF.sub("", text))
    config = load({"ARGOPROXY_RANDOM_KEY": "sk-random"}, tmp_path)
    assert config.requires_key
    assert {rule.name for rule in config.rules} == {"qwen*", "quick"}


def test_a_file_that_cant_be_written_is_told(tmp_path: Path) -> None:
    ended = run("config", "init", "no/such/folder.yaml", folder=tmp_path)
    assert ended.returncode == 2
    assert "can't be written" in ended.stderr


def test_models_come_from_the_running_proxy_or_from_the_upstream(
    start: Serve, upstream: Upstream, tmp_path: Path
) -> None:
    (tmp_path / "config.yaml").write_text("models:\n  quick: {upstream_model_name: m1}\n")
    asked = run("models", "--json", "--url", upstream.url, folder=tmp_path)
    assert asked.returncode == 0, asked.stderr
    entries = {entry["id"]: entry for entry in json.loads(asked.stdout)["data"]}
    assert entries["quick"]["upstream_model"] == "m1"
    assert {"m1", "m2", "quick"} == set(entries)
    proxy = start(TARGET_BASE_URL=upstream.url, ENABLE_AUTH="true", API_KEY_SECRET="sk-mine")
    environ = {"ENABLE_AUTH": "true", "API_KEY_SECRET": "sk-mine", "HOST": "127.0.0.1", "DEMO": "true"}
    running = run("models", "--port", str(proxy.port), folder=tmp_path, **environ)
    assert running.returncode == 0, running.stderr
    assert [line.split()[0] for line in running.stdout.splitlines()] == ["m1", "m2", "quick"]


def test_models_of_an_endpoint_that_is_not_there_are_an_error(tmp_path: Path) -> None:
    ended = run("models", "--url", f"http://127.0.0.1:{free_port()}/v1", folder=tmp_path)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "nothing listens" in ended.stderr
    assert "fix: " in ended.stderr


def test_an_interrupted_command_ends_quietly(tmp_path: Path) -> None:
    code = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "from argoproxy.cli import commands, main; import os; "
        "commands.Command.run = lambda *_: os.kill(os.getpid(), signal.SIGINT) or signal.pause(); "
        "main.main(['models'], 'argoproxy')"
    )
    process = spawn([sys.executable, "-c", code], cwd=ROOT, stderr=subprocess.PIPE, text=True)
    _, shown = process.communicate(timeout=60)
    assert (process.returncode, shown) == (130, "")


def test_the_page_names_every_command_and_status() -> None:
    rows = re.findall(r"(?m)^\| `([^|]*)` \|", PAGE)
    named = {word.strip("` ").split()[0] for row in rows for word in row.split("`, `")}
    assert set(COMMANDS) <= named
    assert re.findall(r"(?m)^\| (\d+) \|", PAGE) == ["0", "1", "2", "3", "130"]
    assert "0 done, 1 failed, 2 wrong settings or usage, 3 port taken" in help_text("argoproxy")
