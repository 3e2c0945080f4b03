"""`keys` as an operator types it: one process, what it prints, and its exit status."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import pytest

from argoproxy.cli.keys import keys_command
from argoproxy.protocol.limits.limits import Claim, LimitKind
from argoproxy.stores.limit_store import LedgerEntry, Reservation
from argoproxy.stores.local.local_limits import LocalLimits

TOKEN = re.compile(r"ap_[0-9A-Za-z]{12}_[0-9A-Za-z]{43}")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("STATE_PATH", "CONFIG_PATH"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


class Command:
    """Runs `keys …` and keeps what it printed."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, words: str, status: int = 0, settings: str = "--state_path state") -> str:
        assert keys_command.main([*words.split(), *settings.split()], "argoproxy keys") == status
        printed = self._capsys.readouterr()
        self.error = printed.err
        return printed.out


@pytest.fixture
def keys(capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(capsys)


def test_a_key_alone_is_on_standard_output(keys: Command) -> None:
    created = keys("create bob --models qwen*,m1 --expires 90d --note mail=bob@example.org")
    assert TOKEN.fullmatch(created.strip())
    assert "bob" in keys.error
    rotated = keys("rotate bob --overlap 24h")
    assert TOKEN.fullmatch(rotated.strip())
    assert rotated != created


def test_what_is_shown_holds_no_key(keys: Command) -> None:
    created = keys("create bob --note mail=bob@example.org").strip()
    keys("set bob --models a,b --expires never")
    for words in ("list", "show bob", "list --json", "show bob --json", "export", "disable bob", "set bob --enable"):
        shown = keys(words)
        assert "bob" in shown
        assert created not in shown
        assert created.rpartition("_")[2] not in shown
    shown = keys("show bob")
    assert "mail: bob@example.org" in shown
    assert [line.split()[1] for line in shown.splitlines()[3:]] == ["enable", "disable", "set", "create"]


def test_json(keys: Command) -> None:
    created = json.loads(keys("create bob --json --models a"))
    assert TOKEN.fullmatch(created["key"])
    assert (created["name"], created["models"]) == ("bob", ["a"])
    listed = json.loads(keys("list --json"))
    assert [key["name"] for key in listed["data"]] == ["bob"]
    assert json.loads(keys("disable bob --json"))["state"] == "disabled"


def test_limits(keys: Command) -> None:
    keys("create bob --rpm 60 --budget 5.00/month --reserve max --model-limit gpt-*:rpm=5,budget=1/day")
    assert "rpm=60,budget=5/month,reserve=max gpt-*:rpm=5,budget=1/day" in keys("list")
    words = "--rpm none --concurrent 4 --model-limit gpt-*:rpm=none --model-limit qwen:8b:tpm=9"
    shown = json.loads(keys(f"set bob {words} --json"))
    assert {name: shown[name] for name in ("rpm", "tpm", "concurrent", "budget", "reserve", "model_limits")} == {
        "rpm": None,
        "tpm": None,
        "concurrent": 4,
        "budget": "5/month",
        "reserve": "max",
        "model_limits": {"gpt-*": {"budget": "1/day"}, "qwen:8b": {"tpm": 9}},
    }
    assert "set by" in keys("show bob")
    history = json.loads(keys("show bob --json"))["history"]
    assert history[0]["changed"] == ["rpm", "concurrent", "model_limits"]
    words = "--model-limit gpt-*:none --model-limit qwen:8b:rpm=1 --model-limit qwen:8b:tpm=2"
    shown = json.loads(keys(f"set bob {words} --json"))
    assert shown["model_limits"] == {"qwen:8b": {"rpm": 1, "tpm": 2}}


def test_limits_are_exported(keys: Command, folder: Path) -> None:
    keys("create ann --rpm 60 --model-limit m*:rpm=5 --reserve expected")
    (folder / "ann.json").write_text(keys("export"))
    keys("set ann --rpm 7 --tpm 7 --reserve none")
    keys("import ann.json")
    assert "rpm=60,reserve=expected m*:rpm=5" in keys("list")


def claim(row: str, nanos: int, ends_at: float | None) -> Claim:
    return Claim(row, LimitKind.BUDGET, row.rpartition("/budget/")[0], 10**12, nanos, ends_at)


def test_what_is_spent(keys: Command, folder: Path) -> None:
    (folder / "team.json").write_text('{"teams": [{"name": "t"}], "keys": [{"name": "bob", "team": "t"}]}')
    keys("import team.json")
    keys("create eve")
    bob = json.loads(keys("show bob --json"))
    assert bob["spent"] == []
    own, now = f"key:{bob['id']}", time.time()
    store = LocalLimits(folder / "state")
    claims = [
        claim(f"{own}/budget/2026-10", 1, now - 10),
        claim(f"{own}/budget/2026-11", 1_230_000_000, now + 1000),
        claim(f"{own}/model:a/b*/budget/total", 5, None),
        Claim(f"{own}/rpm", LimitKind.RPM, own, 60, 1),
        claim(f"{own}x/budget/total", 1, None),
        claim("team:t/budget/2026-W48", 2_000_000_000, now + 1000),
        claim("team:ta/budget/total", 1, None),
    ]
    entry = LedgerEntry("1", now, bob["id"], "bob", "t", "m1", "main")
    assert store.admit(Reservation(claims, entry, 0), now).refused is None
    store.flush()
    spent = json.loads(keys("show bob --json"))["spent"]
    assert [(one["of"], one["models"], one["period"], one["amount"], one["ends"] is None) for one in spent] == [
        ("key", None, "2026-11", "1.23", False),
        ("key", "a/b*", "total", "0.000000005", True),
        ("team", None, "2026-W48", "2", False),
    ]
    shown = keys("show bob")
    assert "budget of the key, 2026-11: 1.23 spent, until 20" in shown
    assert "budget of the key for a/b*, total: 0.000000005 spent\n" in shown
    assert "spent" not in keys("show eve")
    store.close()
    (folder / "state" / "usage.sqlite3").write_bytes(b"x" * 8192)
    assert "spent" not in keys("show bob")
    assert "can't be read now" in keys.error


@pytest.mark.parametrize(
    "words",
    ["--rpm -5", "--rpm 5.5", "--tpm many", "--budget 5", "--budget 5/year", "--reserve most", "--model-limit m:rpn=5"],
)
def test_limits_that_are_none(keys: Command, words: str) -> None:
    keys(f"create bob {words}", status=2)
    assert words.split(maxsplit=1)[0].strip("-").partition("-")[0] in keys.error


@pytest.mark.parametrize("limit", ["m", "m:5", "rpm=5", ":"])
def test_words_that_are_no_limits_of_models(keys: Command, limit: str) -> None:
    with pytest.raises(SystemExit):
        keys(f"create bob --model-limit {limit}")
    assert "error" not in keys("list", status=1)


def test_export_and_import(keys: Command, folder: Path) -> None:
    keys("create ann")
    keys("create bob")
    (folder / "ann.json").write_text(keys("export").replace('"bob"', '"eve"'))
    keys("disable ann")
    assert keys("import ann.json", status=2) == "", "two keys with the same text"
    document = json.loads((folder / "ann.json").read_text())
    document["keys"] = [key for key in document["keys"] if key["name"] == "ann"]
    (folder / "ann.json").write_text(json.dumps(document))
    assert json.loads(keys("import ann.json --prune")) == {"created": [], "changed": ["ann", "bob"]}
    assert re.findall(r"(\w+) +\w{12} +(\w+)", keys("list")) == [("ann", "active"), ("bob", "disabled")]
    (folder / "broken.json").write_text("{")
    for name in ("broken.json", "none.json"):
        keys(f"import {name}", status=2)
        assert name in keys.error


def test_refusals(keys: Command) -> None:
    keys("list", status=1)
    keys("create bob")
    keys("create bob", status=1)
    keys("show eve", status=2)
    keys("create eve --expires soon", status=2)
    keys("set bob", status=2)
    keys("rotate bob --overlap 1h")
    keys("rotate bob --overlap 1h", status=1)
    keys("rotate bob --overlap 1h --replace-new")
    for words in ("rotate bob --overlap soon", "create bob --note x", "unknown", ""):
        with pytest.raises(SystemExit) as caught:
            keys(words)
        assert caught.value.code == 2


def test_the_folder_of_the_settings(keys: Command, folder: Path) -> None:
    keys("list", status=2, settings="")
    (folder / "config.yaml").write_text("target_base_url: http://localhost:8000/v1\nstate_path: kept\n")
    keys("create bob", settings="")
    assert "enable_auth" in keys.error
    (folder / "config.yaml").rename(folder / "other.yaml")
    assert "bob" in keys("list", settings="--config other.yaml")
    keys("list", status=2, settings="--config missing.yaml")
    assert min(file.name for file in (folder / "kept").iterdir()) == "keys.json"


def test_an_empty_list(keys: Command, folder: Path) -> None:
    keys("create bob")
    (folder / "empty.json").write_text("{}")
    keys("import empty.json --state_path fresh", settings="")
    assert keys("list", settings="--state_path fresh") == ""
    assert keys.error
