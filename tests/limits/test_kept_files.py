"""What is kept beside the counters: nothing where nothing is limited, for its owner only, and no secret."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from tests.limits.limited import ADMIN_KEY, Limited, StartLimited, run
from tests.support.client import ask, chat
from tests.support.fixtures import Serve
from tests.support.processes import Upstream

PRIVATE = 0o600


@pytest.mark.parametrize("kept", [{}, {"API_KEY_SECRET": "k-static-0123456789", "ENABLE_AUTH": "true"}])
def test_nothing_is_opened_where_nothing_is_limited(
    start: Serve, upstream: Upstream, tmp_path: Path, kept: dict[str, str]
) -> None:
    proxy = start(TARGET_BASE_URL=upstream.url, WORKERS="4", **kept)
    headers = {"Authorization": "Bearer k-static-0123456789"}
    answers = [chat(proxy.port, headers=headers) for _ in range(16)]
    assert {answer.status for answer in answers} == {200}
    assert not any("sqlite" in name for _, name in proxy.open_files())
    assert not list(tmp_path.rglob("*.sqlite3*"))
    for answer in answers:
        assert not any(header.lower().startswith("x-ratelimit") for header, _ in answer.headers)


def test_limits_without_a_state_path_leave_no_file(limited_with: StartLimited, tmp_path: Path) -> None:
    limited = limited_with(state_path=None, admin_key=None, prices=None, models={"m1": {"rpm": 3}})
    key = "k-static-0123456789"
    assert [limited.chat(key).status for _ in range(5)].count(200) == 3
    assert not list(tmp_path.rglob("*.sqlite3*"))


def test_files_are_for_their_owner_only(limited: Limited, name: str) -> None:
    key = limited.new_key(name, budget="5/month")
    assert limited.chat(key).status == 200
    limited.settled(name, 1)
    files = [file for file in limited.state.glob("usage.sqlite3*") if file.is_file()]
    assert files
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {PRIVATE}


def test_no_secret_is_kept_or_told(limited: Limited, name: str) -> None:
    key = limited.new_key(name, rpm=2, budget="5/total")
    answers = [limited.chat(key, user=key, messages=[{"role": "user", "content": "canary-prompt"}]) for _ in range(6)]
    assert 429 in {answer.status for answer in answers}
    secret = key.rpartition("_")[2].encode()
    for answer in answers:
        assert secret not in answer.body
        assert secret.decode() not in str(answer.headers)
        limited.proxy.line(answer.id)
    listed = run(limited, "usage --by key --json").encode()
    metrics = ask(limited.proxy.port, "GET", "/metrics").body
    written = b"".join(file.read_bytes() for file in limited.state.parent.rglob("*") if file.is_file())
    arguments = b"".join(Path(f"/proc/{pid}/cmdline").read_bytes() for pid in limited.proxy.workers())
    for text in (written, metrics, listed, arguments):
        assert secret not in text
    state = b"".join(file.read_bytes() for file in limited.state.glob("usage*"))
    assert b"canary-prompt" not in state
    assert ADMIN_KEY.encode() not in state
