"""Gunicorn's threaded worker, in which a thread only gets what is ready to be served.

Gunicorn gives each new connection a thread, which then reads for as long as the client takes to send: a thousand
clients that send half a request hold all threads. Here the worker's main thread, which waits for all idle connections
anyway, collects heads and bodies of up to 1 MiB. Larger bodies are read by threads, at most half of them at a time.
Probes have threads of their own. A connection that we close stays with the main thread until its client has closed
too, so that no thread lingers.
"""

from __future__ import annotations

import errno
import socket
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from selectors import EVENT_READ
from typing import Any

from gunicorn.workers.gthread import TConn, ThreadWorker

from argoproxy.workers import refusals
from argoproxy.workers.client_poll import ClientPoll, is_full
from argoproxy.workers.client_timeouts import ClientTimeouts
from argoproxy.workers.connection import Connection, Wait
from argoproxy.workers.malformed import RefusesMalformed
from argoproxy.workers.request_scanner import Progress
from argoproxy.workers.upload_queue import UploadQueue

PIECE = 64 * 1024
#: Bytes of requests that are not complete, over all connections of a worker.
COLLECTED_LIMIT = 64 * 1024 * 1024
LINGER_S = 2.0
SWEEP_S = BEAT_S = 1.0
#: How long to accept nobody where the process has no descriptor left.
ACCEPT_PAUSE_S = 0.01
#: Threads of a worker that only serve probes, so that these are answered while all others are busy.
PROBE_THREADS = {"health/live": 1, "health": 4, "metrics": 2}
PROBE_WRITE_S = 5.0

_NO_ROOM = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_NOBODY_THERE = (errno.EAGAIN, errno.EWOULDBLOCK, errno.ECONNABORTED)


