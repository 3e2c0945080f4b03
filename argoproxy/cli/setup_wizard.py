"""The questions of a first start. They are asked before anything is installed, so only the standard library is used.

run_app.sh runs `python -m argoproxy.cli.setup_wizard [config.yaml] [flags]`. If there is no config file and nothing
else says which endpoint to use, it writes the config file of an Argo user. Flags for run_app.sh to add go to descriptor
3.
"""

from __future__ import annotations

import io
import os
import random
import re
import ssl
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from argoproxy.cli.main import find_command
from argoproxy.cli.main import main as run_command
from argoproxy.config.options.upstream_options import CA_VARIABLES
from argoproxy.config.values.config_error import ConfigError, explain_refusal
from argoproxy.config.values.flags import Task, parse_arguments
from argoproxy.data import SAMPLE_CONFIG, read_data
from argoproxy.server.ports import LAST_PORT, check_port, is_free

EPHEMERAL_PORTS = range(49152, 65535)
CHECK_S = 5.0
USAGE_EXIT = 2
DONE_EXIT = 100
ABORTED_EXIT = 130
RESULT_DESCRIPTOR = 3

#: Variables that name an endpoint; with one of them no config file is needed.
_ENDPOINT_VARIABLES = (
    "TARGET_BASE_URL",
    "OPENAI_BASE_URL",
    "ARGO_URL",
    "ARGO_STREAM_URL",
    "ARGO_EMBEDDING_URL",
    "ARGO_BASE_URL",
)
_ANSWERS = {"y": True, "yes": True, "n": False, "no": False}
_YES = ("true", "1", "yes", "on")
_ABOUT = """\
This sets the proxy up for the Argo gateway of Argonne National Laboratory (you need an Argonne user name).
For another endpoint: ./run_app.sh --url http://HOST:PORT/v1    To try it without any: ./run_app.sh --demo
"""
_USER_QUESTION = "Enter your username: "
_RULE = "-" * 38
#: A line of the config file that sets a value.
_SETTING = re.compile(r"(?m)^(?P<key>\w+): *(?P<value>\"[^\"\n]*\"|[^#\n]*?)(?P<rest> *(?:#.*)?)$")
_DOTENV = re.compile(r"(?m)^\s*(?:export\s+)?(?P<name>\w+)\s*=[ \t]*(?P<value>[^\s#]*)")
_USER = re.compile(r"[A-Za-z0-9._+-]+")
_NOT_FOUND = 404


class SetupFailed(Exception):
    """The set-up can't be completed; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Session:
    """A dialogue: answers come from `source`, text goes to `show`; `is_agreed` answers all questions with yes."""

    source: TextIO
    show: Callable[[str], None]
    is_agreed: bool

    def ask(self, question: str) -> str:
        """Ask for a line and return it. Raises SetupFailed at the end of the input."""
        self.show(question)
        line = self.source.readline()
        if not line:
            self.show("\n")
            raise SetupFailed(
                "there was no answer. Answer in a terminal or from a pipe, or use --yes together with ARGO_USER=…"
            )
        if not self.source.isatty():
            self.show("\n")
        return line.strip()

    def confirm(self, question: str, default: str) -> bool:
        """Ask a question until the answer is yes, no, or an empty line for the default. Raises SetupFailed at the end
        of the input."""
        if self.is_agreed:
            return True
        while (answer := (self.ask(question) or default).lower()) not in _ANSWERS:
            self.show("Please answer y or n.\n")
        return _ANSWERS[answer]


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run the dialogue if it is needed. Returns the exit status; DONE_EXIT if nothing is to be served, after `--help`
    for instance."""
    command = find_command(arguments[0] if arguments else "")
    if command is None or arguments[:1] in (["--help"], ["-h"], ["--version"]):
        return _run_without_installing(arguments)
    if command.name != "serve":
        return 0
    try:
        parsed = parse_arguments(arguments[1:] if arguments[:1] == ["serve"] else arguments, "run_app.sh")
    except SystemExit as exit_:
        return USAGE_EXIT if exit_.code else DONE_EXIT
    path = Path(parsed.file or environ.get("CONFIG_PATH", "") or "config.yaml")
    variables = {**_read_dotenv(), **environ, **parsed.variables}
    if parsed.task is not Task.SERVE:
        return 0
    try:
        if path.is_file() or _needs_no_file(variables):
            _refuse_taken_port(path, variables)
            return 0
        return _set_up(path, Session(sys.stdin or io.StringIO(), _show, parsed.yes), variables)
    except ConfigError as error:
        sys.stderr.write(explain_refusal(error))
        return error.exit_status
    except SetupFailed as error:
        _show(f"Nothing was started: {error}\n")
        return USAGE_EXIT
    except KeyboardInterrupt:
        kept = f" {path} is kept: edit it and start again." if path.is_file() else ""
        _show(f"\nAborted.{kept}\n")
        return ABORTED_EXIT


def _run_without_installing(arguments: Sequence[str]) -> int:
    """Print the help, the version, or what is wrong with the first word."""
    try:
        run_command(arguments, "run_app.sh")
    except SystemExit as exit_:
        return int(exit_.code or DONE_EXIT)


def fill_in(sample: str, values: Mapping[str, str]) -> str:
    """Return the text of a config file with the values of some keys replaced; comments stay."""

    def replace(match: re.Match[str]) -> str:
        key = match["key"]
        return f"{key}: {values[key]}{match['rest']}" if key in values else match[0]

    return _SETTING.sub(replace, sample)


def strip_comments(text: str) -> str:
    """Return the settings of a config file without comments."""
    return "".join(f"{match['key']}: {match['value']}\n" for match in _SETTING.finditer(text))


