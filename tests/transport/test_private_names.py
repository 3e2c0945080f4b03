"""The parts of urllib3, http.client, ssl, requests and Gunicorn that the proxy relies on, though they may change.

If a test fails after an upgrade, compare the named function with its version before, then the one of ours that
overrides, calls or reads it (`argoproxy/transport/__init__.py`, `argoproxy/workers/__init__.py`), and only then change
the table.
"""

from __future__ import annotations

import email.message
import http.client
import inspect
import ssl
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import gunicorn.http.body
import gunicorn.http.parser
import gunicorn.http.unreader
import pytest
import requests.adapters
import urllib3
import urllib3.connection
import urllib3.connectionpool
from gunicorn.workers import base_async, gthread, sync

HTTP = urllib3.connection.HTTPConnection
HTTPS = urllib3.connection.HTTPSConnection
POOL = urllib3.connectionpool.HTTPConnectionPool
RESPONSE = http.client.HTTPResponse
ADAPTER = requests.adapters.HTTPAdapter
THREADS = gthread.ThreadWorker

#: Functions and their parameters: what we override is called with them, what we call is given them.
PARAMETERS: tuple[tuple[Callable[..., Any], str], ...] = (
    (HTTP._new_conn, "self"),
    (HTTP._tunnel, "self"),
    (HTTP.connect, "self"),
    (HTTP.close, "self"),
    (HTTP.putrequest, "self method url skip_host skip_accept_encoding"),
    (HTTP.send, "self data"),
    (RESPONSE.__init__, "self sock debuglevel method url"),
    (RESPONSE.begin, "self"),
    (ADAPTER.init_poolmanager, "self connections maxsize block pool_kwargs"),
    (ADAPTER.proxy_manager_for, "self proxy proxy_kwargs"),
    (ADAPTER.get_connection_with_tls_context, "self request verify proxies cert"),
    (ADAPTER.cert_verify, "self conn url verify cert"),
    (ADAPTER.build_response, "self req resp"),
    (ADAPTER.request_url, "self request proxies"),
    (ssl.SSLSocket.do_handshake, "self block"),
    (gthread.TConn.__init__, "self cfg sock client server"),
    (gthread.TConn.init, "self"),
    (gthread.PollableMethodQueue.defer, "self callback args"),
    (THREADS.accept, "self listener"),
    (THREADS.enqueue_req, "self conn"),
    (THREADS.handle, "self conn"),
    (THREADS.handle_request, "self req conn"),
    (THREADS.murder_keepalived, "self force"),
    (THREADS.murder_pending, "self"),
    (THREADS.set_accept_enabled, "self enabled"),
    (THREADS._cap_keepalive, "self deadline"),
    (sync.SyncWorker.wait, "self timeout"),
    (sync.SyncWorker.handle, "self listener client addr"),
    (base_async.AsyncWorker.handle, "self listener client addr"),
    (base_async.AsyncWorker.timeout_ctx, "self"),
    (gunicorn.http.unreader.Unreader.unread, "self data"),
    (gunicorn.http.unreader.Unreader.take_buffered, "self"),
)
#: Functions, and what must stand in their code: calls of what we override, attributes that we read or set.
CODE: tuple[tuple[Any, tuple[str, ...]], ...] = (
    (HTTP, ("self._dns_host", "self._has_connected_to_proxy", "def is_connected", "def proxy_is_forwarding")),
    (HTTP.connect, ("self.sock = self._new_conn()", "self._tunnel()")),
    (HTTPS.connect, ("self._new_conn()", "self._tunnel()", "server_hostname")),
    (POOL._make_request, ("except BrokenPipeError:", "conn.getresponse()")),
    (POOL._get_conn, ("is_connection_dropped(conn)", "conn.close()")),
    (POOL._new_conn, ("self.ConnectionCls(",)),
    (email.message.Message.raw_items, ("self._headers",)),
    (urllib3.PoolManager, ("self.pool_classes_by_scheme", "self.connection_pool_kw")),
    (
        http.client.HTTPConnection.getresponse,
        ("self.response_class(self.sock", "response.begin()", "response.will_close"),
    ),
    (RESPONSE.__init__, ('sock.makefile("rb")',)),
    (RESPONSE.begin, ("self.headers is not None", "self.length = 0", "self.will_close = ", "self.status = ")),
    (
        RESPONSE._read_status,  # type: ignore[attr-defined]
        ("self.fp.readline(",),
    ),
    (ssl.SSLSocket.read, ("self.suppress_ragged_eofs",)),
    (ssl.SSLContext.wrap_socket, ("self.sslsocket_class._create",)),
    (
        requests.adapters.HTTPAdapter.send,
        ("self.cert_verify(", "self.build_response(", "get_connection_with_tls_context("),
    ),
    (gthread.TConn, ("self.data_ready", "self.initialized", "self.parser = http.get_parser")),
    (THREADS.__init__, ("self.method_queue = ", "self.nr_conns = ", "self.worker_connections = ")),
    (
        THREADS.run,
        ("self.notify()", "self.murder_keepalived(force=True)", "self._cap_keepalive(", "self.set_accept_enabled("),
    ),
    (gunicorn.http.body.LengthReader, ("self.length",)),
    (gunicorn.http.body.ChunkedReader, ("self.parser",)),
)
ADVICE = "see the docstring of this file"


def name_of(value: Any) -> str:
    return f"{value.__module__}.{value.__qualname__}" if hasattr(value, "__qualname__") else str(value)


@pytest.mark.parametrize(("function", "parameters"), PARAMETERS, ids=name_of)
def test_functions_that_we_override_or_call_have_the_same_parameters(
    function: Callable[..., Any], parameters: str
) -> None:
    now = " ".join(inspect.signature(function).parameters)
    assert now == parameters, f"{name_of(function)} has other parameters in {_version(function)}: {ADVICE}"


@pytest.mark.parametrize(("place", "parts"), CODE, ids=name_of)
def test_what_we_rely_on_is_still_there(place: Any, parts: tuple[str, ...]) -> None:
    code = inspect.getsource(place)
    missing = [part for part in parts if part not in code]
    assert not missing, f"{name_of(place)} has no {missing} in {_version(place)}: {ADVICE}"


def _version(value: Any) -> str:
    package = value.__module__.partition(".")[0]
    return f"{package} {version(package)}" if package in ("urllib3", "requests", "gunicorn") else "this Python"
