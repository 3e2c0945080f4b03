"""Send requests to a server as the proxy does, and note what comes back and when."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace

from argoproxy.cli.doctor.judge.observations import Chat, HttpAnswer
from argoproxy.cli.doctor.observe.chat_reader import ChatReader
from argoproxy.errors import ClientGone, ProxyError
from argoproxy.protocol.access.masking import mask_urls
from argoproxy.protocol.http_messages import Headers
from argoproxy.protocol.routing.call import Call
from argoproxy.protocol.routing.timeouts import Timeouts
from argoproxy.transport.reply import HttpReply
from argoproxy.transport.transport import Transport
from argoproxy.transport.watch import Poller, Watch
from argoproxy.upstreams import Upstream, UpstreamRequest

#: Longest waits for what costs nothing.
PROBE_TIMEOUTS = Timeouts(connect_s=5.0, first_byte_s=10.0, idle_s=10.0, total_s=20.0)
#: How long a chat may take, unless the user says otherwise: a server may have to load the model first.
PATIENCE_S = 120.0
#: After so many seconds a stream is not read any further.
STREAM_S = 45.0
#: How much of a body is kept.
LONGEST_BODY = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Sender:
    """Sends requests over one transport. `mask` stars secrets in what is kept of a reply; a chat may take
    `patience_s`."""

    transport: Transport
    mask: Callable[[str], str]
    patience_s: float = PATIENCE_S

    def close(self) -> None:
        """Close the connections that were kept."""
        self.transport.close()

    def ask(self, request: UpstreamRequest, timeouts: Timeouts = PROBE_TIMEOUTS) -> HttpAnswer:
        """Send a request and return the beginning of its answer, or why there is none."""
        begun, watch = time.monotonic(), Watch(None, Poller())
        try:
            reply = self.transport.open(request, timeouts, watch)
            answer = self._answer(request, reply, begun)
            body = b""
            with suppress(ProxyError):
                for piece in reply.iter_bytes():
                    body += piece
                    if len(body) >= LONGEST_BODY:
                        break
            reply.close()
            return replace(answer, body=self.mask(body.decode("utf-8", "replace")))
        except (ProxyError, ClientGone) as error:
            return _failure(request, error, begun)
        finally:
            watch.close()

    def chat(self, upstream: Upstream, call: Call) -> Chat:
        """Send a chat and return what its answer held."""
        try:
            request = upstream.completion_request(call)
        except ProxyError as error:
            return Chat(problem=error.message)
        begun, watch = time.monotonic(), Watch(None, Poller())
        try:
            reply = self.transport.open(request, self._chat_timeouts(), watch)
            timed = TimedReply(reply, begun)
            reader = ChatReader(self._answer(request, reply, begun))
            self._read(upstream, timed, call, reader)
            reply.close()
            return reader.result(timed.arrivals, self.mask)
        except (ProxyError, ClientGone) as error:
            failed = _failure(request, error, begun)
            return Chat(failed, problem=self.mask(failed.reason or str(error)))
        finally:
            watch.close()

    def _chat_timeouts(self) -> Timeouts:
        return Timeouts(min(PROBE_TIMEOUTS.connect_s, self.patience_s), *(self.patience_s,) * 3)

    def _answer(self, request: UpstreamRequest, reply: HttpReply, begun: float) -> HttpAnswer:
        ms = round(1000 * (time.monotonic() - begun), 1)
        headers = tuple((name, self.mask(value)) for name, value in reply.headers)
        url = self.mask(mask_urls(request.url))
        return HttpAnswer(url, reply.status, headers, ms=ms, at_s=time.time())

    def _read(self, upstream: Upstream, reply: TimedReply, call: Call, reader: ChatReader) -> None:
        """Read an answer to its end, or as long as a stream may take."""
        if not 200 <= reply.status < 300:
            body = reply.reply.read_error_body()
            reader.fail(upstream.read_error(reply.status, reply.headers, body), body)
            return
        try:
            for batch in upstream.read_completion(reply, call):
                reader.feed(batch)
                if reply.seconds > STREAM_S:
                    reader.cut()
                    return
        except ProxyError as error:
            reader.fail(error, reply.begin)


class TimedReply:
    """A Reply that notes when its pieces arrive, and keeps its beginning."""

    def __init__(self, reply: HttpReply, begun: float) -> None:
        self.reply = reply
        self.arrivals: list[tuple[float, int]] = []
        self.begin = b""
        self._begun = begun

    @property
    def status(self) -> int:
        return self.reply.status

    @property
    def headers(self) -> Headers:
        return self.reply.headers

    @property
    def seconds(self) -> float:
        """Seconds since the request."""
        return time.monotonic() - self._begun

    def iter_bytes(self) -> Iterator[bytes]:
        """Yield the decoded body as it arrives."""
        for piece in self.reply.iter_bytes():
            if piece:
                self.arrivals.append((self.seconds, len(piece)))
                self.begin = (self.begin + piece)[:2000] if len(self.begin) < 2000 else self.begin
            yield piece

    def iter_raw(self) -> Iterator[bytes]:
        """Yield the body as it arrives."""
        return self.iter_bytes()

    def read(self) -> bytes:
        """Return the whole body."""
        return b"".join(self.iter_bytes())


def _failure(request: UpstreamRequest, error: ProxyError | ClientGone, begun: float) -> HttpAnswer:
    code, reason = (error.code or "", error.reason or error.message) if isinstance(error, ProxyError) else ("", "")
    return HttpAnswer(
        mask_urls(request.url), failure=code or "failed", reason=reason, ms=round(1000 * (time.monotonic() - begun), 1)
    )
