"""The parts of urllib3 and Gunicorn that the proxy relies on, though they may change.

If a test fails after an upgrade, compare the named function with its version before, then the one of ours that
overrides, calls or reads it (`argoproxy/transport/__init__.py`, `argoproxy/workers/__init__.py`), and only then change
the table.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import gunicorn.glogging
import gunicorn.http.body
import gunicorn.http.message
import gunicorn.http.parser
import gunicorn.http.unreader
import gunicorn.http.wsgi
import pytest
from gunicorn.workers import base_async, gthread, sync
from urllib3.util.ssltransport import SSLTransport

THREADS = gthread.ThreadWorker

#: Functions and their parameters: what we override is called with them, what we call is given them.
PARAMETERS: tuple[tuple[Callable[..., Any], str], ...] = (
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
    (SSLTransport.__init__, "self socket ssl_context server_hostname suppress_ragged_eofs"),
    (SSLTransport.send, "self data flags"),
    (sync.SyncWorker.wait, "self timeout"),
    (sync.SyncWorker.handle, "self listener client addr"),
    (base_async.AsyncWorker.handle, "self listener client addr"),
    (base_async.AsyncWorker.timeout_ctx, "self"),
    (gunicorn.http.parser.Parser.__init__, "self cfg source source_addr"),
    (gunicorn.http.parser.Parser.finish_body, "self deadline max_bytes"),
    (gunicorn.http.message.HeaderPolicy._peer_trusted_for_forwarded, "self"),
    (gunicorn.http.wsgi.create, "req sock client server cfg response_class response_args"),
    (gunicorn.http.wsgi._make_early_hints_callback, "req sock resp"),
    (gunicorn.http.wsgi.Response.__init__, "self req sock cfg"),
    (gunicorn.http.wsgi.Response.process_headers, "self headers"),
    (gunicorn.http.wsgi.Response.default_headers, "self"),
    (gunicorn.http.wsgi.Response.write, "self arg"),
    (gunicorn.http.unreader.Unreader.unread, "self data"),
    (gunicorn.http.unreader.Unreader.take_buffered, "self"),
)
#: Functions, and what must stand in their code: calls of what we override, attributes that we read or set.
CODE: tuple[tuple[Any, tuple[str, ...]], ...] = (
    (SSLTransport, ("self.sslobj", "self.socket", "self.socket.sendall(")),
    (gthread.TConn, ("self.data_ready", "self.initialized", "self.parser = http.get_parser")),
    (THREADS.__init__, ("self.method_queue = ", "self.nr_conns = ", "self.worker_connections = ")),
    (
        THREADS.run,
        ("self.notify()", "self.murder_keepalived(force=True)", "self._cap_keepalive(", "self.set_accept_enabled("),
    ),
    (
        THREADS.handle_request,
        (
            *("self.cfg.pre_request(self, req)", "self.cfg.post_request(self, req, environ, resp)", "self.nr += 1"),
            *(
                "wsgi.create(",
                'environ["wsgi.multithread"] = True',
                "self.nr >= self.max_requests",
                "self.max_keepalived",
            ),
            *(
                "resp.force_close()",
                "resp.write_file(respiter)",
                "resp.write(item)",
                "resp.close()",
                "self.log.access(",
            ),
            *("resp.should_close()", "util.close_graceful(conn.sock)", "raise StopIteration()"),
        ),
    ),
    (gunicorn.http.message.Message.__init__, ("self.remote_addr = peer_addr", "self.trailers = []")),
    (gunicorn.http.parser.RequestParser.__next__, ("self.req_count += 1", "self.mesg = self.mesg_class(")),
    (gunicorn.http.body.Body, ("self.buf.write(data)", "size > self.buf.tell()")),
    (gunicorn.http.wsgi.Response, ("self.headers_sent = ", "self._omits_body", "self.response_length", "self.sent ")),
    (gunicorn.http.wsgi.base_environ, ("WSGIErrorsWrapper(cfg)",)),
    (gunicorn.glogging.Logger, ("def access_log_enabled",)),
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
