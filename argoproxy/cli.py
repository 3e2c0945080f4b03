"""The command line: flags become environment variables, then Gunicorn takes over this very process."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from argoproxy import __version__
from argoproxy.config import FLAGS_VARIABLE, load
from argoproxy.errors import ConfigError

ROOT = Path(__file__).resolve().parent.parent
USAGE_EXIT = 2


@dataclass(frozen=True, slots=True)
class Flag:
    """A flag and the environment variable it stands for; one without a `value` switches something on."""

    names: tuple[str, ...]
    variable: str
    value: str
    about: str


FLAGS = (
    Flag(("--demo",), "DEMO", "", "serve the embedded demo model: no key, no network"),
    Flag(("--url",), "TARGET_BASE_URL", "URL", "the endpoint behind the proxy"),
    Flag(("--host", "--expose_host"), "HOST", "ADDRESS", "address to listen on (0.0.0.0)"),
    Flag(("--port", "--expose_port"), "PORT", "PORT", "port to listen on (5000)"),
)


def environment(arguments: Sequence[str], environ: Mapping[str, str], folder: Path) -> dict[str, str]:
    """Give the environment with the flags in it. Raises SystemExit for --help and for what can't be read."""
    parser = argparse.ArgumentParser(
        prog="cot_proxy.py",
        description="Serve the proxy. Everything a flag says can be said in the environment and the config file too.",
    )
    parser.add_argument("config", nargs="?", metavar="config.yaml", help="settings; ./config.yaml is read if present")
    parser.add_argument("--version", action="version", version=f"argoproxy {__version__}")
    for flag in FLAGS:
        options = {"metavar": flag.value} if flag.value else {"action": "store_const", "const": "true"}
        parser.add_argument(*flag.names, dest=flag.variable, help=flag.about, **options)  # type: ignore[arg-type]
    given = vars(parser.parse_args(arguments))
    file = given.pop("config")
    flags = {variable: value for variable, value in given.items() if value is not None}
    named = {"CONFIG_PATH": str(folder / file)} if file else {}
    return {**environ, **named, **flags, FLAGS_VARIABLE: ",".join(flags)}


def main(arguments: Sequence[str]) -> NoReturn:
    """Check the settings, then become Gunicorn. Exits with 2 when they can't be used."""
    environ = environment(arguments, os.environ, Path.cwd())
    try:
        load(environ, Path.cwd())
    except ConfigError as error:
        sys.stderr.write(refusal(error))
        sys.exit(USAGE_EXIT)
    command = [sys.executable, "-m", "gunicorn", "-c", str(ROOT / "gunicorn.conf.py"), "--pythonpath", str(ROOT)]
    os.execve(sys.executable, [*command, "cot_proxy:app"], environ)


def refusal(error: ConfigError) -> str:
    """Say why a start is refused, a line for each mistake."""
    return "argoproxy can't start:\n" + "".join(f"  - {mistake}\n" for mistake in error.mistakes)
