"""The house rules that imports and files can break."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "argoproxy"
FILES = sorted(PACKAGE.rglob("*.py"))
STANDARD = sys.stdlib_module_names

#: Whoever needs a library is named here; everybody else does without.
ONLY_THERE = {
    "flask": {"web.py", "incoming.py", "responding.py", "assembly.py"},
    "werkzeug": {"web.py", "responding.py"},
    "requests": {"transport.py", "wire/sending.py"},
    "urllib3": {"transport.py", "wire/sending.py", "wire/receiving.py", "wire/waiting.py"},
    "socket": {
        "wire/connecting.py",
        "wire/names.py",
        "wire/sending.py",
        "wire/receiving.py",
        "wire/waiting.py",
        "wire/reasons.py",
        "start_check.py",
        "serving.py",
        "ports.py",
        "server/client_socket.py",
        "server/connection.py",
        "server/goodbye.py",
        "server/thread_worker.py",
        "fetch.py",
        "together.py",
    },
    "ssl": {
        "transport.py",
        "wire/connecting.py",
        "wire/sending.py",
        "wire/receiving.py",
        "wire/reasons.py",
        "start_check.py",
        "first_run.py",
        "fetch.py",
        "images.py",
    },
    "select": {"watch.py", "server/client_poll.py"},
    "yaml": {"settings/layers.py"},
    "dotenv": {"settings/layers.py"},
    "PIL": {"pictures.py"},
    "certifi": {"assembly.py"},
    "prometheus_client": {"observe/metrics.py"},
}
#: What the core may not see: clocks, ids, environment, files, logs.
NOT_IN_THE_CORE = {"time", "datetime", "uuid", "random", "os", "logging", "pathlib", "io", "threading", "subprocess"}
MAY_KNOW = {
    "protocol": ("argoproxy.errors", "argoproxy.protocol"),
    "upstreams": ("argoproxy.errors", "argoproxy.protocol", "argoproxy.upstreams"),
}
LONGEST_FILE = 300
LONGEST_FUNCTION = 40
MOST_ARGUMENTS = 5


def name_of(file: Path) -> str:
    return file.relative_to(PACKAGE).as_posix()


def imported(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names if node.module == "argoproxy")


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_imports_point_inward(file: Path) -> None:
    name = name_of(file)
    allowed = MAY_KNOW.get(name.partition("/")[0])
    for module in imported(file):
        top = module.partition(".")[0]
        assert name in ONLY_THERE.get(top, {name}), f"{top} is not for {name}"
        if allowed and module != "argoproxy":
            assert top in STANDARD or module.startswith(allowed), f"{name} must not know {module}"
            assert top not in NOT_IN_THE_CORE, f"{name} must be pure"


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_rooms_stay_small(file: Path) -> None:
    text = file.read_text()
    assert text.count("\n") <= LONGEST_FILE
    tree = ast.parse(text)
    assert not text or ast.get_docstring(tree), "a file says what it is for"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            lines = (node.end_lineno or 0) - body[0].lineno + 1 if body else 0
            assert lines <= LONGEST_FUNCTION, f"{node.name} has {lines} lines"
            arguments = [arg for arg in node.args.args + node.args.kwonlyargs if arg.arg not in ("self", "cls")]
            assert len(arguments) <= MOST_ARGUMENTS, f"{node.name} has {len(arguments)} arguments"


def test_the_first_run_needs_nothing_installed() -> None:
    """It asks its questions before anything is."""
    code = "import sys, argoproxy.cli.setup_wizard; sys.exit(bool({'yaml', 'requests', 'flask', 'gunicorn'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_gunicorns_settings_load_no_tls() -> None:
    """gevent patches ssl in the workers; a master that has loaded it breaks them (gevent issue 1016)."""
    code = "import sys, argoproxy.cli.main, argoproxy.config.config, argoproxy.telemetry.slots; sys.exit('ssl' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
