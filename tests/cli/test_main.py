from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from argoproxy.cli.main import main
from argoproxy.config.values.config_error import ConfigError, explain_refusal
from argoproxy.config.values.flags import FLAGS_VARIABLE, Task, parse_arguments

HERE = Path("/here")
ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("arguments", "added"),
    [
        ([], {FLAGS_VARIABLE: ""}),
        (["--demo"], {"DEMO": "true", FLAGS_VARIABLE: "DEMO"}),
        (["--verbose"], {"VERBOSE": "true", FLAGS_VARIABLE: "VERBOSE"}),
        (["--quiet", "--yes"], {"VERBOSE": "false", FLAGS_VARIABLE: "VERBOSE"}),
        (["my config.yaml"], {"CONFIG_PATH": "/here/my config.yaml", FLAGS_VARIABLE: ""}),
        (["/abs.yaml", "--port", "81"], {"CONFIG_PATH": "/abs.yaml", "PORT": "81", FLAGS_VARIABLE: "PORT"}),
        (
            ["--expose_host", "::1", "--expose_port=82", "--url", "http://up"],
            {"HOST": "::1", "PORT": "82", "TARGET_BASE_URL": "http://up", FLAGS_VARIABLE: "TARGET_BASE_URL,HOST,PORT"},
        ),
        (
            ["--mode", "stream", "--timeout", "60000"],
            {"MODE": "stream", "API_REQUEST_TIMEOUT": "60000ms", FLAGS_VARIABLE: "MODE,API_REQUEST_TIMEOUT"},
        ),
        (["--timeout", "1500.5"], {"API_REQUEST_TIMEOUT": "1500.5ms", FLAGS_VARIABLE: "API_REQUEST_TIMEOUT"}),
        (["--timeout=90s"], {"API_REQUEST_TIMEOUT": "90s", FLAGS_VARIABLE: "API_REQUEST_TIMEOUT"}),
        (
            ["--output_path", "logs", "--compatible"],
            {"OUTPUT_PATH": "logs", "COMPATIBLE": "true", FLAGS_VARIABLE: "COMPATIBLE,OUTPUT_PATH"},
        ),
    ],
)
def test_flags_become_variables(arguments: list[str], added: dict[str, str]) -> None:
    asked = parse_arguments(arguments, "x")
    assert asked.task is Task.SERVE
    assert asked.environment({"A": "b", "PORT": "1"}, HERE) == {"A": "b", "PORT": "1", **added}


