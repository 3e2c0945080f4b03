"""Requests as clients send them, and what may become of them on their way to the proxy."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from tests.fuzz.case import CLIENT_KEY, ORDINARY, Case, Sent, request
from tests.fuzz.mutate import ODD_TEXTS, change_bytes, change_json, chunked, encode, split, weighted

Header = tuple[str, str]

JSON_TYPE: Header = ("Content-Type", "application/json")
COUNT_TOKENS = "/v1/messages/count_tokens"
CHAT, LEGACY, EMBEDDINGS = "/v1/chat/completions", "/v1/completions", "/v1/embeddings"
MODELS = (
    "m1",
    "keep",
    "gone",
    "safe",
    "strip",
    "field",
    "tags",
    "auto",
    "gpt-4o",
    "claude-sonnet-4",
    "qwen-max",
    "native-1",
)
REFUSED_MODELS = ("m3", "", "*", "m1 ", "M1", "../m1", f"x{CLIENT_KEY}", "m1\n2026-01-01T00:00:00.000Z request id=1")
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PURGE")
TARGETS = (
    "/",
    "//",
    "/health",
    "/health/live",
    "/health/x",
    "/metrics",
    "/v1",
    "/v1/",
    "/v1/models",
    "/v1/models/m1",
    "/v1/models/m3",
    "/models",
    "/v1/models/a%2Fb",
    "/v1/files",
    "/v1/files/..;/chat/completions",
    "/v1/chat",
    "/v1/status",
    "/v1/responses",
    "/v1/../v1/models",
    "/v1/%2e%2e/models",
    "/v1//chat/completions",
    "/V1/models",
    "//v1/chat/completions",
    "/v1/chat/completions/",
    "/chat/completions",
    "/v1/chat/completions?x=%zz&model=m3",
    "/x%00y",
    "/%ff%fe",
    "/v1/models/%0d%0aX:y",
    "http://proxy/v1/models",
    "http://other:1/v1/models",
    "*",
    "proxy:443",
    "/é",
    f"/v1/models/{CLIENT_KEY}",
    f"/{CLIENT_KEY}/x?key={CLIENT_KEY}",
    "/" + "a/" * 300,
    "/v1beta/models/m1:generateContent",
)
EXTRA_HEADERS: Sequence[Header] = (
    ("Accept", "text/event-stream"),
    ("Accept-Encoding", "gzip;q=0, br"),
    ("Connection", "close"),
    ("Proxy", "http://x"),
    ("Connection", "keep-alive, X-Upstream-Mode, Authorization"),
    ("Content-Type", "text/plain"),
    ("Cookie", "a=b"),
    ("Content-Type", "multipart/form-data; boundary=x"),
    ("Content-Encoding", "gzip"),
    ("Expect", "100-continue"),
    ("X-Upstream-Mode", "stream"),
    ("X-Upstream-Mode", "non_stream"),
    ("X-Upstream-Mode", "sideways"),
    ("Range", "bytes=1-"),
    ("X-Compatible", "true"),
    ("X-Compatible", "maybe"),
    ("X-Request-Id", CLIENT_KEY),
    ("X-Request-Id", "a" * 3000),
    ("X-Request-Id", "\x9b31m\xe9"),
    ("X-API-Key", CLIENT_KEY),
    ("API-Key", "other"),
    ("Upgrade", "websocket"),
    ("TE", "trailers"),
    ("X-HTTP-Method-Override", "PUT"),
    ("X-Forwarded-For", "1.1.1.1"),
    ("Origin", "http://a"),
    ("X-Odd", "\xff\xfe"),
    ("x-goog-api-key", CLIENT_KEY),
    ("Content-Length", "0"),
    ("Trailer", "X-Y"),
    ("If-None-Match", '"x"'),
)
BAD_LENGTHS = ("-1", "+5", "0x10", "1e3", "5, 5", "5, 6", "99999999999999999999", "", " ", "ten", "5;", "\u0665", "1_0")
BAD_CHUNKS = (
    b"zz\r\n{}\r\n0\r\n\r\n",
    b"-2\r\n{}\r\n0\r\n\r\n",
    b"2;a=b\r\n{}\r\n0\r\n\r\n",
    b"0002\r\n{}\r\n0\r\n\r\n",
    b"2\n{}\n0\n\n",
    b"2\r\n{}0\r\n\r\n",
    b"ffffffffffffffffff\r\n{}",
    b"2\r\n{}\r\n0\r\nX: y\r\n\r\n",
    b"2\r\n{}\r\n",
    b"\r\n",
    b"2 \r\n{}\r\n0\r\n\r\n",
    b"0x2\r\n{}\r\n0\r\n\r\n",
    b"2\r\n{}\r\n0\r\nbad trailer\r\n\r\n",
    b"0\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n",
)
BOUNDARIES = ("x", '"x"', '"x;y"', 'a"; boundary="x', "", "x, boundary=y", "x*=utf-8''y")
#: What follows where a model calls a tool, and two turns later another one.
HISTORY: list[dict[str, Any]] = [
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"a": 1}'}}],
    },
    {"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": "seen"}]},
    {"role": "assistant", "content": "<think>a</think>b", "reasoning_content": "c", "refusal": None},
    {"role": "developer", "content": "Go on."},
    {"role": "assistant", "function_call": {"name": "look", "arguments": "{}"}},
    {"role": "function", "name": "look", "content": "seen"},
    {"role": "user", "content": "And?", "name": "u"},
]
#: The same for Messages and the Responses API.
MESSAGE_TURNS: list[dict[str, Any]] = [
    {
        "role": "assistant",
        "content": [
            {"type": "thinking", "thinking": "a", "signature": "argoproxy-1.W10="},
            {"type": "tool_use", "id": "c1", "name": "look", "input": {"a": 1}},
        ],
    },
    {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c1", "content": "seen"}]},
]
RESPONSE_ITEMS: list[dict[str, Any]] = [
    {"role": "user", "content": [{"type": "input_text", "text": "Hi"}]},
    {"type": "reasoning", "summary": [], "encrypted_content": "argoproxy.1.e30="},
    {"type": "function_call", "call_id": "c1", "name": "look", "arguments": "{}"},
    {"type": "function_call_output", "call_id": "c1", "output": "seen"},
]
IMAGES = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==",
    "data:image/png;base64,%%%",
    "data:,",
    "http://127.0.0.1:1/x.png",
    "http://[::1]:1/",
    "http://169.254.169.254/latest",
    "file:///etc/passwd",
    "gopher://x",
    "http://",
    "//x",
    "\0",
)
ORDINARY_BODIES = tuple(
    encode({"model": "m1", "messages": [{"role": "user", "content": "Hi"}], "stream": streams})
    for streams in (False, True)
)


@dataclass(frozen=True)
class Asked:
    """One request before it is written."""

    method: str
    target: str
    body: bytes | None = None
    headers: tuple[Header, ...] = ()

    @property
    def wire(self) -> bytes:
        return request(self.method, self.target, self.body, *self.headers)


def chat_body(rng: random.Random, model: str) -> dict[str, Any]:
    """Give a chat as clients write them, with some of the optional fields."""
    image = {"type": "image_url", "image_url": {"url": rng.choice(IMAGES)}}
    content: Any = rng.choice(("Hi", "<think>a</think>b", [{"type": "text", "text": "Hi"}, image], "é\u202e" * 20))
    tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
    extras = {
        "temperature": 0.5,
        "n": 1,
        "max_tokens": 5,
        "stop": ["a"],
        "user": "u",
        "tools": [tool],
        "seed": 1,
        "timeout": 5,
        "stream_options": {"include_usage": True},
        "response_format": {"type": "json_object"},
        "tool_choice": "auto",
        "logprobs": True,
        "metadata": {"a": "b"},
        "top_k": 4,
    }
    chosen = {name: extras[name] for name in rng.sample(sorted(extras), rng.randint(0, 3))}
    messages = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": content}]
    if rng.random() < 0.3:
        messages += HISTORY
        chosen["tools"] = [tool]
    return {"model": model, "messages": messages[rng.randrange(2) :], "stream": rng.random() < 0.5, **chosen}


def plain_request(rng: random.Random) -> Asked:
    """Give a request that nothing is wrong with."""
    model = rng.choice(MODELS)
    kind = rng.randrange(8)
    if kind < 3:
        return Asked("POST", CHAT, encode(chat_body(rng, model)), (JSON_TYPE,))
    if kind == 3:
        body = {"model": model, "prompt": rng.choice(("Hi", ["a", "b"])), "stream": rng.random() < 0.5}
        return Asked("POST", LEGACY, encode(body), (JSON_TYPE,))
    if kind == 4:
        asked = {"model": rng.choice(("m1", "text-embedding-3-small", "text-embedding-v3")), "input": ["a", "b"]}
        return Asked("POST", EMBEDDINGS, encode(asked), (JSON_TYPE,))
    if kind == 5:
        return beside_chats(rng, model)
    if kind == 6:
        return Asked(rng.choice(("GET", "HEAD")), rng.choice(("/v1/models", "/", "/v1/models/m1", "/v1/files")))
    return form(rng)


def beside_chats(rng: random.Random, model: str) -> Asked:
    """Give a request of Messages or of the Responses API."""
    chosen = {"stream": rng.random() < 0.5, "temperature": 0.5}
    if rng.random() < 0.5:
        items: Any = rng.choice(("Hi", RESPONSE_ITEMS))
        return Asked("POST", "/v1/responses", encode({"model": model, "input": items, **chosen}), (JSON_TYPE,))
    messages = [{"role": "user", "content": "Hi"}, *(MESSAGE_TURNS if rng.random() < 0.5 else ())]
    body = {"model": model, "max_tokens": 9, "messages": messages, **chosen}
    return Asked("POST", rng.choice(("/v1/messages", "/v1/messages", COUNT_TOKENS)), encode(body), (JSON_TYPE,))


def form(rng: random.Random, boundary: str = "x") -> Asked:
    """Give a form as clients upload files with."""
    name = boundary.strip('"').encode()
    parts = [b'name="model"\r\n\r\nm1', b'name="file"; filename="a.wav"\r\nContent-Type: audio/wav\r\n\r\n\0\1\2']
    rng.shuffle(parts)
    body = (
        b"".join(b"--%b\r\nContent-Disposition: form-data; %b\r\n" % (name, part) for part in parts)
        + b"--%b--\r\n" % name
    )
    return Asked(
        "POST", "/v1/audio/transcriptions", body, (("Content-Type", f"multipart/form-data; boundary={boundary}"),)
    )


def whole(rng: random.Random, asked: Asked) -> Sent:
    """Send a request in one or some pieces and read the answer; often ask for something else behind it."""
    if rng.random() < 0.3:
        data = asked.wire + request("POST", CHAT, rng.choice(ORDINARY_BODIES), JSON_TYPE, (ORDINARY, "1"))
        return Sent(split(rng, data), (asked.method, "POST"), follows=True)
    return Sent(split(rng, asked.wire, rng.choice((0, 0, 4))), (asked.method,))


def odd_json(rng: random.Random) -> Sent:
    asked = plain_request(rng)
    if asked.body is None or b"form-data" in asked.body:
        asked = Asked("POST", CHAT, encode(chat_body(rng, "m1")), (JSON_TYPE,))
    kind = rng.randrange(5)
    if kind < 2:
        body = encode(change_json(rng, chat_body(rng, rng.choice((*MODELS, *REFUSED_MODELS))), 3))
        asked = replace(asked, target=rng.choice((CHAT, CHAT, CHAT, LEGACY, EMBEDDINGS, "/v1/chat", "/v1/moderations")))
    elif kind == 2:
        body = encode(change_json(rng, json.loads(asked.body or b""), 3))
    elif kind == 3:
        body = change_bytes(rng, asked.body or b"")
    else:
        body = rng.choice(ODD_TEXTS)
    return whole(rng, replace(asked, body=body))


def odd_model(rng: random.Random) -> Sent:
    body = encode({**chat_body(rng, rng.choice(REFUSED_MODELS)), "key": CLIENT_KEY})
    return whole(rng, Asked("POST", rng.choice((CHAT, LEGACY, "/v1/moderations", "/v1/chat")), body, (JSON_TYPE,)))


def odd_target(rng: random.Random) -> Sent:
    method, target = rng.choice(METHODS), rng.choice(TARGETS)
    body = None if method in ("GET", "HEAD", "OPTIONS") else encode(chat_body(rng, "m1"))
    data = request(method, target.encode().decode("latin-1"), body, JSON_TYPE)
    return Sent([data], (method,), is_plain=target.isascii() and target.startswith("/"))


def odd_headers(rng: random.Random) -> Sent:
    asked = plain_request(rng)
    added = tuple(rng.sample(EXTRA_HEADERS, rng.randint(1, 4)))
    is_framing = any(name in ("Content-Length", "Upgrade") for name, _ in added)
    names = {name.lower() for name, _ in added}
    kept = tuple(one for one in asked.headers if one[0].lower() not in names)
    return replace(whole(rng, replace(asked, headers=(*kept, *added))), is_plain=not is_framing)


def odd_head(rng: random.Random) -> Sent:
    head, end, body = plain_request(rng).wire.partition(b"\r\n\r\n")
    return Sent([change_bytes(rng, head) + end + body], ("POST",), is_plain=False)


def odd_framing(rng: random.Random) -> Sent:
    """Announce a body in some way and send it in another."""
    asked = plain_request(rng)
    body = asked.body or b"{}"
    kind = rng.randrange(4)
    if kind == 0:
        wrong = str(len(body) + rng.choice((-3, -1, 1, 500))) if rng.random() < 0.5 else rng.choice(BAD_LENGTHS)
        headers: tuple[Header, ...] = (("Content-Length", wrong.encode().decode("latin-1")),)
    elif kind == 1:
        headers, body = (("Transfer-Encoding", "chunked"),), chunked(split(rng, body))
    elif kind == 2:
        headers, body = (("Transfer-Encoding", "chunked"),), rng.choice(BAD_CHUNKS)
    else:
        coding = rng.choice(("gzip", "chunked, chunked", "identity", "xchunked", "chunked\t", "Chunked"))
        headers, body = (("Transfer-Encoding", coding), ("Content-Length", str(len(body)))), chunked([body])
    return Sent([replace(asked, method="POST", body=body, headers=(*asked.headers, *headers)).wire], is_plain=kind == 1)


def odd_form(rng: random.Random) -> Sent:
    asked = form(rng, rng.choice(BOUNDARIES))
    if rng.random() < 0.7:
        asked = replace(asked, body=change_bytes(rng, asked.body or b""))
    target = rng.choice((asked.target, "/v1/files", "/v1/images/edits", CHAT))
    return whole(rng, replace(asked, target=target))


def leaving(rng: random.Random) -> Sent:
    """Leave before all is sent, or before all is read."""
    data, resets = plain_request(rng).wire, rng.random() < 0.5
    if rng.random() < 0.5:
        return Sent([data[: rng.randrange(1, len(data) + 1)]], leaves_after=0, resets=resets)
    return Sent([data], leaves_after=rng.choice((0, 1, 20, 200, 300)), resets=resets)


def pipelined(rng: random.Random) -> Sent:
    """Send several requests at once, some of them wrong."""
    asked = [plain_request(rng) for _ in range(rng.randint(2, 4))]
    if rng.random() < 0.5:
        place = rng.randrange(len(asked))
        asked[place] = replace(asked[place], target=rng.choice(("/v1/models/m3", "/nowhere", "/health/x")))
    data = b"".join(one.wire for one in asked)
    return Sent(split(rng, data), tuple(one.method for one in asked))


def large(rng: random.Random) -> Sent:
    """Send a body that is too long to be collected while others are served; some clients leave on the way."""
    body = encode({**chat_body(rng, "m1"), "metadata": "x" * rng.choice((1_100_000, 2_000_000))})
    target = rng.choice((CHAT, "/v1/moderations", "/v1/files", "/v1/models/m1", "/nowhere"))
    asked = Asked("POST", target, body, (JSON_TYPE,))
    if rng.random() < 0.3:
        asked = replace(asked, body=chunked([body]), headers=(JSON_TYPE, ("Transfer-Encoding", "chunked")))
    if rng.random() < 0.3:
        return Sent([asked.wire[: rng.randrange(len(body))]], leaves_after=0, resets=rng.random() < 0.5)
    return Sent([asked.wire])


def without_key(rng: random.Random) -> Sent:
    """Send no key, or another one."""
    asked = plain_request(rng)
    other = rng.choice((b"Bearer ", b"Bearer other", b"Basic eDp5", b"", b"\xff", b"Bearer " + b"x" * 5000))
    data = asked.wire.replace(b"Bearer " + CLIENT_KEY.encode(), other)
    return Sent(split(rng, data, 2), (asked.method,))


REQUESTS = (
    (6, odd_json),
    (2, odd_model),
    (4, odd_target),
    (4, odd_headers),
    (5, odd_head),
    (4, odd_framing),
    (3, odd_form),
    (4, leaving),
    (3, pipelined),
    (1, large),
    (2, without_key),
)


def request_case(rng: random.Random) -> Case:
    """Make a case of one or two clients whose requests are odd, before an ordinary upstream."""
    kinds = [weighted(rng, REQUESTS) for _ in range(rng.choice((1, 1, 2, 3)))]
    return Case(" + ".join(kind.__name__ for kind in kinds), tuple(kind(rng) for kind in kinds))
