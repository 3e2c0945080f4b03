"""`config show`, `validate`, `edit`, `init`: the settings, their mistakes, and the file that holds them."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from argoproxy.cli import config_init
from argoproxy.cli.serve import read_environment
from argoproxy.config.config import load, read_shown, show
from argoproxy.config.values.config_error import CANT_START, USAGE_EXIT, ConfigError, explain_refusal
from argoproxy.config.values.flags import Arguments, Task, parse_for_task
from argoproxy.config.values.layers import config_file
from argoproxy.plugins.loader import check_plugins
from argoproxy.protocol.access.printable import printable, printable_lines
from argoproxy.telemetry.journal.writer import check_journal

EDITORS = ("nano", "vi", "vim")
_WORDS = {"show": Task.SHOW, "validate": Task.VALIDATE, "edit": Task.EDIT}
_HELP = """\
usage: {program} show|validate|edit|init [config.yaml] [flags]

  show       print all settings and where each is set, secrets starred (--model NAME: what happens to a model; --json)
  validate   print all mistakes in the settings; exits with 2 if there is one
  edit       open the config file in $VISUAL or $EDITOR
  init       write a small config file with comments; never replaces one
"""


def main(arguments: Sequence[str], program: str) -> int:
    """Run `config …` and return the exit status."""
    word = arguments[0] if arguments else ""
    if word in _WORDS:
        return run_task(parse_for_task(_WORDS[word], arguments[1:], f"{program} {word}"))
    if word == "init":
        return config_init.main(arguments[1:], f"{program} init")
    is_help = word in ("--help", "-h")
    (sys.stdout if is_help else sys.stderr).write(_HELP.format(program=program))
    return 0 if is_help else USAGE_EXIT


def run_task(parsed: Arguments) -> int:
    """Do what the arguments ask for, and return the exit status."""
    environ, folder = read_environment(parsed)
    try:
        _TASKS[parsed.task](parsed, environ, folder)
    except ConfigError as error:
        sys.stderr.write(explain_refusal(error, CANT_START))
        return error.exit_status
    return 0


def _show(parsed: Arguments, environ: Mapping[str, str], folder: Path) -> None:
    if parsed.model:
        _explain(parsed, environ, folder)
    elif parsed.as_json:
        config, settings = read_shown(environ, folder)
        rows = [{"key": one.key, "value": one.value, "place": one.place} for one in settings]
        document = {"upstream": config.description, "warnings": config.warnings, "settings": rows}
        sys.stdout.write(f"{json.dumps(document, indent=2)}\n")
    else:
        sys.stdout.writelines(f"{printable_lines(line)}\n" for line in show(environ, folder))


def _explain(parsed: Arguments, environ: Mapping[str, str], folder: Path) -> None:
    from argoproxy.cli.explain import explain_model  # noqa: PLC0415 loads what serves requests
    from argoproxy.web.model_description import describe_model  # noqa: PLC0415

    config = load(environ, folder)
    if parsed.as_json:
        sys.stdout.write(f"{json.dumps(describe_model(config, parsed.model), indent=2)}\n")
    else:
        sys.stdout.writelines(f"{printable_lines(line)}\n" for line in explain_model(config, parsed.model))


def _validate(parsed: Arguments, environ: Mapping[str, str], folder: Path) -> None:
    config = load(environ, folder)
    if config.malformed:
        raise ConfigError(config.malformed)
    check_plugins(config)
    check_journal(config)
    sys.stdout.writelines(f"warning: {printable(warning)}\n" for warning in config.warnings)
    sys.stdout.write(f"The settings are valid; the upstream is {printable(config.description)}.\n")


def _edit(parsed: Arguments, environ: Mapping[str, str], folder: Path) -> NoReturn:
    file = config_file(environ.get("CONFIG_PATH", ""), folder)
    if not file.is_file():
        raise SystemExit(_fail(f"{file} does not exist; `config init` writes one"))
    editor = _find_editor(environ.get("VISUAL") or environ.get("EDITOR") or "")
    if not editor or not shutil.which(editor[0]):
        raise SystemExit(_fail("No editor was found; set EDITOR to the command of one"))
    os.execvpe(editor[0], [*editor, str(file)], dict(environ))


def _fail(message: str) -> int:
    sys.stderr.write(f"{message}\n")
    return USAGE_EXIT


_TASKS: Mapping[Task, Callable[[Arguments, Mapping[str, str], Path], None]] = {
    Task.SHOW: _show,
    Task.VALIDATE: _validate,
    Task.EDIT: _edit,
}


def _find_editor(command: str) -> list[str]:
    """Return the words of an editor's command, or of one that is installed; [] if there is none."""
    try:
        return shlex.split(command) or [name for name in EDITORS if shutil.which(name)][:1]
    except ValueError:
        return []
