"""Write the answer to a client that asked for a stream."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from argoproxy.errors import ClientGone, Ending, ProxyError
from argoproxy.protocol.http_messages import Headers
from argoproxy.protocol.json_text import Json
from argoproxy.protocol.stream.sse import Batch


class ResponseContext(Protocol):
    """What the code that sends an answer must know and report."""

    @property
    def id(self) -> str:
        """The id of the request."""

    @property
    def reply_status(self) -> int:
        """The status of the upstream's reply."""

    @property
    def reply_headers(self) -> Headers:
        """The headers of the upstream's reply."""

    @property
    def upstream_name(self) -> str:
        """The name of the upstream whose reply it is."""

    def is_heartbeat_due(self) -> bool:
        """Return whether nothing was sent to the client for too long."""

    def record_usage(self, usage: Json) -> None:
        """Record the tokens that the upstream counted, in the terms of chats."""

    def set_ending(self, ending: Ending) -> None:
        """Set how the request ended, unless that is set."""

    def record_failure(self, error: ProxyError) -> None:
        """Record the error that ended the answer."""

    def record_crash(self, error: Exception) -> ProxyError:
        """Record an unexpected exception; return the error for the client."""


class StreamWriter(Protocol):
    """Writes the stream of an API."""

    def feed(self, batch: Batch) -> bytes:
        """Return what a batch makes; b"" if that is nothing. Raises ProxyError."""

    def heartbeat(self) -> bytes:
        """Return what is sent when there was nothing to send for too long."""

    def finish(self) -> bytes:
        """Return the end of the stream."""

    def fail(self, error: ProxyError) -> bytes:
        """Return an error as the last event."""


def write_stream(batches: Iterable[Batch], writer: StreamWriter, context: ResponseContext) -> Iterator[bytes]:
    """Yield one piece for each batch, or a heartbeat when there was none for too long. An error becomes the last event.
    Raises ClientGone."""
    try:
        for batch in batches:
            if piece := writer.feed(batch):
                yield piece
            elif context.is_heartbeat_due():
                yield writer.heartbeat()
        if piece := writer.finish():
            yield piece
    except ClientGone:
        raise
    except ProxyError as error:
        context.record_failure(error)
        yield writer.fail(error)
    except Exception as error:  # noqa: BLE001 the head is out: this is the errorhandler of what follows
        yield writer.fail(context.record_crash(error))