class PollingThreadWorker(RefusesMalformed, ThreadWorker):  # type: ignore[misc]
    """Collects requests where it polls, and serves them in threads."""

    timeouts: ClientTimeouts

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        #: Connections that no thread has, in the order in which their wait began.
        self._waiting: dict[Connection, None] = {}
        self._clients = ClientPoll()
        self._collected = 0
        self._uploads = UploadQueue(max(1, self.cfg.threads // 2))
        self._next_beat = self._next_sweep = 0.0
        self._late = 0
        self._probe_pools = {probe: ThreadPoolExecutor(threads) for probe, threads in PROBE_THREADS.items()}

    def run(self) -> None:
        """Serve until the worker is told to stop."""
        self.poller.register(self._clients, EVENT_READ, self._on_clients)
        super().run()

    def notify(self) -> None:
        """Tell the master that the worker is alive, once a second: Gunicorn does it at each event, and whenever it
        does, a busy thread may take the interpreter away for a while."""
        now = time.monotonic()
        if now >= self._next_beat:
            self._next_beat = now + BEAT_S
            super().notify()

    def set_accept_enabled(self, enabled: bool) -> None:  # noqa: FBT001 Gunicorn's signature
        """Accept connections, or stop; a worker that stops takes those that wait and closes its listening sockets, so
        that clients which come later are refused at once instead of waiting in vain."""
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
            if error.errno in _NO_ROOM:
                self._make_room()
                time.sleep(ACCEPT_PAUSE_S)
            elif error.errno not in _NOBODY_THERE:
                raise
            return False
        self.nr_conns += 1
        if self.nr_conns >= self.worker_connections:
            self._make_room()
        if self.cfg.is_ssl:
            self.enqueue_req(TConn(self.cfg, client, address, listener.getsockname()))
        else:
            self._receive(Connection(self.cfg, client, address, listener.getsockname(), self.timeouts))
        return True

    def enqueue_req(self, conn: Any) -> None:
        """Have a connection's request served in a thread."""
        probe = conn.request.probe if isinstance(conn, Connection) else ""
        pool: Any = self._probe_pools.get(probe, self.tpool)
        future = pool.submit(self.handle, conn)
        future.add_done_callback(lambda done: self.method_queue.defer(self.finish_request, conn, done))

    def handle(self, conn: Any) -> Any:
        """Serve one request; in a thread."""
        if isinstance(conn, Connection):
            conn.init()
            conn.sock.restart_clock()  # the wait for a thread is not the client's fault
            conn.parser.unreader.unread(conn.request.take())
        return super().handle(conn)

    def handle_request(self, req: Any, conn: Any) -> Any:
        """Serve a request whose head was parsed; in a thread. A probe's answer must be taken in time: few threads
        serve probes, and a client that reads a little now and then would hold one for as long as it likes."""
        if isinstance(conn, Connection) and conn.request.probe:
            conn.sock.settimeout(PROBE_WRITE_S)
        return super().handle_request(req, conn)

    def finish_request(self, conn: Any, fs: Future[Any]) -> None:
        """Wait for a connection's next request, or close it."""
        if not isinstance(conn, Connection):
            super().finish_request(conn, fs)
            return
        if conn in self._uploads:
            self.release(conn)
        if fs.cancelled() or fs.exception() or not fs.result():
            self._say_goodbye(conn)
            return
        try:
            read_ahead = conn.parser.unreader.take_buffered()
            conn.expect_request(self.timeouts.keepalive_s if self.alive else LINGER_S)
            if read_ahead:
                self._take_in(conn, read_ahead)
            else:
                self._watch(conn)
        except OSError:
            self._drop(conn)

    def murder_keepalived(self, force: bool = False) -> None:  # noqa: FBT001, FBT002 Gunicorn's signature
        """Close all connections that no thread has, where the worker ends."""
        super().murder_keepalived(force)
        if force:
            for conn in tuple(self._waiting):
                self._drop(conn)
            for pool in self._probe_pools.values():
                pool.shutdown(wait=False)

    def murder_pending(self) -> None:
        """Give up, once a second, the clients that are too slow."""
        super().murder_pending()
        now = time.monotonic()
        if now < self._next_sweep:
            return
        self._next_sweep = now + SWEEP_S
        self._late = 0
        for conn in [conn for conn in self._waiting if conn.deadline <= now]:
            self._expire(conn)
        if self._late:
            self.log.info("Closed %s connections whose client did not send its request in time", self._late)

    def _cap_keepalive(self, deadline: float) -> None:
        """Have idle connections close soon: the worker stops."""
        super()._cap_keepalive(deadline)
        for conn in self._waiting:
            if conn.wait is Wait.REQUEST and not conn.collected:
                conn.deadline = min(conn.deadline, deadline)

    # Collecting.

    def _on_clients(self, _epoll: object) -> None:
        for conn in self._clients.ready():
            if conn.wait is Wait.READER:
                self._serve(conn)
            else:
                self._receive(conn)

    def _receive(self, conn: Connection) -> None:
        try:
            piece = conn.sock.recv_now(PIECE)
        except (BlockingIOError, InterruptedError):
            self._watch(conn)
            return
        except OSError:
            piece = b""
        if not piece:
            self._drop(conn)
        elif conn.wait is Wait.GOODBYE:
            self._watch(conn)
        else:
            self._take_in(conn, piece)

    def _take_in(self, conn: Connection, piece: bytes) -> None:
        progress = conn.feed(piece)
        conn.collected += len(piece)
        self._collected += len(piece)
        if progress in (Progress.HEAD, Progress.BODY):
            self._watch(conn)
        elif progress is Progress.LONG_HEAD:
            self._refuse(conn, refusals.LONG_HEAD)
        elif is_full(conn):
            conn.wait = Wait.READER
            conn.deadline = time.monotonic() + self.timeouts.keepalive_s
            self._waiting[conn] = None
            self._clients.expect_reading(conn)
        else:
            self._serve(conn)
        if self._collected > COLLECTED_LIMIT:
            self._make_room()

    def _serve(self, conn: Connection) -> None:
        if conn.request.progress is Progress.LONG_BODY:
            self._queue_upload(conn)
        else:
            self._forget(conn)
            self.enqueue_req(conn)

    def _watch(self, conn: Connection) -> None:
        self._waiting[conn] = None
        self._clients.expect_bytes(conn)

    def _forget(self, conn: Connection) -> None:
        """Stop waiting for a connection, which somebody else has now."""
        self._waiting.pop(conn, None)
        self._uploads.remove(conn)
        self._collected -= conn.collected
        conn.collected = 0

    # Large bodies.

    def _queue_upload(self, conn: Connection) -> None:
        """Have a large body read by a thread, as soon as one may."""
        self._waiting[conn] = None
        conn.wait = Wait.THREAD
        conn.deadline = time.monotonic() + self.timeouts.body_s
        self._uploads.add(conn)
        self._begin_uploads()

    def _begin_uploads(self) -> None:
        for conn in self._uploads.begin():
            self._forget(conn)
            conn.sock.let_thread_read(conn.request, partial(self.method_queue.defer, self.release, conn))
            self.enqueue_req(conn)

    def release(self, conn: Connection) -> None:
        """Let the next large body be read, where this one has been."""
        self._uploads.end(conn)
        self._begin_uploads()

    # Closing.

    def _expire(self, conn: Connection) -> None:
        if conn.wait in (Wait.GOODBYE, Wait.READER) or conn.request.progress is Progress.NOTHING:
            self._drop(conn)
        elif conn.wait is Wait.THREAD:
            self._refuse(conn, refusals.OVERLOADED)
        else:
            self._late += 1
            is_head = conn.request.progress is Progress.HEAD
            self._refuse(conn, refusals.LATE_HEAD if is_head else refusals.LATE_BODY)

    def _make_room(self) -> None:
        """Close the connection that has waited longest; the longest of those that hold bytes, where these are many."""
        is_too_much = self._collected > COLLECTED_LIMIT
        longest = next((conn for conn in self._waiting if conn.collected or not is_too_much), None)
        if longest is not None:
            self._drop(longest)

    def _refuse(self, conn: Connection, response: bytes) -> None:
        self._forget(conn)
        with suppress(OSError):
            conn.sock.send(response)
        self._say_goodbye(conn)

    def _say_goodbye(self, conn: Connection) -> None:
        """Close our half, and the connection when its client has closed too: closed at once, what the client still
        sends would cost it what it has not read yet of its answer."""
        if conn.request.progress is not Progress.READY:
            with suppress(OSError):
                conn.sock.settimeout(0)
                conn.sock.shutdown(socket.SHUT_WR)
                conn.wait = Wait.GOODBYE
                conn.deadline = time.monotonic() + LINGER_S
                self._watch(conn)
                return
        self._drop(conn)

    def _drop(self, conn: Connection) -> None:
        self._forget(conn)
        self._clients.remove(conn)
        self.nr_conns -= 1
        conn.close()
