from __future__ import annotations

import gc
import os
import sys
from collections.abc import Generator
from functools import cache
from pathlib import Path

import pytest
from _pytest.runner import runtestprotocol
from hypothesis import HealthCheck, settings

from tests.support.prctl import die_with_parent

pytest_plugins = ["tests.support.fixtures"]

#: A quick look: ./run_tests.sh --quick.
IS_QUICK = os.environ.get("QUICK") == "1"
# The same examples at every run, so that what is red is red everywhere; EXAMPLES=1000 looks for others.
MORE_EXAMPLES = int(os.environ.get("EXAMPLES", "0"))
settings.register_profile(
    "house",
    max_examples=MORE_EXAMPLES or (25 if IS_QUICK else 100),
    deadline=None,
    derandomize=not MORE_EXAMPLES,
    database=None,
    # Of few examples, or of others, many may be useless by chance; the usual run judges that.
    suppress_health_check=[HealthCheck.filter_too_much] if IS_QUICK or MORE_EXAMPLES else [],
)
settings.load_profile("house")

TESTS = Path(__file__).resolve().parent
#: The files that take the longest, in turn.
LONGEST = [
    "wire/test_images.py",
    "wire/test_draining.py",
    "docs/test_commands.py",
    "fuzz/test_fuzz.py",
    "resilience/test_fallback.py",
    "wire/test_slow_senders.py",
    "wire/test_unread_answers.py",
    "wire/test_start.py",
    "resilience/test_breakers.py",
    "fuzz/test_linear.py",
    "resilience/test_retries.py",
    "lab/test_soak.py",
    "wire/test_first_run.py",
    "wire/test_leaving.py",
    "wire/test_early_heartbeat.py",
    "wire/test_keys.py",
    "shared_state/test_workers.py",
    "wire/test_sharing.py",
    "wire/test_slow_clients.py",
    "wire/test_terminal.py",
    "lab/test_faults.py",
    "lab/test_surface_faults.py",
    "shared_state/test_upstream_places.py",
    "wire/test_demo.py",
    "wire/test_metrics.py",
    "images/test_shrink.py",
    "wire/test_doctor.py",
    "lab/test_silence.py",
    "packaging/test_behind_servers.py",
    "lab/test_siege.py",
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
    if hasattr(config, "workerinput") or "ARGOPROXY_SUPERVISED" in os.environ:
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


def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    """Run a test in a process of xdist, and report what came of it, but not that it begins, is set up and torn down:
    to send that and to read it takes as long as a short test. `--durations` and `--junitxml` count on these reports."""
    options = item.config.option
    if not hasattr(item.config, "workerinput") or options.durations is not None or options.xmlpath:
        return None
    for report in runtestprotocol(item, nextitem=nextitem, log=False):
        if report.when == "call" or not report.passed:
            item.ihook.pytest_runtest_logreport(report=report)
    return True


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Name what fails at once: the summary comes late, and not at all if the run is killed."""
    if report.failed and "PYTEST_XDIST_WORKER" not in os.environ:
        sys.stderr.write(f"\n{report.when} of {report.nodeid} failed after {report.duration:.0f} s\n")
