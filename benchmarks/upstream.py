"""A fast upstream for benchmarks: canned replies, one thread, told by the model's name what to send.

`plain` 0.7 KB at once; `flood` 200 events without a pause, each its own write; `paced` 100 events, 10 ms apart;
`think` as `flood`, with thoughts whose tags are split over events.
"""

from __future__ import annotations

import asyncio
import json
import sys

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\n%b\r\n"
FLOOD_EVENTS, PACED_EVENTS, PAUSE_S = 200, 100, 0.01


def chunk(text: str, finish_reason: str | None = None) -> bytes:
    choice = {"index": 0, "delta": {"content": text}, "logprobs": None, "finish_reason": finish_reason}
    top = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1790000000, "model": "bench"}
    data = b"data: " + json.dumps({**top, "choices": [choice]}, separators=(",", ":")).encode() + b"\n\n"
    return b"%x\r\n%b\r\n" % (len(data), data)


END = chunk("", "stop") + b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"
WORDS = [chunk("hello ")] * FLOOD_EVENTS
THOUGHTS = [chunk(part) for part in ("<thi", "nk>", *["hmm, "] * 80, "</th", "ink>", *["hello "] * 116)]


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
            await answer(json.loads(body)["model"] if body else "plain", writer)
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def answer(model: str, writer: asyncio.StreamWriter) -> None:
    if model == "plain":
        writer.write(DOCUMENT)
        return
    writer.write(HEAD % (b"text/event-stream", b"Transfer-Encoding: chunked\r\n"))
    if model == "paced":
        for word in WORDS[:PACED_EVENTS]:
            writer.write(word)
            await asyncio.sleep(PAUSE_S)
    else:
        for word in WORDS if model == "flood" else THOUGHTS:
            writer.write(word)
        await writer.drain()
    writer.write(END)


async def main(port: int) -> None:
    server = await asyncio.start_server(serve, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
