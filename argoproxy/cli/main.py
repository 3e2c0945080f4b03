"""The command line: flags become environment variables, then Gunicorn takes over this very process."""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from argoproxy.cli.explain import explained
from argoproxy.cli.logs import command as logs_command
from argoproxy.config.config import Config, load, show
from argoproxy.config.values.config_error import CANT_START, USAGE_EXIT, ConfigError, explain_refusal
from argoproxy.config.values.flags import Task, parse_arguments
from argoproxy.config.values.layers import config_file
from argoproxy.config.values.settings import BY_KEY
from argoproxy.plugins.loader import check_plugins
from argoproxy.protocol.access.printable import printable, printable_lines
from argoproxy.server.ports import port_problem
from argoproxy.server.runtime import pid_at, running_ports
from argoproxy.telemetry.journal.writer import check_journal

RUNS_ON = "Nothing was read anew; what runs goes on with the settings it has"
EDITORS = ("nano", "vi", "vim")


def command() -> NoReturn:
    """Be the installed command `argo-proxy`."""
    main(sys.argv[1:], "argo-proxy")


def main(arguments: Sequence[str], program: str = "cot_proxy.py") -> NoReturn:
    """Do what a command line asks for: check the settings and become Gunicorn, or something less. Exits with 2 when
    the settings can't be used."""
    folder = Path.cwd()
    if arguments[:1] == ["logs"]:
        sys.exit(_logs(arguments[1:], folder))
    asked = parse_arguments(arguments, program)
    environ = asked.environment(os.environ, folder)
    sys.stderr.writelines(f"warning: {printable(warning)}\n" for warning in asked.warnings)
    if asked.task is Task.EDIT:
        _edit(environ, folder)
    try:
        if asked.task is Task.SHOW:
            lines = explained(load(environ, folder), asked.model) if asked.model else show(environ, folder)
            sys.stdout.writelines(f"{printable_lines(line)}\n" for line in lines)
        elif asked.task is Task.VALIDATE:
            _validate(environ, folder)
        elif asked.task is Task.RELOAD:
            _reload(load(environ, folder).server.port)
        else:
            _refuse_taken_port(load(environ, folder), environ)
            _serve(environ)
        sys.stdout.flush()
    except ConfigError as error:
        sys.stderr.write(explain_refusal(error, RUNS_ON if asked.task is Task.RELOAD else CANT_START))
        sys.exit(USAGE_EXIT)
    except BrokenPipeError:  # who reads has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(0)


def _logs(arguments: Sequence[str], folder: Path) -> int:
    """Read the journal that the settings, or a flag, name: the exit status."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--output_path", "--output-path", dest="path", default="")
    parser.add_argument("--config", default="")
    parser.add_argument("--port", default="")
    asked, rest = parser.parse_known_args(arguments)
    named = {"CONFIG_PATH": str(folder / asked.config)} if asked.config else {}
    flags = {"OUTPUT_PATH": asked.path, "PORT": asked.port}
    said = {name: value for name, value in flags.items() if value}
    try:
        config = load({**os.environ, **named, **said}, folder)
    except ConfigError as error:
        sys.stderr.write(explain_refusal(error))
        return USAGE_EXIT
    port = config.server.port if asked.port else _likely_port(config.server.port)
    return logs_command.main(rest, config.journal.folder if config.journal else None, port)


def _likely_port(configured: int) -> int:
    """Return the port that is configured; where none is, that of the one proxy of this user that runs."""
    ports = list(running_ports()) if configured == BY_KEY["port"].default else []
    return ports[0] if len(ports) == 1 else configured


def _refuse_taken_port(config: Config, environ: Mapping[str, str]) -> None:
    """Raise ConfigError where nobody can listen at the port, unless systemd hands a socket over."""
    if "LISTEN_FDS" not in environ and (problem := port_problem(config.server.host, config.server.port)):
        raise ConfigError([problem])


def _serve(environ: Mapping[str, str]) -> NoReturn:
    package = Path(__file__).resolve().parent.parent
    path = os.pathsep.join(filter(None, (str(package.parent), environ.get("PYTHONPATH"))))
    command = [
        sys.executable,
        "-m",
        "gunicorn",
        "-c",
        str(package / "server" / "gunicorn_config.py"),
        "argoproxy.wsgi:app",
    ]
    os.execve(sys.executable, command, {**environ, "PYTHONPATH": path})


def _validate(environ: Mapping[str, str], folder: Path) -> None:
    config = load(environ, folder)
    if config.malformed:
        raise ConfigError(config.malformed)
    check_plugins(config)
    check_journal(config)
    sys.stdout.writelines(f"warning: {printable(warning)}\n" for warning in config.warnings)
    sys.stdout.write(f"The settings can be used; the upstream is {printable(config.description)}.\n")


def _reload(port: int) -> None:
    pid = pid_at(port)
    if pid is None:
        raise ConfigError([f"no proxy of this user runs at port {port}"])
    os.kill(pid, signal.SIGHUP)
    sys.stdout.write(f"The proxy at port {port} (process {pid}) was asked; its log tells what it made of it.\n")


def _edit(environ: Mapping[str, str], folder: Path) -> NoReturn:
    file = config_file(environ.get("CONFIG_PATH", ""), folder)
    if not file.is_file():
        sys.stderr.write(f"{file} does not exist; copy config.sample.yaml or start ./run_app.sh\n")
        sys.exit(USAGE_EXIT)
    editor = _editor(environ.get("VISUAL") or environ.get("EDITOR") or "")
    if not editor or not shutil.which(editor[0]):
        sys.stderr.write("No editor was found; EDITOR=… names one\n")
        sys.exit(USAGE_EXIT)
    os.execvpe(editor[0], [*editor, str(file)], dict(environ))


def _editor(wished: str) -> list[str]:
    """Give the command of an editor, nothing when there is none."""
    try:
        return shlex.split(wished) or [name for name in EDITORS if shutil.which(name)][:1]
    except ValueError:
        return []
