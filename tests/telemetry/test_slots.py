from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from argoproxy.telemetry.slots import PREFIX, Slots, candidate_parents, make_folder, uptime_s
from tests.support.processes import ROOT, spawn

HOLD = "import sys; from pathlib import Path; from argoproxy.telemetry.slots import Slots; s = Slots(Path(sys.argv[1]))"
TAKE = f"{HOLD}\nwith s.exclusive(): print(s.take(), flush=True)\nsys.stdin.read()"
MAKE = "import sys; from pathlib import Path; from argoproxy.telemetry.slots import make_folder\n"


def worker(folder: Path) -> tuple[subprocess.Popen[str], int]:
    """Start a process that takes a slot and keeps it: it, and the slot."""
    command = [sys.executable, "-c", TAKE, str(folder)]
    process = spawn(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    return process, int(process.stdout.readline())


def idle(folder: Path) -> set[int]:
    slots = Slots(folder)
    with slots.exclusive():
        return slots.free_slots()


def test_each_worker_has_its_own_slot_and_a_dead_ones_is_taken_over(tmp_path: Path) -> None:
    workers = [worker(tmp_path) for _ in range(3)]
    assert [slot for _, slot in workers] == [0, 1, 2]
    assert idle(tmp_path) == set()
    workers[1][0].kill()
    workers[1][0].wait()
    assert idle(tmp_path) == {1}
    workers.append(worker(tmp_path))
    assert workers[-1][1] == 1
    for process, _ in workers:
        process.communicate()


def test_the_folder_is_removed_when_its_maker_exits_and_not_by_a_child(tmp_path: Path) -> None:
    code = (
        f"{MAKE}import os\nfolder = make_folder([Path(sys.argv[1])])\n"
        "if not (child := os.fork()): sys.exit()\n"
        "os.waitpid(child, 0); print(folder.exists())"
    )
    ended = subprocess.run([sys.executable, "-c", code, tmp_path], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ended.stdout == "True\n"
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_master_left_is_swept(tmp_path: Path) -> None:
    code = f"{MAKE}import os, signal\nmake_folder([Path(sys.argv[1])]); os.kill(os.getpid(), signal.SIGKILL)"
    subprocess.run([sys.executable, "-c", code, tmp_path], cwd=ROOT, check=False)
    (left,) = tmp_path.iterdir()
    other = tmp_path / f"{PREFIX}being-made"
    other.mkdir()
    folder = make_folder([tmp_path])
    assert folder
    assert sorted(tmp_path.iterdir()) == sorted([other, folder])
    again = make_folder([tmp_path])
    assert again
    assert folder.exists(), "its master lives"
    assert not left.exists()


def test_masters_that_start_together_leave_each_other_their_folders(tmp_path: Path) -> None:
    code = f"{MAKE}for _ in range(100): assert (make_folder([Path(sys.argv[1])]) / 'master').exists()"
    masters = [spawn([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT) for _ in range(4)]
    assert [master.wait() for master in masters] == [0] * 4


def test_the_first_suitable_parent_is_taken(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    folder = make_folder([tmp_path / "nowhere", tmp_path / "file", Path("/proc"), tmp_path])
    assert folder
    assert folder.parent == tmp_path
    assert folder.stat().st_mode & 0o777 == 0o700
    assert make_folder([tmp_path / "nowhere"]) is None
    assert make_folder([tmp_path], min_free_bytes=1 << 60) is None


def test_uptime_counts_from_the_creation(tmp_path: Path) -> None:
    started = time.monotonic()
    folder = make_folder([tmp_path])
    assert folder
    time.sleep(0.01)
    assert 0.01 < uptime_s(folder) <= time.monotonic() - started


def test_a_parent_folder_exists() -> None:
    assert all(os.access(place, os.W_OK) for place in candidate_parents())


def test_a_process_that_keeps_the_slots_locked_is_not_waited_for_without_end(
    tmp_path: Path,
) -> None:
    command = [
        sys.executable,
        "-c",
        f"{HOLD}\nwith s.exclusive(): print(1, flush=True); sys.stdin.read()",
        str(tmp_path),
    ]
    with spawn(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == "1\n"
        with pytest.raises(TimeoutError), Slots(tmp_path, 0.01).exclusive():
            raise AssertionError
        assert holder.stdin
        holder.stdin.close()
        holder.wait()
    with Slots(tmp_path).exclusive():
        pass
