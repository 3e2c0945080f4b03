"""What tests import before they fork gevent workers keeps nothing that gevent patches in them."""

from __future__ import annotations

import json
import subprocess
import sys

from tests.support.processes import ROOT, uncovered_environment

#: Prints, as JSON, the names in modules that Gunicorn's own master would not have imported, and that keep what was
#: patched, as a value or as the base of a class.
FIND = """
import importlib, json, sys
from tests.support.fork_server import IN_MASTERS, import_for

for name in (*IN_MASTERS, "argoproxy.workers.gevent_worker"):
    importlib.import_module(name)
in_masters = set(sys.modules)
import_for("gevent")
ours = {name: dict(vars(sys.modules[name])) for name in sys.modules.keys() - in_masters}
from gevent import monkey

monkey.patch_all()
patched = {id(value) for values in monkey.saved.values() for value in values.values() if callable(value)}


def keeps(value):
    bases = value.__mro__ if isinstance(value, type) else ()
    return any(id(one) in patched for one in (value, *bases))


modules = [name for name in ours if name not in monkey.saved and not name.startswith("gevent.")]
print(json.dumps([f"{module}.{name}" for module in modules for name, value in ours[module].items() if keeps(value)]))
"""
#: It guards a cache of templates, and there are none.
UNUSED = {"jinja2.utils.Lock"}


def test_modules_that_are_imported_before_the_fork_keep_nothing_that_gevent_patches() -> None:
    command = [sys.executable, "-c", FIND]
    found = subprocess.run(command, cwd=ROOT, env=uncovered_environment(), stdout=subprocess.PIPE, check=True)
    assert set(json.loads(found.stdout)) - UNUSED == set()
