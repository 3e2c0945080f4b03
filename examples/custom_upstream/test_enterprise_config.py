"""The file of the example is held against its classes."""

from __future__ import annotations

import importlib
import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from enterprise_auth import SignedRequests
from enterprise_callers import Tokens
from enterprise_redaction import REDACTED, Redaction, Text
from enterprise_upstream import Enterprise
from enterprise_usage import UsageLog

HERE = Path(__file__).resolve().parent
SECRETS = {"ENTERPRISE_SECRET": "the secret of the enterprise", "ENTERPRISE_JWT_SECRET": "x" * 32}


@pytest.fixture
def config(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    monkeypatch.chdir(tmp_path)
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    return yaml.safe_load(os.path.expandvars((HERE / "config.yaml").read_text()))


def made(name: str, options: dict[str, Any]) -> Any:
    module, _, member = name.partition(":")
    return getattr(importlib.import_module(module), member)(**options)


def test_every_class_takes_its_options(config: Any, tmp_path: Path) -> None:
    entry = config["upstreams"]["enterprise"]
    assert isinstance(made(entry["kind"], {"base_url": entry["base_url"], **entry["options"]}), Enterprise)
    assert isinstance(made(entry["auth"]["class"], entry["auth"]["options"]), SignedRequests)
    assert isinstance(made(config["authenticate"]["class"], config["authenticate"]["options"]), Tokens)
    (listener,) = config["listeners"]
    assert isinstance(made(listener["class"], listener["options"]), UsageLog)
    assert (tmp_path / "usage.jsonl").exists()


@pytest.mark.parametrize(
    "secret", ["ann.lee+x@mail.example.com", "4111 1111 1111 1111", "4111-1111-1111-1111", "378282246310005"]
)
def test_the_patterns_redact(config: Any, secret: str) -> None:
    options = config["upstreams"]["enterprise"]["options"]
    text = Text(Redaction.parse(options["redact"], 64))
    assert text.feed(f"It is {secret}, as of 2026-11-21 10:00.") + text.finish() == (
        f"It is {REDACTED}, as of 2026-11-21 10:00."
    )


def test_the_readme_names_every_file_and_secret() -> None:
    readme = (HERE / "README.md").read_text()
    for file in HERE.glob("*.*"):
        if file.suffix != ".jsonl" and not file.name.startswith(("test_", "README")):
            assert f"`{file.name}`" in readme or f"/{file.name}" in readme, file.name
    named = set(re.findall(r"\$\{(\w+)\}", (HERE / "config.yaml").read_text()))
    assert named == set(SECRETS)
    assert all(name in readme for name in named)
