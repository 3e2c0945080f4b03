"""The command line: flags become environment variables, then Gunicorn runs in this process."""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from argoproxy.config.config import load, show
from argoproxy.config.values.config_error import CANT_START, USAGE_EXIT, ConfigError, explain_refusal
from argoproxy.config.values.flags import Task, parse_arguments
from argoproxy.config.values.layers import config_file
from argoproxy.config.values.settings import BY_KEY
from argoproxy.plugins.loader import check_plugins
from argoproxy.protocol.access.printable import printable, printable_lines
from argoproxy.server.launch import run_gunicorn
from argoproxy.server.ports import port_problem
from argoproxy.server.runtime import pid_at, running_ports
from argoproxy.telemetry.journal.writer import check_journal

NOT_RELOADED = "The settings were not reloaded; the proxy keeps the previous ones"
EDITORS = ("nano", "vi", "vim")


def run() -> NoReturn:
    """Run the installed command `argoproxy`."""
    main(sys.argv[1:], "argoproxy")


def main(arguments: Sequence[str], program: str = "cot_proxy.py") -> NoReturn:
    """Run a command line: serve, or show, check, edit or reload the settings. Exits with 2 if the settings can't be
    used."""
    folder = Path.cwd()
    if arguments[:1] == ["logs"]:
        sys.exit(_run_logs(arguments[1:], folder))
    parsed = parse_arguments(arguments, program)
    environ = parsed.environment(os.environ, folder)
    sys.stderr.writelines(f"warning: {printable(warning)}\n" for warning in parsed.warnings)
    try:
        if parsed.task is Task.SHOW and parsed.model:
            _explain(environ, folder, parsed.model)
        else:
            _TASKS[parsed.task](environ, folder)
        sys.stdout.flush()
    except ConfigError as error:
        sys.stderr.write(explain_refusal(error, NOT_RELOADED if parsed.task is Task.RELOAD else CANT_START))
        sys.exit(USAGE_EXIT)
    except BrokenPipeError:
        # The reader, `head` for instance, has closed the pipe. Python would report it once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(0)


def _serve(environ: Mapping[str, str], folder: Path) -> NoReturn:
    config = load(environ, folder)
    # systemd passes an open socket in LISTEN_FDS: then the port is rightly in use.
    if "LISTEN_FDS" not in environ and (problem := port_problem(config.server.host, config.server.port)):
        raise ConfigError([problem])
    run_gunicorn(environ)


def _show(environ: Mapping[str, str], folder: Path) -> None:
    sys.stdout.writelines(f"{printable_lines(line)}\n" for line in show(environ, folder))


def _explain(environ: Mapping[str, str], folder: Path, model: str) -> None:
    from argoproxy.cli.explain import explain_model  # noqa: PLC0415 a proxy that starts does not need it

    sys.stdout.writelines(f"{printable_lines(line)}\n" for line in explain_model(load(environ, folder), model))


def _validate(environ: Mapping[str, str], folder: Path) -> None:
    config = load(environ, folder)
    if config.malformed:
        raise ConfigError(config.malformed)
    check_plugins(config)
    check_journal(config)
    sys.stdout.writelines(f"warning: {printable(warning)}\n" for warning in config.warnings)
    sys.stdout.write(f"The settings are valid; the upstream is {printable(config.description)}.\n")


def _reload(environ: Mapping[str, str], folder: Path) -> None:
    port = load(environ, folder).server.port
    pid = pid_at(port)
    if pid is None:
        raise ConfigError([f"no proxy of this user is running on port {port}"])
    os.kill(pid, signal.SIGHUP)
    sys.stdout.write(f"Asked the proxy on port {port} (process {pid}) to reload its settings; see its log.\n")


def _edit(environ: Mapping[str, str], folder: Path) -> NoReturn:
    file = config_file(environ.get("CONFIG_PATH", ""), folder)
    if not file.is_file():
        sys.stderr.write(f"{file} does not exist; copy config.sample.yaml or run ./run_app.sh\n")
        sys.exit(USAGE_EXIT)
    editor = _find_editor(environ.get("VISUAL") or environ.get("EDITOR") or "")
    if not editor or not shutil.which(editor[0]):
        sys.stderr.write("No editor was found; set EDITOR to the command of one\n")
        sys.exit(USAGE_EXIT)
    os.execvpe(editor[0], [*editor, str(file)], dict(environ))


_TASKS: Mapping[Task, Callable[[Mapping[str, str], Path], None]] = {
    Task.SERVE: _serve,
    Task.SHOW: _show,
    Task.VALIDATE: _validate,
    Task.EDIT: _edit,
    Task.RELOAD: _reload,
}


def _find_editor(command: str) -> list[str]:
    """Return the words of an editor's command, or of one that is installed; [] if there is none."""
    try:
        return shlex.split(command) or [name for name in EDITORS if shutil.which(name)][:1]
    except ValueError:
        return []


def _run_logs(arguments: Sequence[str], folder: Path) -> int:
    """Read the journal that the settings or a flag name. Returns the exit status."""
    from argoproxy.cli.logs import command as logs_command  # noqa: PLC0415 a proxy that starts does not need it

    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--output_path", "--output-path", dest="path", default="")
    parser.add_argument("--config", default="")
    parser.add_argument("--port", default="")
    parsed, rest = parser.parse_known_args(arguments)
    flags = {
        "CONFIG_PATH": str(folder / parsed.config) if parsed.config else "",
        "OUTPUT_PATH": parsed.path,
        "PORT": parsed.port,
    }
    try:
        config = load({**os.environ, **{name: value for name, value in flags.items() if value}}, folder)
    except ConfigError as error:
        sys.stderr.write(explain_refusal(error))
        return USAGE_EXIT
    port = config.server.port if parsed.port else _likely_port(config.server.port)
    return logs_command.main(rest, config.journal.folder if config.journal else None, port)


def _likely_port(configured: int) -> int:
    """Return the configured port; if that is the default, the port of the only running proxy of this user, if any."""
    ports = list(running_ports()) if configured == BY_KEY["port"].default else []
    return ports[0] if len(ports) == 1 else configured
