"""The unit for systemd: it is accepted, leaves little open, and the proxy reports its start as the unit expects."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from argoproxy.config.values.settings import BY_KEY
from tests.support.processes import PATIENCE_S, ROOT, Proxy

UNIT = (ROOT / "deploy" / "argoproxy.service").read_text()
#: Tenths of the exposure level that `systemd-analyze security` computes: 0 is none, 96 that of an ordinary service.
MOST_EXPOSED = 20


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit, with a command that exists."""
    file = tmp_path / "argoproxy.service"
    file.write_text(re.sub(r"(?m)^(ExecStart=)\S+", r"\1/bin/true", UNIT))
    return file


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not installed")
    command = ["systemd-analyze", "--no-pager", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE_S)


def test_systemd_accepts_the_unit(unit: Path) -> None:
    checked = analyze("verify", str(unit))
    assert (checked.returncode, checked.stderr) == (0, "")


def test_the_unit_leaves_little_open(unit: Path) -> None:
    checked = analyze("security", "--offline=yes", f"--threshold={MOST_EXPOSED}", str(unit))
    if "unrecognized option" in checked.stderr:
        pytest.skip("this systemd-analyze can't check a file")
    assert checked.returncode == 0, checked.stdout


def test_a_stop_has_time_for_what_still_runs() -> None:
    (seconds,) = re.findall(r"(?m)^TimeoutStopSec=(\d+)$", UNIT)
    assert int(seconds) > int(BY_KEY["graceful_timeout"].default) + int(BY_KEY["drain_delay"].default)


def test_the_proxy_reports_that_it_listens(tmp_path: Path) -> None:
    """As `Type=notify` expects it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(PATIENCE_S)
        proxy = Proxy(tmp_path, {"WORKERS": "1", "DEMO": "true", "NOTIFY_SOCKET": str(tmp_path / "notify")})
        try:
            assert b"READY=1" in manager.recv(4096)
        finally:
            assert proxy.stop() == 0
