"""Settings of the console; settings.py tells how they are declared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from argoproxy.config.options.declaration import setting
from argoproxy.config.options.parsers import is_placeholder, parse_header_text, parse_names, parse_text
from argoproxy.protocol.access.secrets import Secret

DEFAULT_PORT = 5001
SHORTEST_TOKEN = 16


class ConsoleAddress(NamedTuple):
    """Where the console listens."""

    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT


def parse_console_address(value: Any) -> ConsoleAddress:
    """Parse `HOST:PORT`, or a port of the loopback."""
    host, _, port = parse_text(str(value)).rpartition(":")
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise ValueError("must be HOST:PORT, such as 127.0.0.1:5001, or a port")
    return ConsoleAddress(host.strip("[]") or ConsoleAddress().host, int(port))


def parse_token(value: Any) -> Secret:
    """Parse the token of the console."""
    text = parse_header_text(value)
    if len(text) < SHORTEST_TOKEN or is_placeholder(text):
        raise ValueError(f"must have at least {SHORTEST_TOKEN} characters, and be no placeholder")
    return Secret(text)


@dataclass(frozen=True, slots=True)
class ConsoleOptions:
    """Console"""

    console: ConsoleAddress | None = setting(
        parse_console_address,
        None,
        "HOST:PORT at which a page shows what the proxy does; none is served if unset",
        page="console.md",
    )
    console_token: Secret | None = setting(
        parse_token,
        None,
        "Token that the page needs; one is made at each start if unset",
        page="console.md#who-may-look",
    )
    console_hosts: tuple[str, ...] | None = setting(
        parse_names, None, "Names under which browsers find it, beside localhost", page="console.md#who-may-look"
    )

    @property
    def address(self) -> ConsoleAddress:
        """Where the console listens, also if only the command starts it."""
        return self.console or ConsoleAddress()

    @property
    def token(self) -> str:
        """The token as text, "" if one is to be made."""
        return self.console_token.text if self.console_token else ""

    @property
    def hosts(self) -> tuple[str, ...]:
        """Names beside those of the loopback."""
        return self.console_hosts or ()
