"""The flags of the command line.

Standard library and argoproxy only: the first start parses them before anything is installed.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from argoproxy import __version__
from argoproxy.config.options.declaration import Flag, Setting
from argoproxy.config.values.settings import SETTINGS

#: Flags are passed on as environment variables; this variable lists which of them are flags.
FLAGS_VARIABLE = "ARGOPROXY_FLAGS"
#: Milliseconds below which a plain number was probably meant as seconds.
SMALL_MS = 1000

_PLAIN_NUMBER = re.compile(r"[\d.]+", re.ASCII)
EPILOG = """
examples:
  %(prog)s --demo                                     try it: no key, no network
  %(prog)s --url http://localhost:8000/v1             in front of vLLM, llama.cpp, Ollama …
  %(prog)s config.yaml --port 5001 --quiet            with the settings of a file

Every setting can also be set in the config file and in the environment: see docs/settings.md and config.sample.yaml.
A flag wins over the environment, the environment over the file.
"""


class Task(Enum):
    """What to do; the value is the flag that asks for it."""

    SERVE = ""
    SHOW = "--show"
    VALIDATE = "--validate"
    EDIT = "--edit"
    RELOAD = "--reload"


@dataclass(frozen=True, slots=True)
class SettingFlags:
    """What a command line says about settings: the config file, environment variables to set, and warnings."""

    file: str
    variables: Mapping[str, str]
    warnings: Sequence[str]

    def environment(self, environ: Mapping[str, str], folder: Path) -> dict[str, str]:
        """Return an environment with these settings in it."""
        config_path = {"CONFIG_PATH": str(folder / self.file)} if self.file else {}
        return {**environ, **config_path, **self.variables, FLAGS_VARIABLE: ",".join(self.variables)}


@dataclass(frozen=True, slots=True)
class Arguments(SettingFlags):
    """A parsed command line: also the task, whether all questions are answered with yes, the model to explain, and
    whether to print JSON."""

    task: Task = Task.SERVE
    yes: bool = False
    model: str = ""
    as_json: bool = False


TASKS = {
    Task.SHOW: "print all settings and where each is set, secrets starred, and exit",
    Task.VALIDATE: "print all mistakes in the settings, and exit: with 0 if there are none, else with 2",
    Task.EDIT: "open the config file in $VISUAL or $EDITOR, and exit",
    Task.RELOAD: "make the proxy that runs at the port read its settings again, and exit",
}


def parse_arguments(arguments: Sequence[str], program: str) -> Arguments:
    """Parse a command line whose task is a flag, `--show` for instance, or the words that stand for it. Raises
    SystemExit for --help, --version and invalid arguments."""
    parser = make_parser(program, "Start the proxy.", EPILOG)
    add = parser.add_argument
    add("--version", action="version", version=f"argoproxy {__version__}")
    add("--yes", action="store_true", help="answer all questions of the first start (./run_app.sh) with yes")
    _add_show_options(parser, "with --show: ")
    tasks = parser.add_mutually_exclusive_group()
    for task, about in TASKS.items():
        tasks.add_argument(task.value, dest="task", action="store_const", const=task, default=Task.SERVE, help=about)
    options = vars(parser.parse_args(_as_flags(arguments)))
    if (options["model"] or options["as_json"]) and options["task"] is not Task.SHOW:
        parser.error(f"{'--model' if options['model'] else '--json'} needs --show")
    settings = take_settings(options)
    return Arguments(settings.file, settings.variables, settings.warnings, **options)


def parse_for_task(task: Task, arguments: Sequence[str], program: str) -> Arguments:
    """Parse the arguments that follow the words for a task, `config show` for instance. Raises SystemExit."""
    parser = make_parser(program, TASKS[task][0].upper() + TASKS[task][1:] + ".")
    if task is Task.SHOW:
        _add_show_options(parser, "")
    options = vars(parser.parse_args(arguments))
    settings = take_settings(options)
    return Arguments(settings.file, settings.variables, settings.warnings, task=task, **options)


def make_parser(program: str, about: str, epilog: str = "") -> argparse.ArgumentParser:
    """Return a parser of the config file and of all flags of settings, for a command that has options of its own."""
    parser = argparse.ArgumentParser(
        prog=program,
        description=about,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("file", nargs="?", default="", metavar="config.yaml", help="settings; else $CONFIG_PATH, else ./config.yaml")
    group = parser.add_argument_group("settings")
    for setting, flag in _flags():
        text = (flag.about or setting.about[0].lower() + setting.about[1:]).replace("%", "%%")
        if flag.metavar:
            group.add_argument(*flag.names, dest=setting.environment, metavar=flag.metavar, help=text)
        else:
            group.add_argument(
                *flag.names, dest=setting.environment, action="store_const", const=flag.constant, help=text
            )
    return parser


def take_settings(options: dict[str, Any]) -> SettingFlags:
    """Take what `make_parser` has added out of parsed options: then the command's own are left."""
    file = options.pop("file")
    names = dict.fromkeys(setting.environment for setting, _ in _flags())
    given = {name: options.pop(name) for name in names}
    variables = {name: value for name, value in given.items() if value is not None}
    warnings = _warn_of_milliseconds(variables.get("API_REQUEST_TIMEOUT", ""))
    for setting, flag in _flags():
        number = variables.get(setting.environment, "").strip()
        if flag.unit and _PLAIN_NUMBER.fullmatch(number):
            variables[setting.environment] = number + flag.unit
    return SettingFlags(file, variables, warnings)


def _flags() -> Sequence[tuple[Setting, Flag]]:
    return [(setting, flag) for setting in SETTINGS for flag in setting.flags]


def _add_show_options(parser: argparse.ArgumentParser, when: str) -> None:
    add = parser.add_argument
    add("--model", default="", metavar="NAME", help=f"{when}print what happens to a request for this model")
    add("--json", dest="as_json", action="store_true", help=f"{when}print JSON")


def _warn_of_milliseconds(timeout: str) -> Sequence[str]:
    """Return a warning if a plain number is so small that seconds were probably meant."""
    number = timeout.strip()
    if not re.fullmatch(r"\d+(\.\d+)?", number, re.ASCII) or not 0 < float(number) < SMALL_MS:
        return ()
    return (
        f"--timeout {number} counts milliseconds: it is {float(number) / 1000:g} seconds; "
        f"write --timeout {number}s for {number} seconds",
    )


def _as_flags(arguments: Sequence[str]) -> list[str]:
    """Replace `config show`, `config validate`, `config edit` and `reload` by their flags."""
    words = list(arguments)
    if words[:1] == ["reload"]:
        return [Task.RELOAD.value, *words[1:]]
    if words[:1] == ["config"] and words[1:2] in (["show"], ["validate"], ["edit"]):
        return [f"--{words[1]}", *words[2:]]
    return words
