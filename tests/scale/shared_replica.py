"""A replica that shares a database with others."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from tests.support.client import ask, chat
from tests.support.processes import ROOT, Proxy, Upstream, clean_environment

STATIC, ADMIN, PASSWORD = "k-0123456789abcdef", "admin-0123456789abcdef0123456789", "pass-of-the-database"
KEYS = {"ann": {"key": STATIC, "team": "crew"}}


class Replica:
    """A proxy with a state folder of its own; it keeps its port over restarts."""

    def __init__(self, folder: Path, upstream: Upstream, database: str, **settings: Any) -> None:
        folder.mkdir()
        document = {
            "upstreams": {"up": {"base_url": f"{upstream.url}/v1", "api_key": "sk-up"}},
            "state_path": str(folder / "state"),
            "database_url": database.replace("postgres@", f"postgres:{PASSWORD}@"),
            "database_timeout": 2,
            "enable_auth": True,
            "admin_key": ADMIN,
            "keys": KEYS,
            "teams": {"crew": {}},
            **settings,
        }
        self.folder, self._database = folder, database
        self.environ = {"CONFIG_PATH": str(folder / "config.yaml"), "WORKERS": "2"}
        (folder / "config.yaml").write_text(json.dumps(document))
        self.proxy = Proxy(folder, self.environ)

    def status(self, key: str, **body: Any) -> int:
        """Return what a chat with a key is answered with."""
        return chat(self.proxy.port, headers={"Authorization": f"Bearer {key}"}, **body).status

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command on the host of the replica."""
        environ = {**clean_environment(), **self.environ}
        command = [sys.executable, "-m", "argoproxy", *words]
        return subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=60, check=False)

    def ask(self, *words: str) -> Any:
        """Return the document that a command prints."""
        done = self.run(*words, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def counted(self, model: str) -> int:
        """Return how many requests for a model the ledger of all replicas has."""
        import psycopg  # noqa: PLC0415 where the package is missing, the tests are skipped

        try:
            with closing(psycopg.connect(self._database, connect_timeout=2)) as connection:
                row = connection.execute("SELECT count(*) FROM argoproxy_ledger WHERE model = %s", (model,)).fetchone()
        except psycopg.Error:
            return -1
        return int(row[0]) if row else 0

    def create_key(self, name: str) -> int:
        """Return what the creation of a key over HTTP is answered with."""
        headers = {"Authorization": f"Bearer {ADMIN}"}
        return ask(self.proxy.port, "POST", "/admin/keys", json.dumps({"name": name}).encode(), **headers).status

    def kill(self) -> None:
        """Kill all processes of the replica."""
        workers = self.proxy.workers()
        self.proxy.process.kill()
        for pid in workers:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.proxy.process.wait()
