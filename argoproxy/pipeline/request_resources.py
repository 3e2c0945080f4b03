"""What a request holds until it is closed, as far as its context needs it."""

from __future__ import annotations

from typing import Protocol

from argoproxy.protocol.http_messages import Headers
from argoproxy.telemetry.outcome import AttemptSummary
from argoproxy.upstreams import Reply


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
