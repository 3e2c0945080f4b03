"""Gunicorn's threaded worker, in which a thread only gets what is ready to be served.

Gunicorn gives each new connection a thread, which then reads for as long as the client takes to send: a thousand
clients that send half a request hold all threads. Here the worker's main thread, which waits for all idle connections
anyway, collects requests (`request_collector.py`). Probes have threads of their own.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable
from selectors import EVENT_READ
from typing import Any

from gunicorn.workers.gthread import TConn, ThreadWorker

from argoproxy.workers.client_connection import Connection
from argoproxy.workers.client_timeouts import LINGER_S, ClientTimeouts
from argoproxy.workers.error_responses import OpenAIErrors
from argoproxy.workers.plain_answers import PlainAnswers
from argoproxy.workers.plain_request import PlainRequest
from argoproxy.workers.request_collector import RequestCollector
from argoproxy.workers.request_scanner import RequestState
from argoproxy.workers.serving_threads import ServingThreads

SWEEP_S = BEAT_S = 1.0
#: How often threads that were not needed end, and memory that is not used is returned.
SHRINK_S = 30.0
#: How long to accept no connection where the process has no descriptor left.
ACCEPT_PAUSE_S = 0.01
#: Large bodies that a worker reads at a time: each is held in memory.
UPLOADS = 128
#: Threads of a worker that only serve probes, so that these are answered while all others are busy.
PROBE_THREADS = {"health/live": 1, "health/ready": 1, "health": 4, "metrics": 2}
PROBE_WRITE_S = 5.0

_OUT_OF_RESOURCES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_NO_CONNECTION = (errno.EAGAIN, errno.EWOULDBLOCK, errno.ECONNABORTED)


class PollingThreadWorker(PlainAnswers, OpenAIErrors, ThreadWorker):  # type: ignore[misc]
    """Collects requests where it polls, and serves them in threads."""

    timeouts: ClientTimeouts
    #: Returns memory that is not used to the system.
    return_memory: Callable[[], None]
    alive: bool

    _next_beat = _next_sweep = _next_shrinking = 0.0

    def init_process(self) -> None:
        """Begin to serve, in the new process: a worker object is made in the master, where its descriptors and what it
        registers to be done at the exit would stay."""
        self._collector = RequestCollector(self, max(1, min(UPLOADS, self.cfg.threads // 2)))
        self._threads = ServingThreads(self.cfg.threads, self._serve)
        self._probe_threads = {probe: ServingThreads(count, self._serve) for probe, count in PROBE_THREADS.items()}
        self._read_hooks()
        super().init_process()

    def run(self) -> None:
        """Serve until the worker stops."""
        self.poller.register(self._collector.poll, EVENT_READ, self._collector.handle_events)
        super().run()

    def notify(self) -> None:
        """Tell the master that the worker is alive, once a second. Gunicorn does it at each event; it is a system call,
        at which a busy thread may take the interpreter's lock for a while."""
        now = time.monotonic()
        if now >= self._next_beat:
            self._next_beat = now + BEAT_S
            super().notify()

    def set_accept_enabled(self, enabled: bool) -> None:  # noqa: FBT001 Gunicorn's signature
        """Accept connections, or stop; a worker that stops takes those that wait and closes its listening sockets, so
        that later clients are refused at once: the kernel would let them connect and wait, without an answer."""
        super().set_accept_enabled(enabled)
        if not enabled and not self.alive:
            for listener in self.sockets:
                while self.accept(listener):
                    pass
                listener.close()

    def accept(self, listener: Any) -> bool:
        """Take a new connection, and what of its request has come already; return whether there was one."""
        try:
            client, address = listener.accept()
        except OSError as error:
            if error.errno in _OUT_OF_RESOURCES:
                self._collector.close_longest_waiting()
                time.sleep(ACCEPT_PAUSE_S)
            elif error.errno not in _NO_CONNECTION:
                raise
            return False
        self.timeouts.limit_unread(client)
        self.nr_conns += 1
        if self.nr_conns >= self.worker_connections:
            self._collector.close_longest_waiting()
        if self.cfg.is_ssl:
            super().enqueue_req(TConn(self.cfg, client, address, listener.getsockname()))
        else:
            self._collector.receive(Connection(self.cfg, client, address, listener.getsockname(), self.timeouts))
        return True

    def enqueue_req(self, conn: Any) -> None:
        """Have a connection's request served in a thread."""
        if isinstance(conn, Connection):
            self._probe_threads.get(conn.request.probe, self._threads).submit(conn)
        else:
            super().enqueue_req(conn)

    def _serve(self, conn: Connection) -> None:
        """Serve a connection's request, and those that follow it at once; in a thread."""
        end = self._close
        try:
            conn.init()
            while self._serve_request(conn):
                if not (self._may_stay(conn) and conn.receive_soon()):
                    end = self._receive_next
                    break
        except OSError:  # the client has left
            pass
        finally:
            self.method_queue.defer(end, conn)

    def _serve_request(self, conn: Connection) -> bool:
        """Serve the request that was collected; return whether the connection is kept."""
        conn.sock.restart_clock()  # the time until a thread was free does not count as the client's
        conn.hand_to_parser()
        return bool(self.handle(conn))

    def _may_stay(self, conn: Connection) -> bool:
        """Return whether a thread may wait for the next request of a connection.

        Not after a probe or a large body, which only few threads serve. Only after a plain request: it was all that had
        arrived, so no byte of the next one is in the parser's buffer.
        """
        request = conn.request
        is_common = request.progress is RequestState.READY and not request.probe
        was_plain = isinstance(conn.parser.mesg, PlainRequest)
        return conn.is_quick and is_common and was_plain and self.alive and self._threads.is_calm()

    def handle_request(self, req: Any, conn: Any) -> Any:
        """Serve a request whose head was parsed; in a thread. A probe's answer must be taken in time: few threads
        serve probes, and a client that reads a little now and then could hold one without end."""
        if isinstance(conn, Connection) and conn.request.probe:
            conn.sock.settimeout(PROBE_WRITE_S)
        return (
            self._answer(req, conn.sock, conn.environs)
            if isinstance(req, PlainRequest)
            else super().handle_request(req, conn)
        )

    def _closes_connections(self) -> bool:
        return super()._closes_connections() or len(self.keepalived_conns) >= self.max_keepalived

    def run_soon(self, work: Callable[[Connection], None], conn: Connection) -> None:
        """Run a function in the main thread; may be called from any thread."""
        self.method_queue.defer(work, conn)

    def count_closed(self) -> None:
        """Count one connection fewer."""
        self.nr_conns -= 1

    def _receive_next(self, conn: Connection) -> None:
        """Wait for the next request on a connection."""
        self._collector.end_upload(conn)
        try:
            self._collector.receive_next(conn, self.timeouts.keepalive_s if self.alive else LINGER_S)
        except OSError:
            self._collector.drop(conn)

    def _close(self, conn: Connection) -> None:
        self._collector.end_upload(conn)
        self._collector.close_gracefully(conn)

    def murder_keepalived(self, force: bool = False) -> None:  # noqa: FBT001, FBT002 Gunicorn's signature
        """Close all connections that no thread has, where the worker ends."""
        super().murder_keepalived(force)
        if force:
            self._collector.close_all()

    def murder_pending(self) -> None:
        """Close, once a second, the connections whose clients are too slow."""
        now = time.monotonic()
        if now < self._next_sweep:
            return
        self._next_sweep = now + SWEEP_S
        super().murder_pending()
        if late := self._collector.close_expired():
            self.log.info("Closed %s connections whose client did not send its request in time", late)
        if now >= self._next_shrinking:
            self._next_shrinking = now + SHRINK_S
            self._threads.end_unneeded()
            self.return_memory()

    def _cap_keepalive(self, deadline: float) -> None:
        """Close idle connections soon: the worker stops."""
        super()._cap_keepalive(deadline)
        self._collector.close_idle_by(deadline)
