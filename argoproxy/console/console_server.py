"""Runs the console: a server of its own, in a process beside the proxy's, so that no fault of it touches a request."""

from __future__ import annotations

import io
import os
import secrets
import socket
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from socketserver import TCPServer, ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from argoproxy.config.config import Config
from argoproxy.console.api_routes import ApiRoutes
from argoproxy.console.application import ConsoleApplication
from argoproxy.console.data_views import DataViews
from argoproxy.console.live.live_view import LiveSamples
from argoproxy.console.live.request_reader import RequestReader
from argoproxy.console.running_proxy import ProxyRoutes, RunningProxy
from argoproxy.console.views.doctor_run import DoctorRuns
from argoproxy.console.views.sources import SettingsReader
from argoproxy.console.views.totals import RecentTotals
from argoproxy.server.process import STARTED_BY_PROXY

#: Connections at a time; browsers open a few for a page.
MOST_CONNECTIONS = 64
#: By when a request must have arrived, with its body, and how long an answer may be left unread.
ARRIVAL_S, UNREAD_S = 30.0, 60.0


class _Arrival(io.RawIOBase):
    """What arrives on a connection until a moment: a client that sends a byte now and then gets no more time."""

    def __init__(self, connection: socket.socket, until: float) -> None:
        super().__init__()
        self._connection, self._until = connection, until

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Raises TimeoutError."""
        self._connection.settimeout(max(0.001, self._until - time.monotonic()))
        try:
            return self._connection.recv_into(buffer)
        finally:
            self._connection.settimeout(UNREAD_S)


class _Handler(WSGIRequestHandler):
    server: ConsoleServer

    def setup(self) -> None:
        super().setup()
        self.rfile = io.BufferedReader(_Arrival(self.connection, time.monotonic() + self.server.arrival_s))

    def parse_request(self) -> bool:
        is_complete = super().parse_request()
        self.server.note_head(self.connection)
        return is_complete

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 the name is http.server's
        """Log nothing."""


class ConsoleServer(ThreadingMixIn, WSGIServer):
    """A server with few connections at a time. One too many ends the one that has sent no request for longest, so
    those that send nothing keep no others out."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(
        self,
        address: tuple[str, int],
        application: ConsoleApplication,
        most: int = MOST_CONNECTIONS,
        arrival_s: float = ARRIVAL_S,
    ) -> None:
        """`most` connections, and `arrival_s` for each request. Raises OSError if the address can't be used."""
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.arrival_s, self._most = arrival_s, most
        self._lock = threading.Lock()
        self._open, self._silent = dict[socket.socket, None](), dict[socket.socket, None]()
        super().__init__(address, _Handler)
        self.set_app(application)

    def server_bind(self) -> None:
        """Bind without a look at names, which http.server asks a name server for."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])
        self.setup_environ()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection in a thread of its own."""
        with self._lock:
            self._open[request] = self._silent[request] = None
            if len(self._open) > self._most:
                with suppress(OSError):
                    next(iter(self._silent)).shutdown(socket.SHUT_RDWR)
        super().process_request(request, client_address)

    def note_head(self, connection: socket.socket) -> None:
        """Note that the head of a request has come."""
        with self._lock:
            self._silent.pop(connection, None)

    def close_request(self, request: Any) -> None:
        """Close a connection."""
        with self._lock:
            self._open.pop(request, None)
            self._silent.pop(request, None)
        super().close_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that leave."""


def build_application(
    config: Config, environ: Mapping[str, str], folder: Path, token: str
) -> tuple[ConsoleApplication, RunningProxy]:
    """Return the application of the console of these settings, and the proxy that it shows, which must be stopped."""

    def build(shared: Path | None) -> ProxyRoutes:
        settings, requests = SettingsReader(environ, folder, shared), RequestReader(shared)
        views = DataViews(settings, RecentTotals(shared), DoctorRuns(environ, folder), requests)
        live = LiveSamples(requests)
        return ProxyRoutes(ApiRoutes(views, {"live": lambda _: live.view(settings.read())}), views)

    proxy = RunningProxy(config.server.port, build)
    return ConsoleApplication(proxy, token, config.console.hosts), proxy


def run_console(config: Config, environ: Mapping[str, str], folder: Path) -> None:
    """Serve until the process is ended. Raises OSError if the address can't be used."""
    token = config.console.token or secrets.token_urlsafe(24)
    application, proxy = build_application(config, environ, folder, token)
    host, port = config.console.address
    server = ConsoleServer((host, port), application)
    if environ.get(STARTED_BY_PROXY):
        threading.Thread(target=_end_with_proxy, daemon=True).start()
    shown = f"[{host}]" if ":" in host else "127.0.0.1" if host == "0.0.0.0" else host
    # A token of the settings is a secret, and logs are read by many; one that was made is found nowhere else.
    printed = "(console_token)" if config.console.token else token
    sys.stderr.write(f"Console: http://{shown}:{server.server_port}/#token={printed}\n")
    try:
        server.serve_forever()
    finally:
        proxy.stop()
        server.server_close()


def _end_with_proxy() -> None:
    """End when the proxy has closed its end of the standard input, however it ended."""
    while os.read(sys.stdin.fileno(), 1024):
        pass
    os._exit(0)
