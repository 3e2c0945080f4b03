"""What can be seen of this machine."""

from __future__ import annotations

import os
import re
import resource
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from argoproxy.cli.doctor.judge.observations import HostFacts
from argoproxy.config.config import Config
from argoproxy.config.options.server_options import MIB
from argoproxy.config.values.config_error import ConfigError
from argoproxy.config.values.layers import Layer
from argoproxy.server.banner import is_open_to_all
from argoproxy.server.ports import UNIX, port_problem
from argoproxy.server.runtime import pid_at
from argoproxy.telemetry.journal.writer import check_journal

SHARED_MEMORY = Path("/dev/shm")
#: What the master takes, and an idle worker: docs/performance.md.
MASTER_MIB, WORKER_MIB = 20.0, 30.0
#: Files for each thread: its client, its upstream, and what waits for both.
FILES_PER_THREAD = 3


def observe_host(config: Config, layers: Sequence[Layer], proxied: Mapping[str, str]) -> HostFacts:
    """Return what can be seen. `proxied` names upstreams on this machine that are reached through an HTTP proxy."""
    server, journal = config.server, config.journal
    own_pid = None if server.host.startswith(UNIX) else pid_at(server.port)
    workers = server.num_workers if isinstance(server.num_workers, int) else os.cpu_count() or 1
    return HostFacts(
        sources=name_sources(layers),
        warnings=config.warnings,
        upstreams=config.description,
        host=server.host,
        port=0 if server.host.startswith(UNIX) else server.port,
        own_pid=own_pid,
        holder="" if own_pid else port_problem(server.host, server.port),
        is_open=is_open_to_all(config),
        keyed=[upstream.name for upstream in config.upstreams if upstream.is_keyed],
        files=_file_limit(),
        files_wanted=server.threads * FILES_PER_THREAD if server.worker_class == "gthread" else 0,
        memory_mib=free_memory_mib(),
        memory_wanted_mib=0.0 if own_pid else MASTER_MIB + workers * WORKER_MIB,
        shared_mib=_room_mib(SHARED_MEMORY),
        journal=str(journal.folder) if journal else "",
        journal_problem=_journal_problem(config),
        journal_mib=_room_mib(journal.folder) if journal else None,
        journal_wanted_mib=journal.max_bytes * journal.files / MIB if journal else 0.0,
        proxied=proxied,
        is_in_kubernetes="KUBERNETES_SERVICE_HOST" in os.environ,
        drain_s=server.drain_delay,
        graceful_s=server.graceful_timeout,
    )


def name_sources(layers: Sequence[Layer]) -> Sequence[str]:
    """Return where settings come from, the strongest first: `config.yaml (12 settings)`."""
    counts = ((layer.name, len(layer.values)) for layer in layers if layer.values)
    return [f"{name} ({count} setting{'s' if count > 1 else ''})" for name, count in counts]


def _file_limit() -> int:
    """Return how many files a process may open: the start raises the soft limit to the hard one."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return 2**31 - 1 if limit == resource.RLIM_INFINITY else limit


def free_memory_mib() -> float | None:
    """Return the memory that is left, of this machine or of the control group; None where neither tells."""
    found = [room for room in (_free_in_machine(), _free_in_group(Path("/sys/fs/cgroup"))) if room is not None]
    return min(found, default=None)


def _free_in_machine() -> float | None:
    with suppress(OSError):
        match = re.search(r"MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text())
        return int(match[1]) / 1024 if match else None
    return None


def _free_in_group(folder: Path) -> float | None:
    """Return what a control group (version 2) leaves: `memory.max` is `max` where there is no limit."""
    with suppress(OSError, ValueError):
        limit, used = (int((folder / name).read_text()) for name in ("memory.max", "memory.current"))
        return (limit - used) / MIB
    return None


def _room_mib(folder: Path) -> float | None:
    for parent in (folder, *folder.parents):
        with suppress(OSError):
            return shutil.disk_usage(parent).free / MIB
    return None


def _journal_problem(config: Config) -> str:
    try:
        check_journal(config)
    except ConfigError as error:
        return error.mistakes[0]
    return ""
