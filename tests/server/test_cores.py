"""How many cores a process may use, and which worker gets which."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from argoproxy.config.options.server_options import ServerOptions
from argoproxy.server.cores import allowed_cores, choose_workers, cpu_quota, divide_cores, plan_cores, usable_cores
from tests.support.fixtures import Serve
from tests.support.processes import Proxy, eventually

CORES = (2, 3, 6, 7)


def quota_in(folder: Path, membership: str, files: dict[str, str]) -> float | None:
    for name, text in files.items():
        file = folder / "cgroup" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    (folder / "membership").write_text(membership)
    return cpu_quota(folder / "cgroup", folder / "membership")


@pytest.mark.parametrize(
    ("membership", "files", "quota"),
    [
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 1.5),
        ("0::/\n", {"cpu.max": "max 100000\n"}, None),
        ("0::/\n", {"cpu.max": "broken"}, None),
        ("0::/a/b\n", {"a/cpu.max": "200000 100000", "a/b/cpu.max": "300000 100000"}, 2.0),
        ("0::/of/the/host\n", {"cpu.max": "50000 100000\n"}, 0.5),
        (
            "4:cpu,cpuacct:/a\n0::/\n",
            {"cpu,cpuacct/a/cpu.cfs_quota_us": "-1", "cpu,cpuacct/a/cpu.cfs_period_us": "9"},
            None,
        ),
        (
            "4:cpu,cpuacct:/a\n3:memory:/b\n",
            {"cpu/a/cpu.cfs_quota_us": "250000\n", "cpu/a/cpu.cfs_period_us": "100000\n"},
            2.5,
        ),
        ("3:memory:/b\n", {"b/cpu.max": "100000 100000"}, None),
        ("", {}, None),
    ],
)
def test_the_least_quota_of_the_control_groups_counts(
    tmp_path: Path, membership: str, files: dict[str, str], quota: float | None
) -> None:
    assert quota_in(tmp_path, membership, files) == quota


def test_without_control_groups_there_is_no_quota(tmp_path: Path) -> None:
    assert cpu_quota(tmp_path / "none", tmp_path / "none") is None


@pytest.mark.parametrize(("quota", "cores"), [(None, 4), (8.0, 4), (2.4, 2), (0.3, 1)])
def test_a_quota_leaves_fewer_cores(quota: float | None, cores: int) -> None:
    assert usable_cores(CORES, quota) == cores


def test_as_many_workers_as_told() -> None:
    assert choose_workers(3) == 3
    assert 1 <= choose_workers("auto") <= len(allowed_cores())


@pytest.mark.parametrize(
    ("workers", "worker_class", "quota", "cores"),
    [
        (4, "gthread", None, CORES),
        (4, "gthread", 4.0, CORES),
        (4, "gthread", 2.0, ()),
        (3, "gthread", None, ()),
        (5, "gthread", None, ()),
        (4, "gevent", None, ()),
        (4, "sync", None, ()),
        (4, "", None, ()),
    ],
)
def test_workers_are_bound_where_there_are_as_many_cores(
    workers: int, worker_class: str, quota: float | None, cores: tuple[int, ...]
) -> None:
    plan = divide_cores(workers, worker_class, CORES, quota)
    assert plan.cores == cores
    assert plan.reason


def test_one_worker_is_not_bound() -> None:
    assert divide_cores(1, "gthread", (0,), None).cores == ()


def test_no_worker_is_bound_against_the_setting() -> None:
    cores = len(allowed_cores())
    assert plan_cores(cores, "gthread", ServerOptions(num_workers=cores, pin_workers=False)).cores == ()


def test_a_worker_gets_a_core_that_no_other_has() -> None:
    plan = divide_cores(4, "gthread", CORES, None)
    assert plan.free_core([]) == 2
    assert plan.free_core([2, 6, None, 7]) == 3
    assert plan.free_core(CORES) is None


def cores_of(proxy: Proxy) -> list[set[int]]:
    return [os.sched_getaffinity(pid) for pid in proxy.workers()]


@pytest.mark.skipif(usable_cores(allowed_cores(), cpu_quota()) < 2, reason="needs two processor cores")
def test_a_worker_that_is_replaced_gets_the_core_of_the_one_before(start: Serve) -> None:
    proxy = start(DEMO="true", WORKERS="auto")
    if cpu_quota() is not None:
        pytest.skip("workers are not bound where there is a quota")
    apart = [{core} for core in allowed_cores()]
    eventually(lambda: sorted(cores_of(proxy), key=min) == apart)
    proxy.replace_worker()
    eventually(lambda: sorted(cores_of(proxy), key=min) == apart)


@pytest.mark.skipif(len(allowed_cores()) < 2, reason="needs two processor cores")
def test_workers_are_free_to_move_if_told_so(start: Serve) -> None:
    proxy = start(DEMO="true", WORKERS=str(len(allowed_cores())), PIN_WORKERS="false")
    eventually(lambda: cores_of(proxy) == [set(allowed_cores())] * len(allowed_cores()))
