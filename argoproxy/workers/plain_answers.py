"""Answers to plain requests, as Gunicorn's workers give them, with an environ and a response of our own."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from gunicorn import util
from gunicorn.http.wsgi import FileWrapper

from argoproxy.workers.plain_request import EnvironMaker, PlainRequest, PlainResponse


class PlainAnswers:
    """Mixin of worker classes."""

    # Gunicorn's.
    alive: bool
    cfg: Any
    log: Any
    max_requests: int
    nr: int
    wsgi: Callable[..., Any]

    def _read_hooks(self) -> None:
        """Keep settings that each request needs: each look at one of Gunicorn's takes two calls."""
        self._pre_request, self._post_request = self.cfg.pre_request, self.cfg.post_request
        self._keepalive = bool(self.cfg.keepalive)

    def _answer(self, req: PlainRequest, sock: Any, environs: EnvironMaker) -> bool:
        """Answer a plain request as Gunicorn does, with an environ and a response of our own; return whether the
        connection can be kept."""
        environ: dict[str, Any] = {}
        resp = None
        try:
            self._pre_request(self, req)
            resp = PlainResponse(req, sock, self.cfg)
            environ = environs.make(req, resp)
            self._count_request(resp)
            self._respond(req, environ, resp)
            return not resp.should_close()
        except OSError:
            raise
        except (Exception, SystemExit):
            if resp is None or not resp.headers_sent:
                raise
            # An error status would stand in the midst of the response.
            self.log.exception("Error handling request")
            util.close_graceful(sock)
            raise StopIteration from None
        finally:
            self._run_post_request(req, environ, resp)

    def _count_request(self, resp: PlainResponse) -> None:
        """Count a request; have its connection closed where the worker stops, or has had as many as it should."""
        self.nr += 1
        if self.nr >= self.max_requests:
            if self.alive:
                self.log.info("Autorestarting worker after current request.")
                self.alive = False
            resp.force_close()
        if self._closes_connections():
            resp.force_close()

    def _closes_connections(self) -> bool:
        """Return whether no connection is kept after its request."""
        return not (self.alive and self._keepalive)

    def _respond(self, req: PlainRequest, environ: dict[str, Any], resp: PlainResponse) -> None:
        """Have the application answer."""
        begun = datetime.now()
        pieces = self.wsgi(environ, resp.start_response)
        try:
            if isinstance(pieces, FileWrapper):
                resp.write_file(pieces)
            else:
                for piece in pieces:
                    resp.write(piece)
            resp.close()
        finally:
            if self.log.access_log_enabled:
                self.log.access(resp, req, environ, datetime.now() - begun)
            if hasattr(pieces, "close"):
                pieces.close()

    def _run_post_request(self, req: PlainRequest, environ: dict[str, Any], resp: PlainResponse | None) -> None:
        try:
            self._post_request(self, req, environ, resp)
        except Exception:
            self.log.exception("Exception in post_request hook")
