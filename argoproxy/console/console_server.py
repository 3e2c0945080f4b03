"""Runs the console: a server of its own, in a process beside the proxy's, so that no fault of it touches a request."""

from __future__ import annotations

import os
import secrets
import socket
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from argoproxy.config.config import Config
from argoproxy.console.api_routes import ApiRoutes
from argoproxy.console.application import ConsoleApplication
from argoproxy.console.data_views import DataViews
from argoproxy.console.live_view import LiveSamples
from argoproxy.console.running_proxy import ProxyRoutes, RunningProxy
from argoproxy.console.views.doctor_run import DoctorRuns
from argoproxy.console.views.sources import SettingsReader
from argoproxy.console.views.totals import RecentTotals
from argoproxy.server.process import STARTED_BY_PROXY

#: How long a connection may be silent.
SILENCE_S = 60.0


class _Handler(WSGIRequestHandler):
    timeout = SILENCE_S

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 the name is http.server's
        """Log nothing."""


class _ConsoleServer(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that leave."""


class _ServerForIPv6(_ConsoleServer):
    address_family = socket.AF_INET6


def build_application(
    config: Config, environ: Mapping[str, str], folder: Path, token: str
) -> tuple[ConsoleApplication, RunningProxy]:
    """Return the application of the console of these settings, and the proxy that it shows, which must be stopped."""

    def build(shared: Path | None) -> ProxyRoutes:
        settings, live = SettingsReader(environ, folder, shared), LiveSamples()
        views = DataViews(settings, RecentTotals(shared), DoctorRuns(environ, folder))
        return ProxyRoutes(ApiRoutes(views, {"live": lambda _: live.view(settings.read())}), views)

    proxy = RunningProxy(config.server.port, build)
    return ConsoleApplication(proxy, token, config.console.hosts), proxy


def run_console(config: Config, environ: Mapping[str, str], folder: Path) -> None:
    """Serve until the process is ended. Raises OSError if the address can't be used."""
    token = config.console.token or secrets.token_urlsafe(24)
    application, proxy = build_application(config, environ, folder, token)
    host, port = config.console.address
    server = (_ServerForIPv6 if ":" in host else _ConsoleServer)((host, port), _Handler)
    server.set_app(application)
    if environ.get(STARTED_BY_PROXY):
        threading.Thread(target=_end_with_proxy, daemon=True).start()
    shown = f"[{host}]" if ":" in host else "127.0.0.1" if host == "0.0.0.0" else host
    sys.stderr.write(f"Console: http://{shown}:{server.server_port}/#token={token}\n")
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
