"""What stands for `python` where a test runs many commands: `python forking_python.py PATH ARGUMENT …`.

A command of the proxy's own is run by a fork of the fork server that listens at a path, which takes a tenth of the CPU;
this process hands signals on, and ends as the fork does. Any other command is run by Python itself.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NoReturn

SCRIPTS = {"cot_proxy.py", "app.py"}
HANDED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def main(path: str, arguments: Sequence[str]) -> NoReturn:
    """Run a command, and exit as it does."""
    what = read_command(arguments)
    if what is None:
        os.execv(sys.executable, [sys.executable, *arguments])
    opened = [f"/proc/{os.getpid()}/fd/{number}" for number in range(3)]
    environ, folder = dict(os.environ), os.getcwd()
    pid = ask(path, {**what, "environ": environ, "folder": folder, "input": opened[0], "outputs": opened[1:]})
    end = os.pidfd_open(pid)
    for number in HANDED_ON:
        signal.signal(number, lambda got, _: signal.pidfd_send_signal(end, got))
    with suppress(ProcessLookupError):
        select.select([end], [], [])
    status = ask(path, {"poll": pid})
    sys.exit(status if status >= 0 else 128 - status)


def read_command(arguments: Sequence[str]) -> dict[str, Any] | None:
    """Return what a command line runs of the proxy; None for another one."""
    first, *more = arguments or [""]
    if first in SCRIPTS or os.path.basename(first) in SCRIPTS:
        return {"start": more, "script": os.path.abspath(first)}
    if first == "-m" and more and more[0].partition(".")[0] == "argoproxy":
        return {"start": more[1:], "module": more[0]}
    return None


def ask(path: str, request: dict[str, Any]) -> Any:
    """Send a request to the fork server, return its answer."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(path)
        with sock.makefile("rw") as file:
            file.write(json.dumps(request) + "\n")
            file.flush()
            return json.loads(file.readline())


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
