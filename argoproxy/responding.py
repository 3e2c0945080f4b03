"""Responses of ours as WSGI's: a whole one, and the rest of one that has begun early."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from flask import Response

from argoproxy.early import StartResponse
from argoproxy.edge import LeftAlone, at_the_edge, head_first
from argoproxy.protocol.exchange import ClientResponse, header
from argoproxy.trip import Trip

CLIENT_GONE_STATUS = 499


class DoorResponse(Response):
    """A response that makes up no content type."""

    default_mimetype = None


class Continuation(Response):
    """The rest of a response that has begun."""

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Give the pieces alone."""
        pieces, _, _ = self.get_wsgi_response(environ)
        return pieces


def respond(answer: ClientResponse, trip: Trip) -> Response:
    """Make Flask's response of ours; the trip is closed when the server is through with it."""
    if trip.has_begun_early:
        return _continue(answer, trip)
    trip.answers(answer.status)
    logging_id, request_id = ids(trip)
    headers = [*answer.headers, logging_id]
    if not header(answer.headers, "x-request-id"):
        headers.append(request_id)
    if isinstance(answer.body, bytes):
        pieces: Iterable[bytes] = (answer.body,)
        if answer.status != CLIENT_GONE_STATUS:
            headers.append(("Content-Length", str(len(answer.body))))
    else:
        pieces = head_first(answer.body)
    response = DoorResponse(at_the_edge(pieces, trip), answer.status, headers)
    response.call_on_close(trip.close)
    return response


def _continue(answer: ClientResponse, trip: Trip) -> Response:
    """Go on with a stream that has begun: its head is out, whatever the answer's says."""
    trip.answers(200)
    pieces = (answer.body,) if isinstance(answer.body, bytes) else answer.body
    response = Continuation(at_the_edge(LeftAlone() if answer.status == CLIENT_GONE_STATUS else pieces, trip))
    response.call_on_close(trip.close)
    return response


def ids(trip: Trip) -> tuple[tuple[str, str], tuple[str, str]]:
    """Give the headers by which a request is found in the log, ours and the one that others set too."""
    return ("X-Logging-Id", trip.id), ("X-Request-Id", trip.id)
