"""Gunicorn's gevent worker, with limits on the time that clients may take to send."""

from __future__ import annotations

import errno
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import gevent
import gevent.socket
from gunicorn import util
from gunicorn.http.errors import NoMoreData
from gunicorn.workers.ggevent import GeventWorker

from argoproxy.workers.client_socket import TimedRecv, replace_socket
from argoproxy.workers.client_timeouts import ClientTimeouts
from argoproxy.workers.error_responses import OpenAIErrors
from argoproxy.workers.plain_answers import PlainAnswers
from argoproxy.workers.plain_request import PIECE, EnvironMaker, PlainParser, PlainRequest, read_plain

#: Errors of a connection whose client has left.
_GONE = (errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN)


class TimedGeventSocket(TimedRecv, gevent.socket.socket):  # type: ignore[misc]
    """A client's socket under gevent."""

    def sendall(self, data: bytes, flags: int = 0) -> None:
        """Send all. gevent's own first asks the kernel for the size of its buffer, each time."""
        sent = self.send(data, flags)
        if sent < len(data):
            super().sendall(memoryview(data)[sent:], flags)


class ReadingParser(PlainParser):
    """A PlainParser that reads from the socket itself."""

    def __next__(self) -> Any:
        if self.mesg and (self.mesg.should_close() or not self.finish_body()):
            raise StopIteration
        data = self.unreader.take_buffered() or self.unreader.chunk(PIECE)
        plain = read_plain(data)
        if plain:
            self.expect(plain)
        else:
            self.unreader.unread(data)
        return super().__next__()


class TimedGeventWorker(PlainAnswers, OpenAIErrors, GeventWorker):  # type: ignore[misc]
    """Reads from clients through sockets with a limit of time."""

    timeouts: ClientTimeouts

    def init_process(self) -> None:
        """Begin to serve, in the new process."""
        self._read_hooks()
        self._is_http1 = not self.cfg.is_ssl and self.cfg.protocol == "http" and self.cfg.http2_cleartext == "off"
        super().init_process()

    def handle(self, listener: Any, client: Any, addr: Any) -> None:
        """Serve a connection."""
        self.timeouts.limit_unread(client)
        sock = replace_socket(client, TimedGeventSocket, self.timeouts)
        if not self._is_http1:
            super().handle(listener, sock, addr)
            return
        req, parser = None, ReadingParser(self.cfg, sock, addr)
        environs = EnvironMaker(self.cfg, sock, addr, listener.getsockname())
        try:
            sock.settimeout(None)
            is_kept = True
            while is_kept:
                req = None
                req = next(parser)
                is_kept = self._serve(req, sock, environs)
        except (NoMoreData, StopIteration, gevent.GreenletExit, SystemExit):
            pass
        except OSError as error:
            if error.errno not in _GONE:
                self.log.exception("Socket error processing request.")
        except BaseException as error:  # noqa: BLE001 as Gunicorn does
            self.handle_error(req, sock, addr, error)
        finally:
            util.close(sock)

    def _serve(self, req: Any, sock: Any, environs: EnvironMaker) -> bool:
        """Answer a request; return whether the connection is kept. Raises StopIteration instead, as Gunicorn does."""
        if isinstance(req, PlainRequest):
            return self._answer(req, sock, environs)
        self.handle_request(environs.server, req, sock, environs.client)
        return True

    def timeout_ctx(self) -> AbstractContextManager[None]:
        """Return a context without a time-out: Gunicorn would end a kept connection in the midst of a head, without an
        answer, where the socket sends one."""
        return nullcontext()
