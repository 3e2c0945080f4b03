from __future__ import annotations

import gc
import os
import sys
from collections.abc import Generator
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.support.prctl import die_with_parent
from tests.support.strength import ALL_EXAMPLES, EXAMPLES, IS_QUICK

pytest_plugins = ["tests.support.fixtures", "tests.support.parallel_runs"]

# The same examples at every run, so that what is red is red everywhere; EXAMPLES=1000 looks for others.
MORE_EXAMPLES = int(os.environ.get("EXAMPLES", "0"))
settings.register_profile(
    "house",
    max_examples=MORE_EXAMPLES or EXAMPLES,
    deadline=None,
    derandomize=not MORE_EXAMPLES,
    database=None,
    # Of few examples, or of others, many may be useless by chance; a run of everything judges that.
    suppress_health_check=[HealthCheck.filter_too_much] if MORE_EXAMPLES or EXAMPLES < ALL_EXAMPLES else [],
)
settings.load_profile("house")

TESTS = Path(__file__).resolve().parent
#: The files that take the longest, in turn.
LONGEST = [
    "fuzz/test_fuzz.py",
    "fuzz/test_linear.py",
    "lab/test_soak.py",
    "lab/test_surface_faults.py",
    "images/test_shrink.py",
    "lab/test_silence.py",
    "packaging/test_behind_servers.py",
    "lab/test_siege.py",
    "lab/test_faults.py",
    "wire/test_draining.py",
    "wire/test_start.py",
    "limits/test_periods.py",
    "wire/test_unread_answers.py",
    "resilience/test_breakers.py",
    "resilience/test_fallback.py",
    "wire/test_images.py",
    "wire/test_slow_clients.py",
    "resilience/test_retries.py",
    "wire/test_slow_senders.py",
    "limits/test_store_trouble.py",
    "wire/test_early_heartbeat.py",
    "wire/test_compatible.py",
    "wire/test_timeouts.py",
    "wire/test_modes.py",
    "docs/test_commands.py",
    "wire/test_doctor.py",
    "wire/test_errors.py",
    "resilience/test_slots.py",
    "lab/test_outages.py",
    "wire/test_cache.py",
    "wire/test_demo.py",
    "limits/test_exactness.py",
    "resilience/test_lifecycle.py",
    "limits/test_budgets.py",
    "resilience/test_balance.py",
    "wire/test_routing.py",
    "wire/test_first_run.py",
    "wire/test_start_check.py",
    "wire/test_live_requests.py",
    "wire/test_metrics.py",
    "wire/test_keys.py",
    "wire/test_endings.py",
    "wire/test_sharing.py",
    "limits/test_slots.py",
    "resilience/test_waiting_line.py",
    "resilience/test_dead_primary.py",
    "wire/test_stale.py",
    "wire/test_health.py",
    "wire/test_tracing.py",
    "wire/test_console.py",
    "wire/test_connecting.py",
    "wire/test_terminal.py",
]
#: The mark of a folder's tests; all others are pure.
MARKS = {
    "wire": "wire",
    "clients": "wire",
    "packaging": "wire",
    "docs": "wire",
    "resilience": "wire",
    "limits": "wire",
    "scale": "wire",
    "browser": "wire",
    "lab": "lab",
    "fuzz": "lab",
}
#: Those of the laboratory that only show that nothing grows or hangs.
SOAK = {"test_soak.py", "test_silence.py", "test_siege.py"}
#: What --quick asks of one running proxy.
QUICK = {"test_completions.py", "test_validation.py"}
#: What only --all and --coverage run: it takes a sixth of all the CPU, and what it shows few changes touch.
SLOW = {
    "fuzz/test_fuzz.py",
    "fuzz/test_linear.py",
    "images/test_shrink.py",
    "lab/test_anthropic_faults.py",
    "lab/test_doctor_faults.py",
    "lab/test_faults_with_spare.py",
    "lab/test_siege.py",
    "lab/test_silence.py",
    "lab/test_soak.py",
    "lab/test_surface_faults.py",
    "packaging/test_behind_servers.py",
    "packaging/test_installed.py",
    "packaging/test_tool_runners.py",
    "upstreams/test_requests_of_any_shape.py",
}
#: Pure tests that --quick leaves out: they start many processes, decode large pictures, or wait, for seconds a file.
NOT_QUICK = SLOW | {
    "cli/test_commands.py",
    "cli/test_main.py",
    "pipeline/test_active_probe.py",
    "server/test_forking_python.py",
    "server/test_imports.py",
    "shared_state/test_upstream_places.py",
    "shared_state/test_workers.py",
    "stores/test_limit_stores.py",
    "stores/test_sqlite_answers.py",
    "stores/test_sqlite_keys.py",
    "stores/test_local_limits.py",
    "telemetry/journal/test_writer.py",
    "telemetry/test_slots.py",
    "telemetry/tracing/test_exporter.py",
    "workers/test_plain_request.py",
}


def pytest_configure(config: pytest.Config) -> None:
    """End with whoever started this process, so that nothing that it starts is left; find commands beside Python."""
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    if "ARGOPROXY_SUPERVISED" in os.environ:
        die_with_parent()


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Leave out what --quick does not run: to import it takes as long as many tests."""
    if not IS_QUICK or not collection_path.name.startswith("test_") or collection_path.name in QUICK:
        return None
    if collection_path.is_relative_to(TESTS):
        file = collection_path.relative_to(TESTS)
        return file.parts[0] in MARKS or file.as_posix() in NOT_QUICK or None
    return None


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Generator[None, object, object]:
    """Collect without the garbage collector, and keep it away from what was collected: it would look at a million
    objects that last until the end, again and again."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what starts servers, by its folder. Put it first, the longest files before all: so nothing long is left for
    the end, when the other processes have nothing to do any more."""
    turns: dict[Path, int] = {}
    for item in items:
        mark = _mark(item.path)
        item.add_marker(mark)
        if item.path.name in QUICK:
            item.add_marker("quick")
        if _file(item.path) in SLOW:
            item.add_marker("slow")
        turns.setdefault(item.path, _turn(item.path, mark))
    items.sort(key=lambda item: turns[item.path])


@cache
def _mark(path: Path) -> str:
    """Return the mark of the tests of a file."""
    return "soak" if path.name in SOAK else MARKS.get(path.relative_to(TESTS.parent).parts[1], "pure")


def _turn(path: Path, mark: str) -> int:
    """Return when a file has its turn."""
    file = _file(path)
    return LONGEST.index(file) if file in LONGEST else len(LONGEST) + (mark == "pure")


def _file(path: Path) -> str:
    """Return the path of a file as it stands in the lists above."""
    return path.relative_to(TESTS.parent).as_posix().removeprefix("tests/")


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Name what fails at once: the summary comes late, and not at all if the run is killed."""
    if report.failed:
        sys.stderr.write(f"\n{report.when} of {report.nodeid} failed after {report.duration:.0f} s\n")
