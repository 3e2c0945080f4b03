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

from argoproxy import __version__
from argoproxy.config.values.declaration import Flag, Setting
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
  %(prog)s config.yaml --show                         print all settings and where each is set
  %(prog)s config show --model NAME                   print the rules for a model and the request it would get
  %(prog)s logs tail | show ID | stats                read the journal
  %(prog)s reload config.yaml                         make the running proxy read its settings again

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
class Arguments:
    """A parsed command line: the task, the config file, environment variables to set, whether all questions are
    answered with yes, the model to explain."""

    task: Task
    file: str
    variables: Mapping[str, str]
    yes: bool
    model: str = ""
    warnings: Sequence[str] = ()

    def environment(self, environ: Mapping[str, str], folder: Path) -> dict[str, str]:
        """Return an environment with these arguments in it."""
        config_path = {"CONFIG_PATH": str(folder / self.file)} if self.file else {}
        return {**environ, **config_path, **self.variables, FLAGS_VARIABLE: ",".join(self.variables)}


TASKS = {
    Task.SHOW: "print all settings and where each is set, secrets starred, and exit",
    Task.VALIDATE: "print all mistakes in the settings, and exit: with 0 if there are none, else with 2",
    Task.EDIT: "open the config file in $VISUAL or $EDITOR, and exit",
    Task.RELOAD: "make the proxy that runs at the port read its settings again, and exit",
}


def parse_arguments(arguments: Sequence[str], program: str) -> Arguments:
    """Parse a command line. Raises SystemExit for --help, --version and invalid arguments."""
    parser = _make_parser(program)
    options = vars(parser.parse_args(_as_flags(arguments)))
    task, file, yes, model = (options.pop(name) for name in ("task", "file", "yes", "model"))
    if model and task is not Task.SHOW:
        parser.error("--model needs --show")
    variables = {name: value for name, value in options.items() if value is not None}
    warnings = _warn_of_milliseconds(variables.get("API_REQUEST_TIMEOUT", ""))
    for setting, flag in _flags():
        number = variables.get(setting.environment, "").strip()
        if flag.unit and _PLAIN_NUMBER.fullmatch(number):
            variables[setting.environment] = number + flag.unit
    return Arguments(task, file, variables, yes, model, warnings)


def _flags() -> Sequence[tuple[Setting, Flag]]:
    return [(setting, flag) for setting in SETTINGS for flag in setting.flags]


def _make_parser(program: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=program,
        description="An OpenAI-compatible proxy in front of any LLM endpoint.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("file", nargs="?", default="", metavar="config.yaml", help="settings; else $CONFIG_PATH, else ./config.yaml")
    add("--version", action="version", version=f"argoproxy {__version__}")
    add("--yes", action="store_true", help="answer all questions of the first start (./run_app.sh) with yes")
    add("--model", default="", metavar="NAME", help="with --show: print what happens to a request for this model")
    for setting, flag in _flags():
        about = (flag.about or setting.about[0].lower() + setting.about[1:]).replace("%", "%%")
        if flag.metavar:
            add(*flag.names, dest=setting.environment, metavar=flag.metavar, help=about)
        else:
            add(*flag.names, dest=setting.environment, action="store_const", const=flag.constant, help=about)
    tasks = parser.add_mutually_exclusive_group()
    for task, about in TASKS.items():
        tasks.add_argument(task.value, dest="task", action="store_const", const=task, default=Task.SERVE, help=about)
    return parser


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
