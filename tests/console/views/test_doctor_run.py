"""doctor runs beside the console, one run at a time."""

from __future__ import annotations

import sys
from pathlib import Path

from argoproxy.console.views.doctor_run import DoctorRuns
from argoproxy.console.views.view_shapes import DoctorView
from tests.support.processes import eventually


def make_runs(folder: Path, script: str) -> DoctorRuns:
    return DoctorRuns({}, folder, (sys.executable, "-c", script))


def wait_for(runs: DoctorRuns, state: str) -> DoctorView:
    def is_there() -> bool:
        return runs.view()["state"] == state

    eventually(is_there)
    return runs.view()


def test_the_report_is_what_doctor_prints(tmp_path: Path) -> None:
    runs = make_runs(
        tmp_path, "import json, os, sys; print(json.dumps([{'args': sys.argv[1:], 'in': os.getcwd()}][0]))"
    )
    assert (runs.view()["state"], bool(runs.view()["reason"])) == ("never", True)
    assert runs.start("m1")["state"] == "running"
    view = wait_for(runs, "done")
    assert view["report"] == {"args": ["--no-chat", "--model", "m1"], "in": str(tmp_path)}
    assert view["started_at"] is not None
    assert view["finished_at"] is not None


def test_chats_are_asked_only_if_wanted(tmp_path: Path) -> None:
    runs = make_runs(tmp_path, "import json, sys; print(json.dumps({'args': sys.argv[1:]}))")
    runs.start(asks_chat=True)
    assert wait_for(runs, "done")["report"] == {"args": []}


def test_a_second_run_waits_for_the_first(tmp_path: Path) -> None:
    gate = tmp_path / "go"
    runs = make_runs(tmp_path, f"import os; os.mkfifo({str(gate)!r}); open({str(gate)!r}).read(); print('{{}}')")
    first = runs.start()
    assert runs.start() == first
    eventually(gate.exists)
    gate.write_text("go")
    assert wait_for(runs, "done")["report"] == {}


def test_a_run_that_fails_keeps_the_last_report(tmp_path: Path) -> None:
    runs = make_runs(tmp_path, "import os, sys; os.path.exists('bad') and sys.exit(3); print('{\"a\": 1}')")
    runs.start()
    wait_for(runs, "done")
    (tmp_path / "bad").touch()
    runs.start()
    view = wait_for(runs, "failed")
    assert (view["report"], "3" in view["reason"]) == ({"a": 1}, True)


def test_a_run_can_be_ended(tmp_path: Path) -> None:
    gate = tmp_path / "go"
    runs = make_runs(tmp_path, f"import os; os.mkfifo({str(gate)!r}); open({str(gate)!r}).read()")
    runs.start()
    eventually(gate.exists)
    runs.stop()
    assert wait_for(runs, "failed")["report"] is None


def test_a_command_that_is_not_there_is_told(tmp_path: Path) -> None:
    runs = DoctorRuns({}, tmp_path, ("/nonexistent",))
    runs.start()
    assert "started" in wait_for(runs, "failed")["reason"]
