"""What the fuzzer, and people who attacked the proxy, found: each is a named case that is run with the tests."""

from __future__ import annotations

from collections.abc import Sequence

from tests.fuzz.case import CLIENT_KEY, Case, Sent, Step, request
from tests.fuzz.mutate import encode
from tests.fuzz.replies import Reply, sending
from tests.fuzz.requests import CHAT, JSON_TYPE

WHOLE = encode({"model": "m1", "messages": [{"role": "user", "content": "Hi"}]})
STREAMED = encode({"model": "m1", "messages": [{"role": "user", "content": "Hi"}], "stream": True})
FORWARDED = "/v1/moderations"
ENDS: Sequence[Step] = (["close"],)


def asked(target: str = CHAT, body: bytes = WHOLE, *headers: tuple[str, str]) -> Sent:
    """Ask for a completion."""
    return Sent([request("POST", target, body, JSON_TYPE, *headers)])


def raw(data: bytes) -> Sent:
    """Send what is no request."""
    return Sent([data], is_plain=False)


def replied(name: str, reply: Reply) -> Case:
    """Have a reply played to a whole request, to a streamed one, and to one that is passed on."""
    steps = sending([reply.wire], ENDS)
    return Case(name, (asked(), asked(body=STREAMED), asked(FORWARDED)), steps, steps)


def location(name: str, value: str) -> Case:
    created = Reply("application/json", [b"{}"], "201 Created", ((name, value),))
    return replied(f"{name}: {value}", created)


CASES = (
    location("Location", "http://x:abc/"),
    location("Location", "http://[::1"),
    location("Location", "//x:99999/"),
    location("Content-Location", "http://%E2%84%80/"),
    location("Location", "http://\xc3\xa9/\xff"),
    Case("a key as the model", (asked(body=encode({"model": CLIENT_KEY, "messages": []})),)),
    Case("a key as an id", (asked(CHAT, WHOLE, ("X-Request-Id", CLIENT_KEY)),)),
    Case("a key in a path", (Sent([request("GET", f"/v1/models/{CLIENT_KEY}")], ("GET",)),)),
    Case("a key where a method should be", (raw(f"Bearer {CLIENT_KEY} / HTTP/1.1\r\nHost: x\r\n\r\n".encode()),)),
    Case(
        "a key in a header without a colon",
        (raw(f"GET / HTTP/1.1\r\nAuthorization Bearer {CLIENT_KEY}\r\n\r\n".encode()),),
    ),
    Case("a key where a version should be", (raw(f"GET / {CLIENT_KEY}\r\nHost: x\r\n\r\n".encode()),)),
    Case(
        "a key behind a line end that is lost",
        (raw(f"POST /v1/\0Authorization: Bearer {CLIENT_KEY}\r\n\r\n".encode()),),
    ),
)
