"""The house rules that imports and files can break."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "argoproxy"
FILES = sorted(PACKAGE.rglob("*.py"))
STANDARD = sys.stdlib_module_names

#: The folders and modules that may import a library; all others must not.
ONLY_THERE = {
    "flask": {"web"},
    "werkzeug": {"web"},
    "requests": {"transport", "telemetry/tracing/exporter"},
    "urllib3": {"transport"},
    "socket": {"transport", "workers", "server", "images", "console/console_server", "cli/doctor/observe"},
    "ssl": {"transport", "server/start_check", "cli/setup_wizard", "cli/doctor/observe", "images"},
    "select": {"transport/watch", "transport/waits", "workers"},
    "sqlite3": {
        "stores/sqlite_file",
        "stores/keys/sqlite_keys",
        "stores/local/sqlite_ledger",
        "stores/local/usage_database",
        "stores/worker_database",
        "stores/answers",
        "stores/redis/kept_settlements",
    },
    "redis": {"stores/redis"},
    "psycopg": {"stores/postgres/postgres_server"},
    "yaml": {"config/values/layers"},
    "dotenv": {"config/values/layers"},
    "PIL": {"images/shrink"},
    "certifi": {"web/factory", "web/telemetry_factory", "cli/doctor/observe"},
    "prometheus_client": {
        "telemetry/children",
        "telemetry/metrics",
        "telemetry/upstream_metrics",
        "telemetry/worker_counts",
    },
}
#: The folders from the ground up: each may import from those before it, and from itself.
FLOORS = [
    "data",
    "protocol",
    "protocol/prices",
    "protocol/limits",
    "protocol/access",
    "protocol/keys",
    "protocol/stream",
    "protocol/reasoning",
    "protocol/resilience",
    "protocol/cache",
    "protocol/routing",
    "protocol/api",
    "protocol/responses",
    "protocol/messages/answers",
    "protocol/messages",
    "upstreams",
    "upstreams/argo",
    "upstreams/dashscope",
    "upstreams/anthropic",
    "config/options",
    "config/values",
    "config/kinds",
    "config",
    "transport/waits",
    "transport",
    "images",
    "telemetry",
    "telemetry/journal",
    "telemetry/tracing",
    "shared_state",
    "telemetry/live",
    "stores",
    "stores/local",
    "stores/keys",
    "stores/answers",
    "stores/redis",
    "stores/postgres",
    "pipeline/shared",
    "pipeline/caching",
    "pipeline/accounting",
    "pipeline",
    "pipeline/paths",
    "plugins",
    "workers",
    "server",
    "web",
    "console/exchange",
    "console/views",
    "console/live",
    "console",
    "cli/logs",
    "cli/keys",
    "cli/usage",
    "cli/doctor/judge",
    "cli/doctor/observe",
    "cli/doctor",
    "cli/upstreams",
    "cli",
]
MOST_FILES = 12
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


def folder_of(file: Path) -> str:
    return file.parent.relative_to(PACKAGE).as_posix()


@cache
def imported(file: Path) -> Sequence[str]:
    found: list[str] = []
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found += (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            found.append(node.module or "")
            found += (f"{node.module}.{alias.name}" for alias in node.names if node.module == "argoproxy")
    return found


def wrong_imports(file: Path) -> Iterator[str]:
    """Yield what a module imports and may not: a library, a module outside the core, anything impure in it."""
    name = name_of(file)
    allowed = MAY_KNOW.get(name.partition("/")[0])
    for module in imported(file):
        top = module.partition(".")[0]
        places = ONLY_THERE.get(top)
        if not (places is None or places & {folder_of(file), name.removesuffix(".py")}):
            yield f"{top} is not for {name}"
        if allowed and module != "argoproxy":
            if not (top in STANDARD or module.startswith(allowed)):
                yield f"{name} must not know {module}"
            if top in NOT_IN_THE_CORE:
                yield f"{name} must be pure"


def test_imports_point_inward() -> None:
    assert [wrong for file in FILES for wrong in wrong_imports(file)] == []


def imports_from_above(file: Path) -> Iterator[str]:
    """Yield what a module imports from a folder above its own."""
    here = FLOORS.index(folder_of(file))
    for module in imported(file):
        path = module.removeprefix("argoproxy.").replace(".", "/")
        is_module = module.startswith("argoproxy.") and (PACKAGE / f"{path}.py").exists() and "/" in path
        if is_module and FLOORS.index(path.rpartition("/")[0]) > here:
            yield f"{name_of(file)} must not know {module}"


def test_a_folder_imports_only_from_those_below() -> None:
    files = [file for file in FILES if folder_of(file) != "."]
    assert [wrong for file in files for wrong in imports_from_above(file)] == []


def test_a_folder_stays_small() -> None:
    sizes = Counter(folder_of(file) for file in FILES if file.name != "__init__.py")
    assert {folder: size for folder, size in sizes.items() if size > MOST_FILES} == {}


def too_large(file: Path) -> Iterator[str]:
    """Yield which parts of a module are larger than allowed, or lack a docstring."""
    text = file.read_text()
    if (count := text.count("\n")) > LONGEST_FILE:
        yield f"{name_of(file)} has {count} lines"
    tree = ast.parse(text)
    if text and not ast.get_docstring(tree):
        yield f"{name_of(file)} has no docstring"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            lines = (node.end_lineno or 0) - body[0].lineno + 1 if body else 0
            if lines > LONGEST_FUNCTION:
                yield f"{name_of(file)}: {node.name} has {lines} lines"
            arguments = [arg for arg in node.args.args + node.args.kwonlyargs if arg.arg not in ("self", "cls")]
            if len(arguments) > MOST_ARGUMENTS:
                yield f"{name_of(file)}: {node.name} has {len(arguments)} arguments"


def test_modules_stay_small() -> None:
    assert [wrong for file in FILES for wrong in too_large(file)] == []


TESTS = sorted((ROOT / "tests").rglob("*.py"))


def test_tests_share_only_what_is_in_support() -> None:
    """A test file imports from tests/support/, and from modules of its own folder that hold no tests."""
    wrong = [
        f"{file.relative_to(ROOT)}: {module}"
        for file in TESTS
        for module in imported(file)
        if module.startswith("tests.") and not may_import(file, module)
    ]
    assert wrong == []


def may_import(file: Path, module: str) -> bool:
    own = ".".join(file.relative_to(ROOT).parent.parts)
    room, _, name = module.rpartition(".")
    is_shared = module.startswith("tests.support")
    return module == own or ((is_shared or room == own) and not name.startswith(("test_", "conftest")))


def test_the_first_run_needs_nothing_installed() -> None:
    """It asks its questions before anything is."""
    heavy = {"yaml", "requests", "flask", "gunicorn"}
    code = f"import sys, argoproxy.cli.setup_wizard; sys.exit(bool({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_gunicorns_settings_load_no_tls() -> None:
    """gevent patches ssl in the workers; a master that has loaded it breaks them (gevent issue 1016)."""
    modules = "argoproxy.cli.serve, argoproxy.config.config, argoproxy.telemetry.slots"
    code = f"import sys, {modules}; sys.exit('ssl' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
