"""The processor cores that this process may use, and which worker gets which."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from argoproxy.config.options.server_options import ServerOptions

CGROUPS = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")


def allowed_cores() -> tuple[int, ...]:
    """Return the numbers of the cores that this process may run on (sched_setaffinity(2), cpusets)."""
    return tuple(sorted(os.sched_getaffinity(0)))


def cpu_quota(cgroups: Path = CGROUPS, membership: Path = MEMBERSHIP) -> float | None:
    """Return how many cores' worth of time the control groups of this process allow, None without a limit.

    The least of its own group and of those above it counts. Version 2 has it in `cpu.max` ("max 100000"), version 1 in
    `cpu.cfs_quota_us` (-1: none) and `cpu.cfs_period_us`.
    """
    quotas: list[float] = []
    for folder in _group_folders(cgroups, membership):
        with suppress(OSError, ValueError):
            quota, period = (folder / "cpu.max").read_text().split()
            quotas.append(int(quota) / int(period))
        with suppress(OSError, ValueError):
            micros = int((folder / "cpu.cfs_quota_us").read_text())
            quotas += [micros / int((folder / "cpu.cfs_period_us").read_text())] if micros > 0 else []
    return min(quotas, default=None)


def _group_folders(cgroups: Path, membership: Path) -> Iterator[Path]:
    """Yield the folders of the groups of this process that may limit its time, and of those above them.

    A line of /proc/self/cgroup is `number:controllers:/path`; version 2 has one without controllers. Within a container
    the path may be the one of the host, which is not there: then only the mounted root counts.
    """
    with suppress(OSError):
        for line in membership.read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers and "cpu" not in controllers.split(","):
                continue
            mounts = (cgroups / controllers, cgroups / "cpu") if controllers else (cgroups, cgroups / "unified")
            for mount in mounts:
                below = mount / path.lstrip("/")
                yield from (folder for folder in (below, *below.parents) if folder.is_relative_to(mount))


def usable_cores(cores: Sequence[int], quota: float | None) -> int:
    """Return how many workers can run at the same time: cores, or what a quota leaves of them, at least 1."""
    return len(cores) if quota is None else max(1, min(len(cores), round(quota)))


@dataclass(frozen=True, slots=True)
class CorePlan:
    """Which cores workers are bound to, () if they are not; `reason` says why."""

    cores: tuple[int, ...]
    reason: str

    def free_core(self, taken: Iterable[int | None]) -> int | None:
        """Return the first core that no worker has, None if there is none."""
        return next(iter(sorted(set(self.cores) - set(taken))), None)


def choose_workers(setting: int | str) -> int:
    """Return how many workers to start: as set, or, for "auto", as many as can run at the same time."""
    return setting if isinstance(setting, int) else usable_cores(allowed_cores(), cpu_quota())


def plan_cores(workers: int, worker_class: str, settings: ServerOptions) -> CorePlan:
    """Return which cores these workers get, on this machine."""
    if not settings.pin_workers:
        return CorePlan((), "not bound to cores, because of PIN_WORKERS=false")
    return divide_cores(workers, worker_class, allowed_cores(), cpu_quota())


def divide_cores(workers: int, worker_class: str, cores: Sequence[int], quota: float | None) -> CorePlan:
    """Return which cores these workers get: each one of its own where there are as many workers as cores.

    The threads of a gthread worker take turns at the interpreter's lock, and on several cores each turn moves what is
    in the caches. A gevent worker has one thread, and measured no better. With fewer workers than cores, or a quota,
    others share the cores, and only the kernel knows which is free.
    """
    if worker_class != "gthread" or workers < 2:
        return CorePlan((), "not bound to cores, which only two gthread workers and more are")
    if usable_cores(cores, quota) != len(cores):
        return CorePlan((), f"not bound to cores, because of a quota of {quota:g} cores' time")
    if workers != len(cores):
        return CorePlan((), "not bound to cores, because they are not as many")
    return CorePlan(tuple(cores), "each bound to a core of its own (PIN_WORKERS=false leaves them free)")
