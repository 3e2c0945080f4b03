"""The commands by their names: what `--help` prints, and which module runs each. Imports next to nothing, because
every start and every `--help` comes through here."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence


class Command(NamedTuple):
    """A command: its name, the words that may follow, the module whose `main(arguments, program)` runs it and returns
    the exit status, and what it does."""

    name: str
    words: str
    module: str
    about: str

    def run(self, arguments: Sequence[str], program: str) -> int:
        """Run it. `program` is how the user calls it, for messages: `argoproxy models`."""
        status: int = import_module(self.module).main(arguments, program)
        return status


SERVE = Command("serve", "[config.yaml] [flags]", "argoproxy.cli.serve", "start the proxy (also without this word)")
COMMANDS = {
    command.name: command
    for command in (
        SERVE,
        Command("doctor", "[flags]", "argoproxy.cli.doctor", "find what is wrong, and the line to change"),
        Command("models", "[--json]", "argoproxy.cli.models_command", "the models that clients may ask for"),
        Command(
            "upstreams", "[--json]", "argoproxy.cli.upstreams.upstreams_command", "whether each is asked, or why not"
        ),
        Command("config", "show|validate|edit|init", "argoproxy.cli.config_command", "the settings, and a first file"),
        Command("logs", "tail|show|stats", "argoproxy.cli.logs.journal_command", "read the journal"),
        Command(
            "keys", "create|list|show|…", "argoproxy.cli.keys.keys_command", "keys for clients: argoproxy keys --help"
        ),
        Command("usage", "[--by team|model|day]", "argoproxy.cli.usage.usage_command", "what keys have used and spent"),
        Command("console", "[--port N]", "argoproxy.console.console_command", "a page that shows what the proxy does"),
        Command("top", "[--once] [--json]", "argoproxy.console.top_command", "what the proxy does now, in a terminal"),
        Command("reload", "[--port N]", "argoproxy.cli.reload", "make a running proxy read its settings again"),
        Command("completion", "bash|zsh|fish", "argoproxy.cli.completion", "completion for a shell, to be sourced"),
    )
}

_HELP = """\
usage: {program} [command] [config.yaml] [flags]

An OpenAI-compatible proxy in front of any LLM endpoint.

commands ({program} COMMAND --help tells more):
{commands}

flags:
  --demo                    answer from an embedded demo: no key, no network
  --url URL                 the endpoint: its base URL
  --port N, --host ADDRESS  where to listen; also --expose_port, --expose_host
  --native-openai           Argo's OpenAI-compatible endpoint, requests unchanged
  --username-passthrough    the client's key is the user name
  --mode MODE               ask endpoints for a stream: stream, non_stream, off
  --timeout MS              how long an endpoint may be silent: 60000, or 60s
  --compatible              errors with status 200
  --output_path DIR         keep a journal of requests and answers
  --state_path DIR          keep keys in this folder: {program} keys create NAME
  --verbose, --quiet        log each request, or warnings only
  --yes                     answer the questions of the first start with yes
  --show, --validate, --edit, --reload    as config show, validate, edit; reload
  --version, --help

examples:
  {program} --demo
  {program} --url http://localhost:8000/v1
  {program} config.yaml --port 5001
  {program} config show --model NAME

Each setting has a key in the config file and a variable too: docs/settings.md.
Exit status: 0 done, 1 failed, 2 wrong settings or usage, 3 port taken,
130 interrupted: docs/cli.md.
"""


def help_text(program: str) -> str:
    """Return what `--help` prints without a command."""
    rows = (f"  {f'{command.name} {command.words}':<30} {command.about}" for command in COMMANDS.values())
    return _HELP.format(program=program, commands="\n".join(rows))


def is_path(word: str) -> bool:
    """Return whether a word can only be meant as the path of a config file: it has a slash or a dot."""
    return "/" in word or "." in word


def explain_word(word: str, program: str) -> str:
    """Return the message about a first word that is neither a command nor a file."""
    from difflib import get_close_matches  # noqa: PLC0415 for mistakes only

    close = get_close_matches(word.lower(), COMMANDS, n=1, cutoff=0.5)
    hint = f"did you mean {program} {close[0]}?" if close else f"commands are {', '.join(COMMANDS)}"
    return f"{program}: {word!a} is neither a command nor a file; {hint}"
