"""The flags of the command line. Standard library only: the first start reads them before anything is installed."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from argoproxy import __version__

#: Flags travel as environment variables; this one lists which of them came as flags.
FLAGS_VARIABLE = "ARGOPROXY_FLAGS"

#: Milliseconds below which a plain number was probably meant as seconds.
SMALL_MS = 1000

_PLAIN_NUMBER = re.compile(r"[\d.]+", re.ASCII)
EPILOG = """
examples:
  %(prog)s --demo                                     try it: no key, no network
  %(prog)s --url http://localhost:8000/v1             in front of vLLM, llama.cpp, Ollama …
  %(prog)s config.yaml --port 5001 --quiet            with the settings of a file
  %(prog)s config.yaml --show                         what is set, and where it comes from
  %(prog)s config show --model NAME                   which rule counts for a model, and what would be sent
  %(prog)s logs tail | show ID | stats                 the journal, for a person to read
  %(prog)s reload config.yaml                         have the running proxy read its settings anew

Every setting can be made in the config file and in the environment too; config.sample.yaml and README.md list them.
A flag wins over the environment, the environment over the file.
"""


class Task(Enum):
    """What is to be done instead of serving; the value is the flag."""

    SERVE = ""
    SHOW = "--show"
    VALIDATE = "--validate"
    EDIT = "--edit"
    RELOAD = "--reload"


@dataclass(frozen=True, slots=True)
class Flag:
    """A flag and the variable it stands for; `stands_for` is the value of one that takes none, `unit` what is put
    behind a plain number."""

    names: tuple[str, ...]
    variable: str
    metavar: str
    stands_for: str
    about: str
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Arguments:
    """A command line: the task, the config file named, variables to set, whether questions are answered with yes, the
    model that is to be explained."""

    task: Task
    file: str
    variables: Mapping[str, str]
    yes: bool
    model: str = ""
    warnings: Sequence[str] = ()

    def environment(self, environ: Mapping[str, str], folder: Path) -> dict[str, str]:
        """Give an environment with the flags in it."""
        named = {"CONFIG_PATH": str(folder / self.file)} if self.file else {}
        return {**environ, **named, **self.variables, FLAGS_VARIABLE: ",".join(self.variables)}


FLAGS = (
    Flag(("--demo",), "DEMO", "", "true", "serve the embedded demo model: no key, no network"),
    Flag(("--url",), "TARGET_BASE_URL", "URL", "", "the endpoint behind the proxy"),
    Flag(("--host", "--expose_host"), "HOST", "ADDRESS", "", "address to listen on (0.0.0.0)"),
    Flag(("--port", "--expose_port"), "PORT", "PORT", "", "port to listen on (5000)"),
    Flag(("--native-openai",), "USE_NATIVE_OPENAI", "", "true", "pass everything on to Argo's own endpoint"),
    Flag(("--username-passthrough",), "USERNAME_PASSTHROUGH", "", "true", "make a caller's API key the user"),
    Flag(("--mode",), "MODE", "MODE", "", "how upstreams are asked: stream, non_stream, or off, as the client did"),
    Flag(("--timeout",), "API_REQUEST_TIMEOUT", "MS", "", "milliseconds to the first byte, and between bytes", "ms"),
    Flag(("--output_path", "--output-path"), "OUTPUT_PATH", "DIR", "", "folder of the journal"),
    Flag(("--compatible",), "COMPATIBLE", "", "true", "tell errors under the status 200"),
    Flag(("--verbose",), "VERBOSE", "", "true", "log a line for each request"),
    Flag(("--quiet",), "VERBOSE", "", "false", "log warnings only"),
)
TASKS = {
    Task.SHOW: "show every setting and where it comes from, secrets starred, and exit",
    Task.VALIDATE: "tell every mistake there is in the settings, and exit: 0 when there is none, 2 otherwise",
    Task.EDIT: "open the config file in $VISUAL or $EDITOR, and exit",
    Task.RELOAD: "have the proxy that runs at the port read its settings anew, and exit",
}


def parse(arguments: Sequence[str], program: str) -> Arguments:
    """Read a command line. Raises SystemExit for --help, --version and for what can't be read."""
    parser = argparse.ArgumentParser(
        prog=program,
        description="An OpenAI-compatible proxy in front of any LLM endpoint.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "file", nargs="?", default="", metavar="config.yaml", help="settings; else $CONFIG_PATH, else ./config.yaml"
    )
    parser.add_argument("--version", action="version", version=f"argoproxy {__version__}")
    parser.add_argument(
        "--yes", action="store_true", help="answer every question of a first start (./run_app.sh) with yes"
    )
    parser.add_argument(
        "--model", default="", metavar="NAME", help="with --show: what becomes of a request for this model"
    )
    for flag in FLAGS:
        how = {"metavar": flag.metavar} if flag.metavar else {"action": "store_const", "const": flag.stands_for}
        parser.add_argument(*flag.names, dest=flag.variable, help=flag.about, **how)  # type: ignore[arg-type]
    tasks = parser.add_mutually_exclusive_group()
    for task, about in TASKS.items():
        tasks.add_argument(task.value, dest="task", action="store_const", const=task, default=Task.SERVE, help=about)
    given = vars(parser.parse_args(_as_flags(arguments)))
    warnings = _warning_of_milliseconds(given["API_REQUEST_TIMEOUT"] or "")
    for flag in FLAGS:
        if flag.unit and _PLAIN_NUMBER.fullmatch((given[flag.variable] or "").strip()):
            given[flag.variable] = given[flag.variable].strip() + flag.unit
    task, file, yes, model = (given.pop(name) for name in ("task", "file", "yes", "model"))
    if model and task is not Task.SHOW:
        parser.error("--model goes with --show")
    variables = {name: value for name, value in given.items() if value is not None}
    return Arguments(task, file, variables, yes, model, warnings)


def _warning_of_milliseconds(timeout: str) -> Sequence[str]:
    """Return a warning where a plain number is so small that seconds were probably meant."""
    number = timeout.strip()
    if not re.fullmatch(r"\d+(\.\d+)?", number, re.ASCII) or not 0 < float(number) < SMALL_MS:
        return ()
    return (
        f"--timeout {number} counts milliseconds: it is {float(number) / 1000:g} seconds; "
        f"write --timeout {number}s for {number} seconds",
    )


def _as_flags(arguments: Sequence[str]) -> list[str]:
    """Read `config show`, `config validate`, `config edit` and `reload` as the flags they stand for."""
    words = list(arguments)
    if words[:1] == ["reload"]:
        return [Task.RELOAD.value, *words[1:]]
    if words[:1] == ["config"] and words[1:2] in (["show"], ["validate"], ["edit"]):
        return [f"--{words[1]}", *words[2:]]
    return words
