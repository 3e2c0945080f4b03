from __future__ import annotations

from pathlib import Path

import pytest

from argoproxy.cli import environment, main, refusal
from argoproxy.config import FLAGS_VARIABLE
from argoproxy.errors import ConfigError

HERE = Path("/here")


@pytest.mark.parametrize(
    ("arguments", "added"),
    [
        ([], {FLAGS_VARIABLE: ""}),
        (["--demo"], {"DEMO": "true", FLAGS_VARIABLE: "DEMO"}),
        (["my config.yaml"], {"CONFIG_PATH": "/here/my config.yaml", FLAGS_VARIABLE: ""}),
        (["/abs.yaml", "--port", "81"], {"CONFIG_PATH": "/abs.yaml", "PORT": "81", FLAGS_VARIABLE: "PORT"}),
        (
            ["--expose_host", "::1", "--expose_port=82", "--url", "http://up"],
            {"HOST": "::1", "PORT": "82", "TARGET_BASE_URL": "http://up", FLAGS_VARIABLE: "TARGET_BASE_URL,HOST,PORT"},
        ),
    ],
)
def test_flags_become_variables(arguments: list[str], added: dict[str, str]) -> None:
    assert environment(arguments, {"A": "b", "PORT": "1"}, HERE) == {"A": "b", "PORT": "1", **added}


@pytest.mark.parametrize(
    ("arguments", "status"), [(["--help"], 0), (["--version"], 0), (["--nonsense"], 2), (["--port"], 2)]
)
def test_what_ends_at_once(arguments: list[str], status: int, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        environment(arguments, {}, HERE)
    assert caught.value.code == status
    shown = capsys.readouterr()
    assert "argoproxy" in shown.out or "cot_proxy.py" in shown.out + shown.err


def test_a_refused_start_says_why_and_exits_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--port", "x", "--url", "nowhere"])
    assert caught.value.code == 2
    shown = capsys.readouterr().err
    assert shown.startswith("argoproxy can't start:\n  - flag: ")
    assert shown.count("\n  - ") == 2
    assert refusal(ConfigError(["a", "b"])) == "argoproxy can't start:\n  - a\n  - b\n"
