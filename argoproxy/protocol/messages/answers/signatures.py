"""Signatures of thoughts that did not come from Anthropic.

A thinking block needs a signature, and chats have none. The proxy's own begin with a mark that no provider uses, and
hold what the upstream sent beside the thought (`reasoning_details`), so that it can go back there. Any other signature
is valid only at the provider that made it.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import Any

from argoproxy.protocol.json_text import Json, JsonError, as_dicts, loads
from argoproxy.protocol.stream.sse import encode_json

MARK = "argoproxy-1."


def sign(details: Sequence[Json]) -> str:
    """Return a signature of the proxy that holds details of a thought."""
    return MARK + (base64.b64encode(encode_json(list(details))).decode() if details else "")


def is_ours(block: Json) -> bool:
    """Return whether the signature of a thinking block, or the data of a redacted one, is the proxy's own."""
    signature = block.get("signature") if block.get("type") == "thinking" else block.get("data")
    return isinstance(signature, str) and signature.startswith(MARK)


def read_details(signature: str) -> list[Json]:
    """Return the details in a signature of the proxy; [] if there are none or a client has changed it."""
    try:
        found: Any = loads(base64.b64decode(signature.removeprefix(MARK), validate=True) or b"[]")
    except (JsonError, binascii.Error, ValueError):
        return []
    return as_dicts(found)
