"""The questions of a first start, before anything is installed: standard library only.

`python -m argoproxy.cli.setup_wizard [config.yaml] [flags]`, run by run_app.sh, writes the config file of an Argo user
when there is none and nothing else says what to serve. It prints flags to be added on descriptor 3.
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

from argoproxy.config.values.flags import Task, parse_arguments
from argoproxy.server.ports import LAST_PORT, is_free, port_problem

SAMPLE = Path(__file__).resolve().parents[2] / "config.sample.yaml"
PORTS = range(49152, 65535)
CHECK_S = 5.0
USAGE_EXIT = 2
DONE_EXIT = 3
ABORTED_EXIT = 130
RESULT_DESCRIPTOR = 3

#: What says in the environment that there is something to serve.
_NAMES_AN_UPSTREAM = (
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
_ASK_USER = "Enter your username: "
_RULE = "-" * 38
_LIVE = re.compile(r"(?m)^(?P<key>\w+): *(?P<value>\"[^\"\n]*\"|[^#\n]*?)(?P<rest> *(?:#.*)?)$")
_DOTENV = re.compile(r"(?m)^\s*(?:export\s+)?(?P<name>\w+)\s*=[ \t]*(?P<value>[^\s#]*)")
_USER = re.compile(r"[A-Za-z0-9._+-]+")
_NOT_FOUND = 404


class Refused(Exception):
    """The questions can't be asked to their end; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Session:
    """Who is asked: lines come from `source`, what is shown goes to `show`."""

    source: TextIO
    show: Callable[[str], None]
    is_agreed: bool

    def line(self, question: str) -> str:
        """Ask for a line. Raises Refused at the end of the input."""
        self.show(question)
        line = self.source.readline()
        if not line:
            self.show("\n")
            raise Refused("no one answers here; answer in a terminal or a pipe, or start it with --yes and ARGO_USER=…")
        if not self.source.isatty():
            self.show("\n")
        return line.strip()

    def agrees(self, question: str, default: str) -> bool:
        """Ask a question until yes or no answers it, or an empty line, which is the default; whoever agreed to
        everything is not asked. Raises Refused at the end of the input."""
        if self.is_agreed:
            return True
        while (answer := (self.line(question) or default).lower()) not in _ANSWERS:
            self.show("Please answer y or n.\n")
        return _ANSWERS[answer]


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Ask what is to be asked: the exit status, DONE_EXIT when nothing is left to be served."""
    try:
        asked = parse_arguments(arguments, "run_app.sh")
    except SystemExit as ended:
        return USAGE_EXIT if ended.code else DONE_EXIT
    path = Path(asked.file or environ.get("CONFIG_PATH", "") or "config.yaml")
    variables = {**_dotenv(), **environ, **asked.variables}
    if asked.task is not Task.SERVE:
        return 0
    try:
        if path.is_file() or _is_served_without_a_file(variables):
            _refuse_taken_port(path, variables)
            return 0
        return _set_up(path, Session(sys.stdin or io.StringIO(), _show, asked.yes), variables)
    except Refused as refused:
        _show(f"Nothing was started: {refused}\n")
        return USAGE_EXIT
    except KeyboardInterrupt:
        kept = f" {path} is kept: edit it and start again." if path.is_file() else ""
        _show(f"\nAborted.{kept}\n")
        return ABORTED_EXIT


def written(sample: str, values: Mapping[str, str]) -> str:
    """Give the sample with the live values of some keys replaced, its comments as they are."""

    def replaced(found: re.Match[str]) -> str:
        key = found["key"]
        return f"{key}: {values[key]}{found['rest']}" if key in values else found[0]

    return _LIVE.sub(replaced, sample)


def for_review(text: str) -> str:
    """Give the live lines of a config file without their comments."""
    return "".join(f"{found['key']}: {found['value']}\n" for found in _LIVE.finditer(text))


def user_problem(name: str) -> str:
    """Tell what is wrong with a user name, "" when nothing is."""
    if not name:
        return "A user name is needed."
    if any(map(str.isspace, name)):
        return "A user name has no spaces."
    if "@" in name:
        return f"The user name is wanted, not the e-mail address: {name.partition('@')[0]}"
    if not _USER.fullmatch(name):
        return "A user name has letters, digits and . _ - + only."
    return "cels is no user of its own; take your own user name." if name.lower() == "cels" else ""


def _dotenv() -> dict[str, str]:
    """Give what `.env` says, as far as it matters here."""
    try:
        text = Path(".env").read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return {}
    return {found["name"]: found["value"].strip("\"'") for found in _DOTENV.finditer(text)}


def _is_served_without_a_file(variables: Mapping[str, str]) -> bool:
    is_demo = variables.get("DEMO", "").strip().lower() in _YES
    return is_demo or any(variables.get(name, "").strip() for name in _NAMES_AN_UPSTREAM)


def _refuse_taken_port(path: Path, variables: Mapping[str, str]) -> None:
    """Raise Refused where nobody can listen at the port that will be served, before anything is installed."""
    text = path.read_text("utf-8", "replace") if path.is_file() else ""
    live = {found["key"]: found["value"].strip("\"' ") for found in _LIVE.finditer(text)}
    port = variables.get("PORT", "").strip() or live.get("port", "") or "5000"
    host = variables.get("HOST", "").strip() or live.get("host", "") or "0.0.0.0"
    if not port.isascii() or not port.isdigit() or not 0 < int(port) <= LAST_PORT:
        return  # the settings are checked, and mistakes in them told, once everything is installed
    if problem := port_problem(host, int(port)):
        raise Refused(problem)


def _set_up(path: Path, session: Session, variables: Mapping[str, str]) -> int:
    if not session.is_agreed:
        session.show(_ABOUT)
    session.show(f"{path} file not found.\n")
    if not session.agrees(f"Would you like to create it from {SAMPLE.name}? [y/N] ", "n"):
        session.show(
            "Nothing was started. Without a config file: ./run_app.sh --demo, or ./run_app.sh --url http://…/v1\n"
        )
        return USAGE_EXIT
    user = _user(session, variables.get("ARGO_USER", "").strip())
    verbose = session.agrees("Enable verbose mode? [Y/n] ", "y")
    port = _port(session, variables.get("PORT", "").strip())
    values = {"port": str(port), "user": f'"{user}"', "verbose": str(verbose).lower()}
    text = written(SAMPLE.read_text("utf-8"), values)
    try:
        path.write_bytes(text.encode())
    except OSError as error:
        raise Refused(f"{path} can't be written: {error.strerror}") from None
    session.show(f"Created {path} with your settings:\n{_RULE}\n{for_review(text)}{_RULE}\n")
    if not session.is_agreed:
        session.line("Review the config above. Press enter to continue or Ctrl+C to abort.")
    if not _may_go_on(text, session):
        session.show(f"Nothing was started; {path} is kept.\n")
        return USAGE_EXIT
    if variables.get("PORT", "").strip() not in ("", str(port)):
        os.write(RESULT_DESCRIPTOR, f"--port={port}\n".encode())
    return 0


def _user(session: Session, given: str) -> str:
    name = given or session.line(_ASK_USER)
    while problem := user_problem(name):
        if given and session.is_agreed:
            raise Refused(f"ARGO_USER can't be used. {problem}")
        session.show(f"{problem}\n")
        name = session.line(_ASK_USER)
    return name


def _port(session: Session, wished: str) -> int:
    if not wished:
        return _free_port()
    if not re.fullmatch(r"[0-9]{1,5}", wished) or not 0 < int(wished) <= LAST_PORT:
        raise Refused(f"{wished!r} is no port")
    if is_free(int(wished)):
        return int(wished)
    other = _free_port()
    if not session.agrees(f"Port {wished} is taken. Use {other} instead? [Y/n] ", "y"):
        raise Refused(f"port {wished} is taken")
    return other


def _free_port() -> int:
    for port in random.sample(PORTS, k=1000):
        if is_free(port):
            return port
    raise Refused("no free port was found")


def _may_go_on(text: str, session: Session) -> bool:
    """Ask the gateway's URLs whether anyone is there, and who starts it whether to go on when not."""
    urls = [found["value"].strip('"') for found in _LIVE.finditer(text) if found["key"].endswith("_url")]
    with ThreadPoolExecutor(len(urls)) as pool:
        problems = [problem for problem in pool.map(_problem_of, urls) if problem]
    for problem in problems:
        session.show(f"Warning: {problem}\n")
    return not problems or session.agrees("Continue anyway? [y/N] ", "n")


def _problem_of(url: str) -> str:
    """Tell why a URL can't be used; any answer but "not found" and a server's failure is one of somebody there."""
    try:
        with urllib.request.urlopen(url, timeout=CHECK_S, context=_context()):  # noqa: S310 the file's own URLs
            return ""
    except urllib.error.HTTPError as error:
        is_there = error.code != _NOT_FOUND and error.code < 500
        return "" if is_there else f"{url} answers with status {error.code}"
    except (OSError, ValueError) as error:
        return f"{url} can't be reached: {getattr(error, 'reason', error)}"


def _context() -> ssl.SSLContext:
    bundles = (os.environ.get(name) for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"))
    return ssl.create_default_context(cafile=next(filter(None, bundles), None))


def _show(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


if __name__ == "__main__":
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="replace")
    sys.exit(main(sys.argv[1:], os.environ))
