"""A fast upstream for benchmarks: canned replies, one thread, told by the last word of the model's name what to send.

`plain` 0.7 KB at once; `flood` 200 events without a pause, each its own chunk; `word` the same with one event; `paced`
100 events, 10 ms apart; `slow` 60 events, 50 ms apart; `think` as `flood`, with thoughts whose tags are split over
events. A request for a document gets the one of `plain`, whatever its model. Requests of Messages and of the Responses
API get the stream of `flood` or `word` in their own API (`dialects.py`).
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence

from dialects import WORD as TEXT
from dialects import chat_chunk, http_chunk, messages_stream, responses_stream

#: Words without a pause.
WORDS = {"flood": 200, "word": 1}
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\n%b\r\n"
PAUSES_S = {"paced": 0.01, "slow": 0.05}
PACED_EVENTS = {"paced": 100, "slow": 60}


LAST_CHUNK = http_chunk(b"")
END = chat_chunk("", "stop") + http_chunk(b"data: [DONE]\n\n") + LAST_CHUNK
WORD = chat_chunk(TEXT)
THOUGHTS = [chat_chunk(part) for part in ("<thi", "nk>", *["hmm, "] * 80, "</th", "ink>", *["hello "] * 116)]
OTHER_APIS = {
    (path, model): stream(count)
    for path, stream in (("/v1/messages", messages_stream), ("/v1/responses", responses_stream))
    for model, count in WORDS.items()
}
STREAM_HEAD = HEAD % (b"text/event-stream", b"Transfer-Encoding: chunked\r\n")


def document() -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", "content": "x" * 330}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 9, "completion_tokens": 80, "total_tokens": 89}
    top = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1790000000, "model": "bench"}
    body = json.dumps({**top, "choices": [choice], "usage": usage}).encode()
    return HEAD % (b"application/json", b"Content-Length: %d\r\n" % len(body)) + body


DOCUMENT = document()


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = head.partition(b"content-length: ")[2].partition(b"\r\n")[0]
            body = await reader.readexactly(int(length or 0))
            request = json.loads(body) if body else {}
            model = str(request.get("model", "plain")).rpartition("-")[2]
            if events := OTHER_APIS.get((head.split(b" ", 2)[1].decode(), model)):
                await flood([STREAM_HEAD, *events, LAST_CHUNK], writer)
            elif request.get("stream"):
                await answer(model, writer)
            else:
                writer.write(DOCUMENT)
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def answer(model: str, writer: asyncio.StreamWriter) -> None:
    """Send the stream of a chat."""
    writer.write(STREAM_HEAD)
    if model in PAUSES_S:
        await Pace(writer, PACED_EVENTS[model], PAUSES_S[model]).is_over
    else:
        await flood(THOUGHTS if model == "think" else [WORD] * WORDS[model], writer)
    writer.write(END)


async def flood(pieces: Sequence[bytes], writer: asyncio.StreamWriter) -> None:
    """Send pieces without a pause, each by itself."""
    for piece in pieces:
        writer.write(piece)
    await writer.drain()


class Pace:
    """Writes events at a pace, by a timer of the loop: a task for each stream would cost three times as much."""

    def __init__(self, writer: asyncio.StreamWriter, events: int, pause_s: float) -> None:
        self._writer, self._left, self._pause_s = writer, events, pause_s
        self._loop = asyncio.get_running_loop()
        self.is_over: asyncio.Future[None] = self._loop.create_future()
        self._due = self._loop.time()
        self._send()

    def _send(self) -> None:
        if not self._left or self._writer.is_closing():
            self.is_over.set_result(None)
            return
        self._left -= 1
        self._writer.write(WORD)
        self._due += self._pause_s
        self._loop.call_at(self._due, self._send)


async def main(port: int) -> None:
    server = await asyncio.start_server(serve, "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
