"""Whether a port can be opened, and which process has it. Standard library only: used before anything is installed."""

from __future__ import annotations

import errno
import os
import re
import socket
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from argoproxy.config.values.config_error import ConfigError, PortTaken

LAST_PORT = 65535
#: What the address of a Unix socket begins with.
UNIX = "unix:"
#: How many ports after a taken one are tried.
TRIED_NEXT = 100

#: The state TCP_LISTEN in /proc/net/tcp (proc(5)).
_LISTENING = "0A"
_OURS = re.compile(rb"argo-?proxy|cot_proxy")


def check_port(host: str, port: int) -> None:
    """Raise ConfigError if an address can't be opened for listening, with what to do: PortTaken if another process has
    the port. A Unix socket has no port."""
    if host.startswith(UNIX):
        return
    try:
        _bind(host, port)
    except socket.gaierror:
        raise ConfigError([f"HOST {host!r} is not an address of this machine"]) from None
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PortTaken([_explain_taken(host, port)]) from None
        reason = os.strerror(error.errno) if error.errno else "unknown reason"
        raise ConfigError([f"port {port} of {host} can't be opened: {reason}"]) from None


def check_addresses(addresses: Iterable[object]) -> None:
    """Check those of Gunicorn's addresses that have a port: (host, port), and more in IPv6. Raises ConfigError."""
    for address in addresses:
        if isinstance(address, tuple):
            check_port(*address[:2])


def port_problem(host: str, port: int) -> str:
    """Return why an address can't be opened for listening, and what to do; "" if it can."""
    try:
        check_port(host, port)
    except ConfigError as error:
        return error.mistakes[0]
    return ""


def is_free(port: int, host: str = "0.0.0.0") -> bool:
    """Return whether a port can be opened for listening."""
    return not port_problem(host, port)


def _explain_taken(host: str, port: int) -> str:
    next_ports = range(port + 1, min(port + TRIED_NEXT, LAST_PORT) + 1)
    other = next((one for one in next_ports if _is_open(host, one)), 0)
    hint = f"; --port {other} is free" if other else ""
    return f"port {port} is taken{_holder(port)}{hint}"


def _is_open(host: str, port: int) -> bool:
    with suppress(OSError):
        _bind(host, port)
        return True
    return False


def _bind(host: str, port: int) -> None:
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    with socket.socket(family, kind, protocol) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)


def _holder(port: int) -> str:
    """Return which process listens at a port, "" where this user may not see it."""
    inodes = {f"socket:[{inode}]" for inode in _listening_inodes(port)}
    pids = sorted(int(folder.name) for folder in Path("/proc").glob("[0-9]*") if inodes & set(_sockets(folder)))
    if not pids:
        return ""
    with suppress(OSError):
        folder = Path("/proc", str(pids[0]))
        is_ours = _OURS.search((folder / "cmdline").read_bytes())
        name = "another argoproxy" if is_ours else ascii((folder / "comm").read_text().strip())
        return f" by {name} (process {pids[0]})"
    return ""


def _listening_inodes(port: int) -> Iterator[str]:
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with suppress(OSError):
            for line in Path(table).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == _LISTENING and int(fields[1].rpartition(":")[2], 16) == port:
                    yield fields[9]


def _sockets(folder: Path) -> Iterator[str]:
    with suppress(OSError):
        for descriptor in os.scandir(folder / "fd"):
            with suppress(OSError):
                yield os.readlink(descriptor.path)
