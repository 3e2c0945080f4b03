"""The proxy with a fault planted in it, to see that the fuzzer notices: `gunicorn … tests.fuzz.planted:app`.

The file `planted` in the working folder names the fault; while there is none, the proxy is as it should be.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import wraps
from pathlib import Path
from typing import Any

from gevent.monkey import get_original

from argoproxy.pipeline import handlers
from argoproxy.telemetry.journal.writer import JournalFiles
from argoproxy.telemetry.log_lines import AccessLog
from argoproxy.telemetry.metrics import Metrics
from argoproxy.upstreams import base
from argoproxy.wsgi import app as application
from tests.fuzz.case import CLIENT_KEY, ORDINARY, SERVER_KEYS

FILE = Path("planted")
#: Threads of the system, which those of a gevent worker are not.
start_thread = get_original("_thread", "start_new_thread")
sleep = get_original("time", "sleep")
POLL_S = 0.02
SECRET = SERVER_KEYS["plain"]
Wsgi = Callable[..., Iterable[bytes]]


def planted() -> str:
    """Name the fault that is planted now."""
    try:
        return FILE.read_text()
    except FileNotFoundError:
        return ""


def until_changed(fault: str) -> None:
    """Wait while a fault is planted."""
    while planted() == fault:
        sleep(POLL_S)


class Faulty:
    """A WSGI application around another one, with the faults that can be planted from outside."""

    def __init__(self, inner: Wsgi) -> None:
        self._inner = inner
        self._left_open: list[int] = []

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        fault = planted()
        if environ["PATH_INFO"] == "/metrics" or not fault:
            self._close()
            return self._inner(environ, start_response)
        if fault == "kill the worker" and "HTTP_X_ORDINARY" not in environ:
            FILE.unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        if fault == "refuse the next request" and "HTTP_" + ORDINARY.upper().replace("-", "_") in environ:
            start_response("503 Service Unavailable", [])
            return []
        self._act(fault, environ)
        return changed(self._inner, fault, environ, start_response)

    def _act(self, fault: str, environ: dict[str, Any]) -> None:
        if fault == "print a traceback":
            sys.stderr.write("Traceback (most recent call last):\n")
        elif fault == "log a line break":
            sys.stderr.write("not a line of the log\n")
        elif fault == "log the key":
            sys.stderr.write(f"[2026-11-22 10:00:00 +0000] [1] [WARNING] key {SECRET}\n")
        elif fault == "answer never":
            until_changed(fault)
        elif fault == "close without an answer":
            environ["gunicorn.socket"].shutdown(2)
        elif fault == "leave a descriptor open":
            self._left_open.append(os.open(os.devnull, os.O_RDONLY))
        elif fault == "leave a thread running":
            start_thread(until_changed, (fault,))

    def _close(self) -> None:
        while self._left_open:
            os.close(self._left_open.pop())


def changed(inner: Wsgi, fault: str, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Call the application, and change its answer."""
    kinds: list[str] = []

    def start(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
        kinds.extend(value for name, value in headers if name == "Content-Type")
        if fault == "tell the key in an answer":
            headers = [*headers, ("X-Debug", SECRET)]
        return start_response(status, headers, *more)

    pieces = inner(environ, start)
    if fault in ("end a stream early", "lose an event", "lose a byte that passes"):
        return Changed(pieces, fault, kinds)
    return pieces


class Changed:
    """The pieces of an answer, one of them missing or shorter."""

    def __init__(self, pieces: Iterable[bytes], fault: str, kinds: list[str]) -> None:
        self._pieces = pieces
        self._fault = fault
        self._kinds = kinds

    def __iter__(self) -> Iterator[bytes]:
        streams = any(kind.startswith("text/event-stream") for kind in self._kinds)
        for number, piece in enumerate(self._pieces):
            if self._fault == "end a stream early" and streams:
                piece = piece.replace(b"data: [DONE]", b": nothing")
            elif self._fault == "lose an event" and streams and number == 2:
                piece = b""
            elif self._fault == "lose a byte that passes" and streams:
                piece = piece.replace(b'"up-1"', b'"up-"')
            yield piece

    def close(self) -> None:
        self._pieces.close()  # type: ignore[attr-defined]


def instead(owner: Any, name: str, fault: str, act: Callable[..., Any]) -> None:
    """While a fault is planted, have another function called; it gets the one it stands for."""
    right = getattr(owner, name)

    @wraps(right)
    def chosen(*args: Any) -> Any:
        return act(right, *args) if planted() == fault else right(*args)

    setattr(owner, name, chosen)


def fail(right: Callable[..., Any], *args: Any) -> Any:
    raise RuntimeError("planted")


def skip(right: Callable[..., Any], *args: Any) -> None:
    pass


def twice(right: Callable[..., Any], *args: Any) -> Any:
    right(*args)
    return right(*args)


def with_key_in_the_journal(right: Callable[..., Any], journal: Any, client: Any, servers: Any) -> Any:
    return right(journal, {**client, "planted": SECRET}, servers)


def with_key_upstream(right: Callable[..., Any], headers: Any) -> Any:
    return (*right(headers), ("X-Leak", CLIENT_KEY))


def with_key_in_the_metrics(right: Callable[..., Any], metrics: Any, *states: Any) -> bytes:
    text: bytes = right(metrics, *states)
    return text + f"# {SECRET}\n".encode()


def count_twice(right: Callable[..., Any], metrics: Any, outcome: Any) -> None:
    metrics.count_start(outcome.route)
    twice(right, metrics, outcome)


instead(handlers, "handle_chat", "raise in a handler", fail)
instead(base, "request_headers_for_upstream", "send the client's key upstream", with_key_upstream)
instead(AccessLog, "__call__", "log nothing", skip)
instead(AccessLog, "__call__", "log twice", twice)
instead(JournalFiles, "write", "leave requests out of the journal", skip)
instead(JournalFiles, "write", "write the key to the journal", with_key_in_the_journal)
instead(Metrics, "count_start", "never end a request", twice)
instead(Metrics, "__call__", "count twice", count_twice)
instead(Metrics, "to_text", "show the key in the metrics", with_key_in_the_metrics)

app = application
app.wsgi_app = Faulty(app.wsgi_app)  # type: ignore[method-assign]