def check_user(name: str) -> str:
    """Return what is wrong with a user name, "" if nothing is."""
    if not name:
        return "A user name is required."
    if any(map(str.isspace, name)):
        return "A user name must not contain spaces."
    if "@" in name:
        return f"Enter the user name, not the e-mail address: {name.partition('@')[0]}"
    if not _USER.fullmatch(name):
        return "A user name may only contain letters, digits and . _ - +"
    return "cels is not a personal user name; enter your own." if name.lower() == "cels" else ""


def _read_dotenv() -> dict[str, str]:
    """Return the variables in `.env`, {} if it can't be read. Escapes and multi-line values are not understood: no
    variable that matters here has them."""
    try:
        text = Path(".env").read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return {}
    return {match["name"]: match["value"].strip("\"'") for match in _DOTENV.finditer(text)}


def _needs_no_file(variables: Mapping[str, str]) -> bool:
    is_demo = variables.get("DEMO", "").strip().lower() in _YES
    return is_demo or any(variables.get(name, "").strip() for name in _ENDPOINT_VARIABLES)


def _refuse_taken_port(path: Path, variables: Mapping[str, str]) -> None:
    """Raise ConfigError if the port can't be opened: better now than after the installation."""
    text = path.read_text("utf-8", "replace") if path.is_file() else ""
    settings = {match["key"]: match["value"].strip("\"' ") for match in _SETTING.finditer(text)}
    port = variables.get("PORT", "").strip() or settings.get("port", "") or "5000"
    host = variables.get("HOST", "").strip() or settings.get("host", "") or "0.0.0.0"
    if not port.isascii() or not port.isdigit() or not 0 < int(port) <= LAST_PORT:
        return  # the full check of the settings reports it; it runs once everything is installed
    check_port(host, int(port))


def _set_up(path: Path, session: Session, variables: Mapping[str, str]) -> int:
    if not session.is_agreed:
        session.show(_ABOUT)
    session.show(f"{path} file not found.\n")
    if not session.confirm(f"Would you like to create it from {SAMPLE_CONFIG}? [y/N] ", "n"):
        session.show(
            "Nothing was started. To start without a config file: ./run_app.sh --demo, or ./run_app.sh --url http://…/v1\n"
        )
        return USAGE_EXIT
    user = _ask_user(session, variables.get("ARGO_USER", "").strip())
    verbose = session.confirm("Enable verbose mode? [Y/n] ", "y")
    port = _choose_port(session, variables.get("PORT", "").strip())
    values = {"port": str(port), "user": f'"{user}"', "verbose": str(verbose).lower()}
    text = fill_in(read_data(SAMPLE_CONFIG), values)
    try:
        path.write_bytes(text.encode())
    except OSError as error:
        raise SetupFailed(f"{path} can't be written: {error.strerror}") from None
    session.show(f"Created {path} with your settings:\n{_RULE}\n{strip_comments(text)}{_RULE}\n")
    if not session.is_agreed:
        session.ask("Review the config above. Press enter to continue or Ctrl+C to abort.")
    if not _confirm_urls(text, session):
        session.show(f"Nothing was started; {path} is kept.\n")
        return USAGE_EXIT
    if variables.get("PORT", "").strip() not in ("", str(port)):
        os.write(RESULT_DESCRIPTOR, f"--port={port}\n".encode())
    return 0


def _ask_user(session: Session, preset: str) -> str:
    name = preset or session.ask(_USER_QUESTION)
    while problem := check_user(name):
        if preset and session.is_agreed:
            raise SetupFailed(f"ARGO_USER is not valid. {problem}")
        session.show(f"{problem}\n")
        name = session.ask(_USER_QUESTION)
    return name


def _choose_port(session: Session, wanted: str) -> int:
    if not wanted:
        return _find_free_port()
    if not re.fullmatch(r"[0-9]{1,5}", wanted) or not 0 < int(wanted) <= LAST_PORT:
        raise SetupFailed(f"{wanted!r} is not a port")
    if is_free(int(wanted)):
        return int(wanted)
    other = _find_free_port()
    if not session.confirm(f"Port {wanted} is in use. Use {other} instead? [Y/n] ", "y"):
        raise SetupFailed(f"port {wanted} is in use")
    return other


def _find_free_port() -> int:
    for port in random.sample(EPHEMERAL_PORTS, k=1000):
        if is_free(port):
            return port
    raise SetupFailed("no free port was found")


def _confirm_urls(text: str, session: Session) -> bool:
    """Check the gateway's URLs. If one can't be reached, ask whether to continue."""
    urls = [match["value"].strip('"') for match in _SETTING.finditer(text) if match["key"].endswith("_url")]
    with ThreadPoolExecutor(len(urls)) as pool:
        problems = [problem for problem in pool.map(_check_url, urls) if problem]
    for problem in problems:
        session.show(f"Warning: {problem}\n")
    return not problems or session.confirm("Continue anyway? [y/N] ", "n")


def _check_url(url: str) -> str:
    """Return why a URL can't be used, "" if it can. Any answer but 404 and 5xx is good: a GET is answered with 405."""
    try:
        with urllib.request.urlopen(url, timeout=CHECK_S, context=_make_tls_context()):  # noqa: S310 the file's own URLs
            return ""
    except urllib.error.HTTPError as error:
        is_good = error.code != _NOT_FOUND and error.code < 500
        return "" if is_good else f"{url} answers with status {error.code}"
    except (OSError, ValueError) as error:
        return f"{url} can't be reached: {getattr(error, 'reason', error)}"


def _make_tls_context() -> ssl.SSLContext:
    bundles = (os.environ.get(name) for name in CA_VARIABLES)
    return ssl.create_default_context(cafile=next(filter(None, bundles), None))


def _show(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


if __name__ == "__main__":
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="replace")
    sys.exit(main(sys.argv[1:], os.environ))
