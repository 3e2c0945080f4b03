"""`completion`: a script that completes commands, flags and their values in a shell."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain

from argoproxy.cli.commands import COMMANDS
from argoproxy.config.values.config_error import USAGE_EXIT
from argoproxy.config.values.settings import SETTINGS

#: The names under which the command is completed: installed, in a checkout, and the script that installs it first.
PROGRAMS = ("argoproxy", "argo-proxy", "run_app.sh")
#: All flags of settings.
SETTING_FLAGS = tuple(name for setting in SETTINGS for flag in setting.flags for name in flag.names)
_KEY_FIELDS = (
    *("--models", "--expires", "--team", "--note"),
    *("--rpm", "--tpm", "--concurrent", "--budget", "--model-limit", "--reserve"),
)
#: What may follow the words of `keys`.
KEYS: Mapping[str, tuple[str, ...]] = {
    "create": _KEY_FIELDS,
    "list": (),
    "show": (),
    "set": (*_KEY_FIELDS, "--enable"),
    "rotate": ("--overlap", "--replace-new"),
    "disable": (),
    "import": ("--prune",),
    "export": (),
}
#: What may follow a command, beside flags of settings (`SETTINGS_OF`) and files.
WORDS: Mapping[str, tuple[str, ...]] = {
    "": (*COMMANDS, "--help", "--version", "--yes", "--show", "--validate", "--edit", "--reload", "--model", "--json"),
    "serve": ("--help", "--version", "--yes", "--show", "--validate", "--edit", "--reload", "--model", "--json"),
    "doctor": ("--help", "--upstream", "--model", "--no-chat", "--json", "--strict", "--through", "--patience"),
    "models": ("--help", "--json"),
    "upstreams": ("--help", "--json"),
    "config": ("show", "validate", "edit", "init", "--help"),
    "config show": ("--help", "--model", "--json"),
    "config validate": ("--help",),
    "config edit": ("--help",),
    "config init": ("--help",),
    "logs": ("tail", "show", "stats", "--help"),
    "logs tail": ("--help", "--lines", "--no-follow", "--json", "--output_path", "--config", "--port"),
    "logs show": ("--help", "--curl", "--json", "--output_path", "--config", "--port"),
    "logs stats": ("--help", "--json", "--output_path", "--config", "--port"),
    "keys": (*KEYS, "--help"),
    **{f"keys {word}": (*flags, "--help", "--json", "--config", "--state_path") for word, flags in KEYS.items()},
    "usage": ("--help", "--by", "--key", "--since", "--until", "--json", "--csv", "--config", "--state_path"),
    "console": ("--help",),
    "top": ("--help", "--once", "--json"),
    "reload": ("--help",),
    "completion": ("bash", "zsh", "fish", "--help"),
}
#: Commands that take no flags of settings.
_PLAIN = ("config", "logs", "keys", "usage", "completion")
#: What may follow a flag; other values are not known, or are files.
VALUES = {"--mode": ("stream", "non_stream", "off"), "--by": ("key", "team", "model", "upstream", "day")}


def main(arguments: Sequence[str], program: str) -> int:
    """Print the script for a shell, and return the exit status."""
    usage = f"usage: {program} bash|zsh|fish\n\nPrint a script of completions, to be sourced:\n"
    usage += f"  source <({program} bash)         in ~/.bashrc\n  source <({program} zsh)          in ~/.zshrc\n"
    usage += f"  {program} fish | source          in ~/.config/fish/config.fish\n"
    if list(arguments) in (["--help"], ["-h"]):
        sys.stdout.write(usage)
        return 0
    if len(arguments) != 1 or arguments[0] not in _SHELLS:
        sys.stderr.write(usage)
        return USAGE_EXIT
    sys.stdout.writelines(f"{line}\n" for line in _SHELLS[arguments[0]]())
    return 0


def words_after(path: str) -> tuple[str, ...]:
    """Return what may follow a command: `config show` for instance, or "" for none."""
    takes_settings = path.partition(" ")[0] not in _PLAIN or path.startswith("config ")
    return (*WORDS[path], *(SETTING_FLAGS if takes_settings else ()))


def _find_words(words: str, first: int, end: str, before: str) -> Iterator[str]:
    """Yield the lines, the same in bash and zsh, that find the command in the array `words` before the cursor, and set
    `offers` to what may stand there; `before` is the word before it."""
    paths = "|".join(f'"{path}"' if " " in path else f'" {path}"' for path in WORDS if path)
    yield f'    local found="" offers="" before={before} i'
    yield f"    for ((i = {first}; i < {end}; i++)); do"
    yield f'        case "$found ${{{words}[i]}}" in {paths}) found="${{found:+$found }}${{{words}[i]}}" ;; esac'
    yield "    done"
    yield "    case $found in"
    yield from (f"""        "{path}") offers="{" ".join(words_after(path))}" ;;""" for path in WORDS)
    yield "    esac"
    yield "    case $before in"
    yield from (f"""        {flag}) offers="{" ".join(values)}" ;;""" for flag, values in VALUES.items())
    yield "    esac"


def _bash() -> Iterator[str]:
    yield "_argoproxy() {"
    yield from _find_words("COMP_WORDS", 1, "COMP_CWORD", '"${COMP_WORDS[COMP_CWORD-1]}"')
    yield '    COMPREPLY=($(compgen -W "$offers" -- "${COMP_WORDS[COMP_CWORD]}"))'
    yield "}"
    yield f"complete -o default -F _argoproxy {' '.join(PROGRAMS)}"


def _zsh() -> Iterator[str]:
    yield f"#compdef {' '.join(PROGRAMS)}"
    yield "_argoproxy() {"
    yield from _find_words("words", 2, "CURRENT", '"${words[CURRENT-1]}"')
    yield "    compadd -- ${=offers}"
    yield "    _files"
    yield "}"
    yield f"compdef _argoproxy {' '.join(PROGRAMS)}"


def _fish() -> Iterator[str]:
    for program in PROGRAMS:
        for command in COMMANDS.values():
            about = command.about.replace("'", "\\'")
            yield f"complete -c {program} -n __fish_use_subcommand -a {command.name} -d '{about}'"
        for path in WORDS:
            first, _, second = path.partition(" ")
            condition = "__fish_use_subcommand" if not path else f"__fish_seen_subcommand_from {first}"
            condition += f"; and __fish_seen_subcommand_from {second}" if second else ""
            flags = (word.removeprefix("--") for word in words_after(path) if word.startswith("--"))
            others = [word for word in words_after(path) if not word.startswith("--") and path]
            yield f"complete -c {program} -n '{condition}' " + " ".join(
                chain.from_iterable(("-l", one) for one in flags)
            )
            if others:
                yield f"complete -c {program} -n '{condition}' -a '{' '.join(others)}'"
        for flag, values in VALUES.items():
            yield f"complete -c {program} -x -l {flag.removeprefix('--')} -a '{' '.join(values)}'"


_SHELLS: Mapping[str, Callable[[], Iterator[str]]] = {"bash": _bash, "zsh": _zsh, "fish": _fish}