@pytest.mark.parametrize(
    ("arguments", "status"),
    [(["--help"], 0), (["--version"], 0), (["--nonsense"], 2), (["--port"], 2), (["--show", "--edit"], 2)],
)
def test_what_ends_at_once(arguments: list[str], status: int, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse_arguments(arguments, "cot_proxy.py")
    assert caught.value.code == status
    shown = capsys.readouterr()
    assert "argoproxy" in shown.out or "cot_proxy.py" in shown.out + shown.err


def run(*arguments: str, folder: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if name == "PATH" or name.startswith("COVERAGE")}
    command = [sys.executable, str(ROOT / "cot_proxy.py"), *arguments]
    return subprocess.run(
        command, cwd=folder, env={**kept, **environ}, capture_output=True, text=True, timeout=30, check=False
    )


def test_a_refused_start_says_why_and_exits_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--port", "x", "--url", "nowhere"])
    assert caught.value.code == 2
    shown = capsys.readouterr().err
    assert shown.startswith("argoproxy can't start:\n  - flag: ")
    assert shown.count("\n  - ") == 2
    assert explain_refusal(ConfigError(["a", "b"])) == "argoproxy can't start:\n  - a\n  - b\n"


def test_show_tells_every_setting_and_where_it_comes_from(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("num_workers: 3\nuser: me # that is me\n")
    ended = run("--port", "81", "--show", folder=tmp_path, OPENAI_API_KEY="sk-very-secret", LLM_PARAMS="odd")
    assert ended.returncode == 0, ended.stderr
    lines = ended.stdout.splitlines()
    for line in (
        "# upstream: Argo at https://apps-dev.inside.anl.gov/argoapi/api/v1/resource/chat/ for me",
        "# warning: OPENAI_API_KEY (environment) is not sent to this upstream: Argo takes no key",
        "port: 81  # flag",
        "num_workers: 3  # config.yaml, line 1",
        'user: "me"  # config.yaml, line 2',
        "openai_api_key: ****  # environment",
        "threads: 1024  # default",
        "target_api_key:   # default",
    ):
        assert line in lines
    assert "sk-very-secret" not in ended.stdout + ended.stderr


@pytest.mark.parametrize(
    ("arguments", "environ", "shown"),
    [
        (
            ["--timeout", "600"],
            {},
            [
                "timeout: 0.6  # flag",
                "first_byte_timeout: 0.6  # timeout (flag)",
                "idle_timeout: 0.6  # timeout (flag)",
                "connect_timeout: 0.6  # timeout (flag)",
            ],
        ),
        (
            ["--timeout", "20s"],
            {"IDLE_TIMEOUT": "5", "CONNECT_TIMEOUT": "30"},
            [
                "first_byte_timeout: 20.0  # timeout (flag)",
                "idle_timeout: 20.0  # timeout (flag)",
                "connect_timeout: 30.0  # environment",
            ],
        ),
        (
            [],
            {"ARGO_BASE_URL": "http://a/argoapi", "ARGO_USER": "me", "ARGO_STREAM_URL": "http://s/"},
            [
                'argo_url: "http://a/argoapi/api/v1/resource/chat/"  # argo_base_url (environment)',
                'argo_stream_url: "http://s/"  # environment',
                'argo_embedding_url: "http://a/argoapi/api/v1/resource/embed/"  # argo_base_url (environment)',
            ],
        ),
    ],
)
def test_show_tells_the_values_that_count(
    tmp_path: Path, arguments: list[str], environ: dict[str, str], shown: list[str]
) -> None:
    ended = run(*arguments, "--show", folder=tmp_path, **environ)
    assert ended.returncode == 0, ended.stderr
    assert not set(shown) - set(ended.stdout.splitlines())


@pytest.mark.parametrize(
    ("timeout", "times"), [("600", 1), ("999.5", 1), ("1000", 0), ("60000", 0), ("600ms", 0), ("90s", 0), ("0", 0)]
)
def test_a_time_out_that_was_probably_meant_as_seconds_is_warned_of(timeout: str, times: int) -> None:
    warnings = parse_arguments(["--timeout", timeout], "x").warnings
    assert len(warnings) == times
    assert all(f"{float(timeout) / 1000:g} seconds" in warning for warning in warnings)


@pytest.mark.parametrize(
    ("words", "task"),
    [
        (["config", "show"], Task.SHOW),
        (["config", "validate", "my.yaml"], Task.VALIDATE),
        (["config", "edit"], Task.EDIT),
        (["reload", "--port", "81"], Task.RELOAD),
    ],
)
def test_words_for_flags(words: list[str], task: Task) -> None:
    assert parse_arguments(words, "x").task is task


def test_show_stars_the_credentials_of_a_url(tmp_path: Path) -> None:
    ended = run("--show", folder=tmp_path, TARGET_BASE_URL="http://me:my-word@up/v1")
    assert 'target_base_url: "http://****@up/v1"  # environment' in ended.stdout.splitlines()
    assert "my-word" not in ended.stdout


def test_validate_tells_all_mistakes_at_once(tmp_path: Path) -> None:
    (tmp_path / "my config.yaml").write_text("port: x\nprot: 81\nuser: cels\nargo_url: nowhere\n")
    ended = run("my config.yaml", "--validate", folder=tmp_path)
    assert ended.returncode == 2
    assert [line.partition(", line ")[2][:1] for line in ended.stderr.splitlines()[1:5]] == ["1", "2", "3", "4"]
    assert "Traceback" not in ended.stderr


def test_validate_calls_malformed_params_a_mistake_which_a_start_lets_pass(tmp_path: Path) -> None:
    ended = run("--validate", folder=tmp_path, LLM_PARAMS="model=a,odd", DEMO="1")
    assert ended.returncode == 2
    assert "'odd'" in ended.stderr


def test_validate_is_content_with_what_is_right(tmp_path: Path) -> None:
    ended = run("--validate", folder=tmp_path, TARGET_BASE_URL="http://up", OPENAI_BASE_URL="http://other")
    assert ended.returncode == 0
    assert ended.stdout.startswith("warning: OPENAI_BASE_URL (environment) is not used")
    assert ended.stdout.endswith("The settings are valid; the upstream is http://up.\n")


def test_edit_opens_the_file_and_serves_nothing(tmp_path: Path) -> None:
    file = tmp_path / "my config.yaml"
    file.write_text("user: me\n")
    ended = run(str(file), "--edit", folder=tmp_path, EDITOR="cat -n")
    assert (ended.returncode, ended.stdout.split()) == (0, ["1", "user:", "me"])
    preferred = run(str(file), "--edit", folder=tmp_path, VISUAL="wc -l", EDITOR="cat")
    assert preferred.stdout.startswith("1 ")


@pytest.mark.parametrize(
    ("file", "environ", "told"),
    [
        ("none.yaml", {"EDITOR": "cat"}, "none.yaml does not exist"),
        ("", {"EDITOR": "no-such-editor"}, "No editor"),
        ("", {"EDITOR": "a 'b"}, "No editor"),
    ],
)
def test_edit_tells_what_is_missing(tmp_path: Path, file: str, environ: dict[str, str], told: str) -> None:
    (tmp_path / "config.yaml").write_text("user: me\n")
    ended = run(*filter(None, [file]), "--edit", folder=tmp_path, **environ)
    assert ended.returncode == 2
    assert told in ended.stderr


KEYED = """
from argoproxy.api import BaseUpstream, UpstreamRequest


class Keyed(BaseUpstream):
    def __init__(self, api_key):
        self.api_key = api_key

    def completion_request(self, call):
        return UpstreamRequest("POST", f"https://keyed/v1/{call.model}:say?alt=sse&key={self.api_key}", (), b"{}", 2)

    read_completion = completion_request
"""


def test_a_key_in_the_url_of_a_class_is_not_shown(tmp_path: Path) -> None:
    (tmp_path / "keyed_of_a_test.py").write_text(KEYED)
    (tmp_path / "config.yaml").write_text("upstreams: {a: {kind: 'keyed_of_a_test:Keyed', api_key: '${K}'}}")
    told = run("--show", "--model", "m", folder=tmp_path, K="k-123456")
    assert "https://keyed/v1/m:say?alt=sse&key=****" in told.stdout


def test_a_reader_that_has_seen_enough_is_no_failure(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "cot_proxy.py"), "--show", "--demo"]
    read, write = os.pipe()
    os.close(read)
    ended = subprocess.run(command, cwd=tmp_path, stdout=write, stderr=subprocess.PIPE, text=True, check=False)
    os.close(write)
    assert (ended.returncode, ended.stderr) == (0, "")
