"""What a request holds until it is closed, as far as its context needs it; and what is done then."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Protocol

from argoproxy.errors import Ending
from argoproxy.protocol.http_messages import Headers
from argoproxy.telemetry.outcome import AttemptSummary, Listener, Outcome
from argoproxy.upstreams import Reply

logger = logging.getLogger("argoproxy")


class OpenReply(Reply, Protocol):
    """A reply whose connection is still held."""

    def release_when_done(self) -> None:
        """Release the connection of a reply that is complete, so that it can be used again."""

    def close(self) -> None:
        """Close the connection."""


class AttemptReport(Protocol):
    """The attempts of a request, as far as its end needs them."""

    @property
    def headers(self) -> Headers:
        """Headers of the response about them."""

    def summarize(self) -> tuple[AttemptSummary, ...]:
        """Return what became of each."""

    def close(self) -> None:
        """Count the last one as over."""


class HeldPlace(Protocol):
    """What a request holds at an upstream, in the sight of all workers."""

    def close(self) -> None:
        """Give it back."""


def release_replies(replies: Iterable[OpenReply], ending: Ending) -> None:
    """Release the connections of replies: for other requests, if this one was answered whole."""
    for reply in replies:
        if ending is Ending.COMPLETE:
            reply.release_when_done()
        else:
            reply.close()


def call_listeners(listeners: Iterable[Listener], outcome: Outcome) -> None:
    """Send an outcome to all listeners."""
    for listener in listeners:
        try:
            listener(outcome)
        except (Exception, SystemExit):  # a plug-in's listener may raise anything
            logger.exception("code=listener_failed id=%s listener=%r", outcome.id, listener)
