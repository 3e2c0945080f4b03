from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from hypothesis import settings

from tests.support.prctl import die_with_parent

settings.register_profile("house", max_examples=100, deadline=None)
settings.load_profile("house")

TESTS = Path(__file__).resolve().parent
#: What --quick asks of one running proxy.
QUICK = {"test_completions.py", "test_validation.py"}


def pytest_configure(config: pytest.Config) -> None:
    """End with whoever started this process, so that nothing that it starts is left; find commands beside Python."""
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    if hasattr(config, "workerinput") or "ARGOPROXY_SUPERVISED" in os.environ:
        die_with_parent()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what starts servers, by its folder. Put it first: it waits, and leaves time to what computes."""
    for item in items:
        folder = item.path.parent
        if folder in (TESTS / "wire", TESTS / "lab"):
            item.add_marker(folder.name)
        if item.path.name in QUICK:
            item.add_marker("quick")
    items.sort(key=lambda item: not (item.get_closest_marker("lab") or item.get_closest_marker("wire")))
