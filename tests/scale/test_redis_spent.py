"""What operators see of budgets that replicas share: `keys show`."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from argoproxy.cli.keys import keys_command
from argoproxy.protocol.limits.limits import Claim, LimitKind
from argoproxy.stores.local.sqlite_ledger import SpentBudget
from argoproxy.stores.redis.redis_limits import RedisLimits
from tests.support.redis_server import MISSING, RealRedis

if MISSING:
    pytest.skip(f"missing: {MISSING}", allow_module_level=True)


def spend(limits: RedisLimits, row: str, nanos: int, ends_at: float | None) -> None:
    claim = Claim(row, LimitKind.BUDGET, "", 10**12, nanos, ends_at)
    assert limits.admit(row, [claim], 0, 0.0).refused is None
    limits.settle(row, {row: nanos}, 0.0)


def test_budgets_of_a_subject_with_their_periods(tmp_path: Path) -> None:
    with RealRedis(tmp_path) as redis:
        server = redis.server()
        limits, now = RedisLimits(server, "t"), time.time()
        tomorrow, yesterday = float(int(now) + 86_400), float(int(now) - 86_400)
        spend(limits, "key:a[1]/budget/total", 5, None)
        spend(limits, "key:a[1]/model:gpt-*/budget/2026-11", 7, tomorrow)
        spend(limits, "key:a[1]/budget/2026-10", 9, yesterday)
        spend(limits, "key:a1/budget/total", 11, None)
        limits.admit("rpm", [Claim("key:a[1]/rpm", LimitKind.RPM, "", 10, 1)], 0, 0.0)
        assert limits.read_spent("key:a[1]", now) == [
            SpentBudget("key:a[1]", "total", 5, None),
            SpentBudget("key:a[1]/model:gpt-*", "2026-11", 7, tomorrow),
        ]
        server.close()


def test_keys_show_tells_what_all_replicas_spent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with RealRedis(tmp_path) as redis:
        settings = {"target_base_url": "http://u/v1", "state_path": str(tmp_path / "s"), "redis_url": redis.url}
        (tmp_path / "config.yaml").write_text(json.dumps(settings))
        monkeypatch.chdir(tmp_path)
        assert keys_command.main(["create", "ann", "--budget", "5/total", "--json"], "argoproxy keys") == 0
        key_id = json.loads(capsys.readouterr().out)["id"]
        server = redis.server()
        spend(RedisLimits(server, "argoproxy"), f"key:{key_id}/budget/total", 3_000_000_000, None)
        server.close()
        assert keys_command.main(["show", "ann", "--json"], "argoproxy keys") == 0
        (spent,) = json.loads(capsys.readouterr().out)["spent"]
        assert spent["amount"] == "3"
