"""What is imported when the proxy starts, and where: the master imports for all workers, as far as gevent allows."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.support.processes import ROOT, clean_environment

#: The end of a start: what Gunicorn's master does before it forks, then what a worker does.
START = """
import json, sys
import argoproxy.cli.serve
from gunicorn.util import load_class
import argoproxy.server.gunicorn_config as settings
class Server: worker_class = load_class(settings.worker_class)
settings.share_modules(Server)
master = list(sys.modules)
import argoproxy.wsgi
print(json.dumps([master, list(sys.modules)]))
"""
NEVER = {
    "PIL",
    "argoproxy.cli.explain",
    "argoproxy.cli.logs",
    "argoproxy.cli.setup_wizard",
    "argoproxy.console",
    "argoproxy.telemetry.journal.reader",
    "argoproxy.web.model_description",
}
#: What holds classes of ssl from the moment it is imported.
KEEPS_TLS = {"requests", "urllib3", "flask", "argoproxy.web.factory"}


def imported_at_the_start(worker_class: str) -> list[set[str]]:
    """Return the modules of a master, and of its workers."""
    environ = {**clean_environment(), "WORKER_CLASS": worker_class, "DEMO": "true"}
    started = subprocess.run([sys.executable, "-c", START], cwd=ROOT, env=environ, stdout=subprocess.PIPE, check=True)
    return [set(modules) for modules in json.loads(started.stdout)]


@pytest.mark.parametrize("worker_class", ["gthread", "gevent", "sync"])
def test_nothing_is_imported_that_few_requests_need(worker_class: str) -> None:
    _, worker = imported_at_the_start(worker_class)
    assert worker & NEVER == set()


@pytest.mark.parametrize("worker_class", ["gthread", "sync"])
def test_a_master_imports_for_its_workers(worker_class: str) -> None:
    master, worker = imported_at_the_start(worker_class)
    assert worker - master == {"argoproxy.wsgi"}


def test_a_master_of_gevent_workers_leaves_them_what_gevent_patches() -> None:
    """A class of ssl that was imported before it is patched calls itself without end (gevent issue 1016)."""
    master, _ = imported_at_the_start("gevent")
    assert master & KEEPS_TLS == set()
