"""Events of Messages as they are sent: `event:` names the type that stands in the data too (Anthropic API reference,
streaming). SDKs go by the name."""

from __future__ import annotations

from argoproxy.protocol.json_text import Json
from argoproxy.protocol.stream.sse import encode_json

#: Sent in silence; clients skip it, also before the first event.
PING = b'event: ping\ndata: {"type":"ping"}\n\n'


def encode_frame(event: Json) -> bytes:
    """Return the bytes of an event. Raises UpstreamProtocolError if it is nested too deeply."""
    kind: str = event["type"]
    return b"event: " + kind.encode() + b"\ndata: " + encode_json(event) + b"\n\n"


def encode_text_frame(index: int, escaped: bytes) -> bytes:
    """Return the bytes of a delta with text that is escaped as in JSON already."""
    return (
        b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,'
        b'"delta":{"type":"text_delta","text":"%b"}}\n\n' % (index, escaped)
    )
