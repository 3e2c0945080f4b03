"""Close a connection without costing its client the answer: for workers that don't poll their connections."""

from __future__ import annotations

import socket
import sys
import time
from contextlib import suppress
from typing import Any

LINGER_S = 2.0


def linger(req: Any, environ: dict[str, Any], resp: Any) -> None:
    """Close our half of a connection that is not kept, and wait for its client to close too.

    Gunicorn does the same, but later and in a place where it keeps others waiting. A client is waited for only where
    it may still be sending: what it sends to a closed connection would cost it what it has not read yet of its answer.
    """
    client = environ.get("gunicorn.socket")
    if client is None or not (resp is None or resp.should_close() or sys.exc_info()[0]):
        return
    until = time.monotonic() + (LINGER_S if _may_still_send(req) else 0.0)
    with suppress(OSError):
        client.shutdown(socket.SHUT_WR)
        while (left_s := until - time.monotonic()) > 0:
            client.settimeout(left_s)
            if not client.recv(65_536):
                break
    with suppress(OSError):
        client.shutdown(socket.SHUT_RD)


def _may_still_send(req: Any) -> bool:
    """Return whether a request was not read to its end: what its counted body still lacks, or the parser of its
    chunks, is there."""
    reader = getattr(getattr(req, "body", None), "reader", None)
    return reader is None or bool(getattr(reader, "length", 0) or getattr(reader, "parser", None))
