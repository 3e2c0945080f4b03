"""PostgreSQL, PgBouncer, nginx and HAProxy as processes of the tests, each with a folder and a port of its own."""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.nginx import prepare_nginx
from tests.support.processes import PATIENCE_S, clean_environment, eventually, free_port, is_listening, spawn

#: Set where all engines are installed: what is missing is then an error, not a reason to skip.
REQUIRED = bool(os.environ.get("REQUIRE_ENGINES"))
#: Debian keeps the programs of PostgreSQL beside PATH, in a folder for each version.
POSTGRES_FOLDERS = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)


def find_program(name: str) -> str:
    """Return where a program is. Skips the test if it is nowhere."""
    beside = os.pathsep.join(map(str, POSTGRES_FOLDERS))
    return shutil.which(name) or shutil.which(name, path=beside) or _miss(f"{name} is not installed")


def need_package(name: str) -> None:
    """Skip the test if a package of Python is missing."""
    if importlib.util.find_spec(name) is None:
        _miss(f"the package {name} is not installed")


def _miss(reason: str) -> str:
    if REQUIRED:
        pytest.fail(reason)
    pytest.skip(reason)


class Engine:
    """A server that listens on a port; it can be killed and started again with what it had stored."""

    def __init__(self, command: Sequence[str], port: int, folder: Path) -> None:
        self.port, self.folder, self._command = port, folder, command
        self._log = folder / "log.txt"
        self.start()

    def start(self) -> None:
        """Start it, and wait until it listens."""
        with self._log.open("ab") as log:
            self.process = spawn(self._command, cwd=self.folder, env=clean_environment(), stdout=log, stderr=log)
        eventually(lambda: is_listening(self.port) or self.process.poll() is not None)
        assert self.process.poll() is None, self.log()

    def log(self) -> str:
        """Return what it has logged."""
        return self._log.read_text(errors="replace")

    def kill(self) -> None:
        """End it at once."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """Ask it to end, and wait."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.kill()


class Postgres(Engine):
    """PostgreSQL with an empty database; the user `postgres` needs no password."""

    def __init__(self, *options: str) -> None:
        self._prefix = _as_user("postgres")
        folder = Path(tempfile.mkdtemp(prefix="argoproxy-postgres-"))
        if self._prefix:
            shutil.chown(folder, "postgres")
        self._run("initdb", "-D", f"{folder}/data", "-U", "postgres", "-A", "trust", "--no-sync", "-E", "UTF8")
        port = free_port()
        fixed = ["-D", f"{folder}/data", "-k", str(folder), "-h", "127.0.0.1", "-p", str(port), "-F"]
        super().__init__([*self._prefix, find_program("postgres"), *fixed, *options], port, folder)
        eventually(self._answers)

    @property
    def url(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def stop(self) -> None:
        """End it at once, whoever is connected, and remove its folder."""
        self.process.send_signal(signal.SIGQUIT)
        self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _answers(self) -> bool:
        asked = [find_program("pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(asked, check=False).returncode == 0

    def _run(self, program: str, *arguments: str) -> None:
        command = [*self._prefix, find_program(program), *arguments]
        done = subprocess.run(command, cwd="/", capture_output=True, text=True, timeout=PATIENCE_S, check=False)
        assert done.returncode == 0, done.stderr


def _as_user(name: str) -> list[str]:
    """Return what runs a command as another user, which ends with its parent too: PostgreSQL never runs as root."""
    if os.getuid():
        return []
    try:
        pwd.getpwnam(name)
    except KeyError:
        _miss(f"PostgreSQL does not run as root, and there is no user {name}")
    same_user = [f"--reuid={name}", f"--regid={name}", "--clear-groups"]
    return [find_program("setpriv"), *same_user, "--pdeathsig", "keep", "--"]


class PgBouncer(Engine):
    """PgBouncer in front of a server: each transaction may run in another connection."""

    def __init__(self, server: Postgres) -> None:
        prefix, program, port = _as_user("postgres"), find_program("pgbouncer"), free_port()
        folder = Path(tempfile.mkdtemp(prefix="argoproxy-pgbouncer-"))
        folder.chmod(0o755)
        file = folder / "pgbouncer.ini"
        file.write_text(
            f"[databases]\n* = host=127.0.0.1 port={server.port} user=postgres\n[pgbouncer]\nlisten_addr=127.0.0.1\n"
            f"listen_port={port}\nunix_socket_dir=\nauth_type=any\npool_mode=transaction\ndefault_pool_size=3\n"
            # Connections take turns, so that what one session has left would meet another one.
            "server_round_robin=1\n"
        )
        super().__init__([*prefix, program, str(file)], port, folder)

    @property
    def url(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def stop(self) -> None:
        """End it at once, and remove its folder."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


class Nginx(Engine):
    """nginx with a block of its settings, in which `{port}` is where it listens."""

    def __init__(self, folder: Path, block: str) -> None:
        find_program("nginx")
        port = free_port()
        super().__init__(prepare_nginx(folder, block.replace("{port}", str(port))), port, folder)


class HAProxy(Engine):
    """HAProxy with these settings, in which `{port}` is where it listens."""

    def __init__(self, folder: Path, settings: str) -> None:
        port, file = free_port(), folder / "haproxy.cfg"
        file.write_text(settings.replace("{port}", str(port)))
        super().__init__([find_program("haproxy"), "-db", "-f", str(file)], port, folder)
