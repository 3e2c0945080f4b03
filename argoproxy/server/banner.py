"""What a start shows: the URL to use, the key, a command to try, and warnings: as lines of the log, or on a screen."""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
from collections.abc import Iterator
from typing import Any

from argoproxy import __version__
from argoproxy.config.config import RANDOM_KEY, Config
from argoproxy.protocol.access.printable import printable
from argoproxy.server.ports import UNIX
from argoproxy.server.terminal import Color, Painter

ANY_ADDRESS = ("0.0.0.0", "::", "")
#: Placeholder for the user's key in the command.
KEY = "YOUR_KEY"
_LOOPBACK = re.compile(r"localhost|127(?:\.\d+){3}|::1|unix:.*")


def describe_start(config: Config) -> Iterator[str]:
    """Yield log lines that show how to use the proxy and how to stop it."""
    yield f"Base URL for clients on this machine: {_base_url(config)}{_socket_note(config)} (Ctrl-C stops the proxy)"
    yield f"Try it: {' '.join(_command(config))}"


def show_screen(config: Config, made_key: str, painter: Painter) -> Iterator[str]:
    """Yield the lines that a terminal shows when the proxy serves. `made_key` is the key that this start has made."""
    row = painter.row
    title = painter.paint(f"argoproxy {__version__}", Color.STRONG)
    yield f"{title} in front of {printable(config.description)}"
    yield row("Base URL", f"{_base_url(config)}{_socket_note(config)}")
    yield row("Key", printable(_describe_key(config, made_key)))
    yield row("Try it", printable(" ".join(_command(config)).replace(KEY, made_key or KEY)))
    for warning in filter(None, (*config.warnings, open_key_warning(config) or _open_warning(config))):
        yield row("Warning", printable(warning), Color.DOUBTFUL)
    yield row("Stop it", "Ctrl-C")


def _describe_key(config: Config, made_key: str) -> str:
    if config.authenticate:
        return "one that your authenticate: class accepts"
    if made_key:
        return f"{made_key} (until the next start; API_KEY_SECRET sets your own)"
    if config.requires_key:
        managed = ["those of `argoproxy keys list`"] if config.managed else []
        return f"one of yours: {', '.join([*(key.name for key in config.keys), *managed])}"
    if config.upstreams[0].passes_cookies and config.target.kind != "demo":
        return "the endpoint's own, which is passed on; any text if it asks for none"
    return "any text; none is asked for"


def _open_warning(config: Config) -> str:
    if not is_open_to_all(config):
        return ""
    return (
        f"anyone on this network can use it ({config.server.host}, no keys): HOST=127.0.0.1 keeps it on this machine, "
        "ENABLE_AUTH=true asks for keys"
    )


def own_url(config: Config) -> str:
    """Return the URL by which this machine reaches the proxy of these settings, "" if that listens at a Unix socket."""
    host = "127.0.0.1" if config.server.host in ANY_ADDRESS else config.server.host
    return "" if host.startswith(UNIX) else f"http://{f'[{host}]' if ':' in host else host}:{config.server.port}"


def is_open_to_all(config: Config) -> bool:
    """Return whether other machines can use the proxy, without a key."""
    return not (config.requires_key or config.authenticate or _LOOPBACK.fullmatch(config.server.host))


def open_key_warning(config: Config) -> str:
    """Return a warning if anyone on the network can use the server's API keys; "" if not."""
    keyed = [upstream.name for upstream in config.upstreams if upstream.is_keyed]
    if not is_open_to_all(config) or not keyed:
        return ""
    return (
        f"anyone who can reach {config.server.host}:{config.server.port} can use the key of {', '.join(keyed)}: "
        "set ENABLE_AUTH=true to require keys, or HOST=127.0.0.1 to serve this machine only"
    )


def log_warnings(config: Config, log: Any) -> None:
    """Log the warnings about the settings; print the key if it was generated here, to the terminal and not to the
    log."""
    for warning in filter(None, (*config.warnings, open_key_warning(config))):
        log.warning("%s", warning)
    if made := made_key(config):
        sys.stderr.write(f"API_KEY_SECRET is not set; the key until the next start is {made}\n")


def made_key(config: Config) -> str:
    """Return the key that was generated at this start, "" if it is not used."""
    made = os.environ[RANDOM_KEY]
    return made if any(key.secret.text == made for key in config.keys) else ""


def _socket_note(config: Config) -> str:
    return f" at the socket {config.server.host.removeprefix(UNIX)}" if config.server.host.startswith(UNIX) else ""


def _base_url(config: Config) -> str:
    if config.server.host.startswith(UNIX):
        return "http://localhost/v1"
    host = "localhost" if config.server.host in ANY_ADDRESS else config.server.host
    return f"http://{f'[{host}]' if ':' in host else host}:{config.server.port}/v1"


def _command(config: Config) -> Iterator[str]:
    """Yield the words of a curl command: a chat if a model is known, else the list of models."""
    model = _known_model(config)
    yield "curl"
    if config.server.host.startswith(UNIX):
        yield f"--unix-socket {shlex.quote(config.server.host.removeprefix(UNIX))}"
    yield f"{_base_url(config)}{'/chat/completions' if model else '/models'}"
    if config.requires_key or config.authenticate:
        yield f'-H "Authorization: Bearer {KEY}"'
    if model:
        body = {"model": model, "messages": [{"role": "user", "content": "Hello!"}]}
        yield f"-d {shlex.quote(json.dumps(body))}"


def _known_model(config: Config) -> str:
    return config.default_model or config.target.sample_model
