"""`keys:`, `teams:` and what they need."""

from __future__ import annotations

from pathlib import Path

from argoproxy.config.config import show
from tests.support.configs import find_mistakes_in, load_text

BASE = "target_base_url: http://localhost:8000/v1\nenable_auth: true\nstate_path: state\n"
FILE = f"""{BASE}admin_key: ${{ADMIN}}
teams:
  research: {{models: ["qwen*"], metadata: {{room: 12}}}}
keys:
  ann: {{team: research, expires: 2099-12-31}}
  bob: {{key: "${{BOB}}", disabled: true}}
  eve:
"""
SECRETS = {"ADMIN": "canary-admin-0123456789", "BOB": "canary-bob-0123456789"}


def test_what_the_file_declares(tmp_path: Path) -> None:
    managed = load_text(tmp_path, FILE.replace("${ADMIN}", SECRETS["ADMIN"]), **SECRETS).managed
    assert managed is not None
    assert managed.folder == tmp_path / "state"
    assert [(key.name, dict(key.attributes), key.text is None) for key in managed.keys] == [
        ("ann", {"team": "research", "expires": 4102444800.0}, True),
        ("bob", {"is_disabled": True}, False),
        ("eve", {}, True),
    ]
    (team,) = managed.teams
    assert (team.models, team.metadata, team.is_declared) == (("qwen*",), {"room": 12}, True)
    assert {secret.text for secret in managed.secrets} == set(SECRETS.values())


def test_a_key_for_commands(tmp_path: Path) -> None:
    text = f"{BASE}keys:\n  bob: {{key: k-0123456789abcdef, disabled: true}}\n"
    assert load_text(tmp_path, text).own_key == ""
    assert load_text(tmp_path, f"{text}  ann: {{key: k-ann-0123456789ab}}\n").own_key == "k-ann-0123456789ab"
    assert load_text(tmp_path, text, API_KEY_SECRET="ann=k-static-0123").own_key == "k-static-0123"
    assert load_text(tmp_path, text, ENABLE_AUTH="false", API_KEY_SECRET="ann=k-static-0123").own_key == ""


def test_no_secret_is_shown(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(FILE.replace("${ADMIN}", SECRETS["ADMIN"]).replace("${BOB}", SECRETS["BOB"]))
    assert "canary" not in "\n".join(show({}, tmp_path))


def test_no_random_key_beside_managed_ones(tmp_path: Path) -> None:
    assert load_text(tmp_path, BASE, ARGOPROXY_RANDOM_KEY="sk-made").keys == ()


def mistakes(folder: Path, text: str) -> str:
    (mistake,) = find_mistakes_in(folder, text)
    assert "0123456789" not in mistake
    return mistake


def test_mistakes_are_named_with_their_line(tmp_path: Path) -> None:
    def of_keys(text: str) -> str:
        return mistakes(tmp_path, f"{BASE}keys:\n  bob: {text}\n")

    assert of_keys("{team: none}").startswith("config.yaml, line 5: keys.bob.team names 'none'")
    assert of_keys("{key: short}").startswith("config.yaml, line 5: keys.bob.key must be a text")
    assert of_keys("{key: your_secret_api_key_here}").startswith("config.yaml, line 5: keys.bob.key is a placeholder")
    assert "never be over" not in of_keys("{expires: 90d}")
    assert "line 5: keys.bob.unknown is not a key here" in of_keys("{unknown: 1}")
    assert "must be a name" in mistakes(tmp_path, f"{BASE}keys:\n  b b:\n")
    assert "must be a name" in mistakes(tmp_path, f"{BASE}teams:\n  b b:\n")
    assert "admin_key must have" in mistakes(tmp_path, f"{BASE}admin_key: short\n")


def test_what_excludes_and_needs_what(tmp_path: Path) -> None:
    plain = "target_base_url: http://localhost:8000/v1\n"
    for key in ("keys: {bob: }", "teams: {t: }"):
        assert "needs state_path" in mistakes(tmp_path, f"{plain}{key}\n")
    assert "needs enable_auth" in mistakes(tmp_path, f"{plain}state_path: x\nadmin_key: k-0123456789abcdef\n")
    text = f"{plain}state_path: x\nauthenticate: a.b:C\nkeys: {{bob: }}\n"
    assert "exclude each other" in mistakes(tmp_path, text)
