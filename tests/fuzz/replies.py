"""Replies of an upstream in every dialect, and what may become of them on their way to the proxy."""

from __future__ import annotations

import gzip
import json
import random
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tests.fuzz import speech
from tests.fuzz.case import ECHO, SERVER_KEYS, Case, Sent, Step, request
from tests.fuzz.mutate import ODD_BYTES, ODD_TEXTS, change_bytes, change_json, chunked, encode, split, weighted
from tests.fuzz.requests import CHAT, EMBEDDINGS, JSON_TYPE, LEGACY, Header
from tests.fuzz.speech import Json, Speech

JSON, EVENTS, TEXT = "application/json", "text/event-stream", "text/plain; charset=utf-8"
PLAIN_MODELS = ("m1", "safe", "brackets", "keep", "strip", "field", "tags", "auto", "open")
#: How many of all cases: replies that are well formed, clients that leave, replies that stall, errors told under 200.
GOOD, LEFT, STALLED, COMPATIBLE = 0.3, 0.06, 0.03, 0.15
STALLS_S = (0.02, 0.12)
#: A pause in which there is a heartbeat, and in how many of the replies that are well formed.
PAUSE_S, PAUSED = 0.07, 0.1
TOOL = {"type": "function", "function": {"name": "tool_0", "parameters": {"type": "object"}}}


@dataclass(frozen=True)
class Reply:
    """One reply: the pieces of its body as they are sent, and how it is framed."""

    content_type: str
    pieces: Sequence[bytes]
    status: str = "200 OK"
    headers: tuple[Header, ...] = ()
    framing: str = "chunked"
    gzips: bool = False

    @property
    def body(self) -> bytes:
        return b"".join(self.pieces)

    @property
    def wire(self) -> bytes:
        """Write it."""
        pieces = gzipped(self.pieces) if self.gzips else self.pieces
        listed = [("Content-Type", self.content_type), *self.headers]
        listed += [("Content-Encoding", "gzip")] if self.gzips else []
        data = b"".join(pieces)
        if self.framing == "chunked":
            listed.append(("Transfer-Encoding", "chunked"))
            data = chunked(pieces)
        elif self.framing == "counted":
            listed.append(("Content-Length", str(len(data))))
        head = "".join(f"{name}: {value}\r\n" for name, value in listed)
        return f"HTTP/1.1 {self.status}\r\n{head}\r\n".encode("latin-1") + data


@dataclass(frozen=True)
class Exchange:
    """What is asked, the same whole and streamed, and what an upstream says to it in each form."""

    name: str
    target: str
    body: Json
    whole: Reply
    streamed: Reply
    #: Documents of which the replies are made, for changes of their shape.
    document: Any
    chunks: Sequence[Any] = ()
    text: str | None = None
    #: Whether bodies pass through untouched.
    passes: bool = False
    #: Whether it may be asked in the other mode than its client asks.
    crosses: bool = False
    asks_both: bool = True


def gzipped(pieces: Sequence[bytes]) -> list[bytes]:
    """Compress, each piece so that it can be read at once."""
    packer = zlib.compressobj(wbits=zlib.MAX_WBITS | 16)
    packed = [packer.compress(piece) + packer.flush(zlib.Z_SYNC_FLUSH) for piece in pieces]
    return [*packed, packer.flush()]


def _asked(model: str, **more: Any) -> Json:
    return {"model": model, "messages": [{"role": "user", "content": "Hi"}], **more}


def _count(rng: random.Random) -> int:
    return rng.choice((1, 1, 2))


def openai_chat(rng: random.Random) -> Exchange:
    said, model = [speech.speech(rng) for _ in range(_count(rng))], rng.choice(PLAIN_MODELS)
    return _openai(rng, (CHAT, _asked(model, n=len(said))), said, "chat.completion")


def openai_legacy(rng: random.Random) -> Exchange:
    said, model = [speech.speech(rng, fields=False) for _ in range(_count(rng))], rng.choice(PLAIN_MODELS)
    return _openai(rng, (LEGACY, {"model": model, "prompt": "Hi", "n": len(said)}), said, "text_completion")


def _openai(rng: random.Random, asked: tuple[str, Json], said: Sequence[Speech], kind: str) -> Exchange:
    document, chunks = speech.openai_document(said, kind), speech.openai_chunks(rng, said, kind)
    target, body = asked
    text = said[0].text if body["model"] == "keep" and len(said) == 1 else None
    whole, streamed = Reply(JSON, [encode(document)]), Reply(EVENTS, speech.events(rng, chunks))
    return Exchange(f"openai {kind}", target, body, whole, streamed, document, chunks, text=text, crosses=True)


def native_chat(rng: random.Random) -> Exchange:
    asked = (CHAT, _asked("native-1"))
    made = _openai(rng, asked, [speech.speech(rng)], "chat.completion")
    return replace(made, name="native", passes=True, crosses=False)


def forwarded(rng: random.Random) -> Exchange:
    made = native_chat(rng)
    target = rng.choice(("/v1/moderations", "/v1/rerank", "/v1/x"))
    return replace(made, name="forwarded", target=target, body={"model": rng.choice(("m1", "native-1")), "input": "Hi"})


def argo_chat(rng: random.Random) -> Exchange:
    said = speech.speech(rng, fields=rng.random() < 0.5)
    said = replace(said, thoughts="", text=said.text.lstrip() or "x")
    model = rng.choice(("gpt-4o", "gpt-3.5-turbo"))
    body = _asked(model, **({"tools": [TOOL]} if said.calls else {}))
    document = speech.argo_document(said)
    streamed = Reply(TEXT, split(rng, said.text.encode(), 8))
    if said.calls:
        streamed = Reply(JSON, [encode(document)])
    return Exchange("argo chat", CHAT, body, Reply(JSON, [encode(document)]), streamed, document)


def argo_raw(rng: random.Random) -> Exchange:
    made = argo_chat(rng)
    return replace(made, name="argo /v1/chat", target="/v1/chat", body=_asked("gpt-4o"), passes=True)


def dashscope_chat(rng: random.Random) -> Exchange:
    said = speech.speech(rng)
    document = speech.dashscope_document(said)
    body = _asked(rng.choice(("qwen-max", "qwen-plus")), **({"tools": [TOOL]} if said.calls else {}))
    whole, streamed = Reply(JSON, [encode(document)]), Reply(EVENTS, speech.dashscope_events(rng, said))
    return Exchange("dashscope chat", CHAT, body, whole, streamed, document, crosses=True)


def embeddings(rng: random.Random) -> Exchange:
    vectors = [[0.5, -1.0, 0.25], [1.0, 0.0, 2.0]]
    rows = [{"object": "embedding", "index": place, "embedding": one} for place, one in enumerate(vectors)]
    listed = [{"text_index": place, "embedding": one} for place, one in enumerate(vectors)]
    documents: dict[str, Json] = {
        "m1": {"object": "list", "model": "up", "data": rows, "usage": {"prompt_tokens": 2, "total_tokens": 2}},
        "text-embedding-3-small": {"embedding": vectors},
        "text-embedding-v3": {"output": {"embeddings": listed}, "usage": {"total_tokens": 2}, "request_id": "r"},
    }
    model = rng.choice(sorted(documents))
    body: Json = {"model": model, "input": ["a", "b"], "encoding_format": rng.choice(("float", "base64"))}
    reply = Reply(JSON, [encode(documents[model])])
    return Exchange(f"embeddings {model}", EMBEDDINGS, body, reply, reply, documents[model], asks_both=False)


def models(rng: random.Random) -> Exchange:
    document = {
        "object": "list",
        "data": [{"id": name, "object": "model", "owned_by": "x"} for name in ("m1", "m2", "é")],
    }
    target = rng.choice(("/v1/models", "/v1/models/m1", "/v1/models/native-1"))
    reply = Reply(JSON, [encode(document)])
    return Exchange("models", target, {}, reply, reply, document, asks_both=False)


DIALECTS = (
    (6, openai_chat),
    (3, openai_legacy),
    (3, native_chat),
    (3, forwarded),
    (4, argo_chat),
    (2, argo_raw),
    (4, dashscope_chat),
    (2, embeddings),
    (2, models),
)


def sent(exchange: Exchange, *headers: Header) -> tuple[Sent, ...]:
    """Ask whole and streamed and, where that can be, each of the two in the other mode."""
    if not exchange.body:
        return (Sent([request("GET", exchange.target, None, *headers)], ("GET",)),)
    bodies = [exchange.body]
    if exchange.asks_both:
        bodies = [{**exchange.body, "stream": False}, {**exchange.body, "stream": True}]
    asked = [request("POST", exchange.target, encode(body), JSON_TYPE, *headers) for body in bodies]
    if exchange.crosses:
        for body, mode in zip(bodies, ("stream", "non_stream"), strict=True):
            crossed = ("X-Upstream-Mode", mode)
            asked.append(request("POST", exchange.target, encode(body), JSON_TYPE, crossed, *headers))
    return tuple(Sent([data]) for data in asked)


def good(rng: random.Random, exchange: Exchange) -> Case:
    """Play it well, in any of the ways there are to frame, to compress and to cut."""
    steps = []
    for reply in (exchange.whole, exchange.streamed):
        reply = replace(reply, framing=rng.choice(("chunked", "counted", "closed")), gzips=rng.random() < 0.3)
        reply = replace(reply, pieces=split(rng, reply.body, 9) if rng.random() < 0.5 else reply.pieces)
        pauses = [["sleep", PAUSE_S]] if rng.random() < PAUSED else []
        sent_steps = sending(split(rng, reply.wire, 6), [["close"]] if reply.framing == "closed" else [])
        place = rng.randrange(len(sent_steps) + 1)
        steps.append([*sent_steps[:place], *pauses, *sent_steps[place:]])
    name = f"good {exchange.name}"
    if exchange.passes:
        bodies = (exchange.whole.body, exchange.streamed.body)
        # What is compressed may pass as it is.
        return Case(name, sent(exchange), steps[0], steps[1], bodies=bodies)
    return Case(name, sent(exchange), steps[0], steps[1], compares=exchange.asks_both, text=exchange.text)


def with_key(steps: Sequence[Step], model: str) -> list[Step]:
    """Put the key that the upstream of a model was sent where replies echo one."""
    kinds = {
        "qwen": "dashscope",
        "text-embedding-v3": "dashscope",
        "native": "native",
        "gpt": "",
        "text-embedding-3": "",
    }
    upstream = next((name for kind, name in kinds.items() if model.startswith(kind)), "plain")
    key = SERVER_KEYS.get(upstream, ECHO)
    return [[kind, *(value.replace(ECHO, key) if kind == "send" else value for value in rest)] for kind, *rest in steps]


def sending(pieces: Sequence[bytes], ending: Sequence[Step]) -> list[Step]:
    """Give the steps that send pieces one by one."""
    steps: list[Step] = []
    for piece in pieces:
        steps += [["send", piece.decode("latin-1")], ["sleep", 0.0003]]
    return [*steps, *ending]


Change = Callable[[random.Random, Exchange, Reply], list[Step]]

ENDINGS: Sequence[list[Step]] = ([["close"]], [["close"]], [["rst"]])


def _steps(rng: random.Random, data: bytes) -> list[Step]:
    return sending(split(rng, data, 3), rng.choice(ENDINGS))


def odd_shape(rng: random.Random, exchange: Exchange, reply: Reply) -> list[Step]:
    """Change values within the JSON."""
    if reply is exchange.streamed and exchange.chunks:
        chunks = list(exchange.chunks)
        for _ in range(rng.randint(1, 3)):
            place = rng.randrange(len(chunks))
            chunks[place] = change_json(rng, chunks[place])
        reply = replace(reply, pieces=speech.events(rng, chunks, done=rng.random() < 0.8))
    elif reply.content_type == EVENTS:
        reply = replace(reply, pieces=[_changed_event(rng, piece) for piece in reply.pieces])
    elif reply.content_type == JSON:
        reply = replace(reply, pieces=[encode(change_json(rng, exchange.document, 3))])
    return _steps(rng, reply.wire)


def _changed_event(rng: random.Random, event: bytes) -> bytes:
    """Change the JSON of a written event, of some."""
    start, found, rest = event.partition(b"data:")
    if not found or rng.random() < 0.7:
        return event
    return start + found + encode(change_json(rng, json.loads(rest))) + b"\n\n"


def odd_body(rng: random.Random, exchange: Exchange, reply: Reply) -> list[Step]:
    """Change bytes of the body, or say something else."""
    body = change_bytes(rng, reply.body, 5) if rng.random() < 0.8 else rng.choice(ODD_TEXTS)
    reply = replace(reply, pieces=split(rng, body), framing=rng.choice(("chunked", "counted", "closed")))
    reply = replace(reply, content_type=rng.choice((reply.content_type, JSON, EVENTS, "text/html", "", "odd")))
    return _steps(rng, reply.wire)


STATUSES = (
    "200",
    "200 ",
    "201 Created",
    "204 No Content",
    "206 Partial Content",
    "301 Moved",
    "304 Not Modified",
    "400 Bad",
    "401 No",
    "404 None",
    "418 \xe9",
    "422 Odd",
    "429 Later",
    "500 Oops",
    "503 Busy",
    "529 Full",
    "599 X",
    "600 X",
    "99 X",
    "1000 X",
    "0 X",
    "-1 X",
    "abc X",
    "200\tOK",
    "100 Continue",
    "101 Switch",
    "199 X",
    "2 OK",
    "20 0",
)
HEADERS: Sequence[Header] = (
    ("Location", "http://x:abc/"),
    ("Location", "http://[::1"),
    ("Location", "//x:99999/"),
    ("Content-Location", "http://%E2%84%80/"),
    ("Location", "http://é.example/\xff"),
    ("Location", "/a b"),
    ("Set-Cookie", "a=b; Domain=x"),
    ("X-Odd", "\xff\x80"),
    ("X-Bare", "a\rb"),
    ("X-Null", "a\0b"),
    ("X-Long", "y" * 9000),
    ("Connection", "close, X-Odd"),
    ("Connection", "keep-alive"),
    ("Content-Length", "5"),
    ("Content-Length", "-1"),
    ("Content-Length", "many"),
    ("Transfer-Encoding", "chunked"),
    ("X-Fold", "a\r\n b"),
    ("Transfer-Encoding", "gzip, chunked"),
    ("Content-Encoding", "br"),
    ("Content-Encoding", "gzip"),
    ("Content-Encoding", "identity"),
    ("Content-Type", "text/html"),
    ("Content-Type", ""),
    ("Retry-After", "soon\x9b"),
    ("X-Request-Id", "up\xe9"),
    ("X-Request-Id", ""),
    ("X-Request-Id", ECHO),
    ("X-Logging-Id", "forged"),
    ("Date", "x"),
    ("Trailer", "X"),
    ("Content-Range", "bytes 0-1/2"),
    ("X-Echo", f"Bearer {ECHO}"),
    ("Bad Name", "x"),
    ("", "x"),
    ("X-\xe9", "x"),
    ("Content-Disposition", 'a; f="\xe9'),
    ("WWW-Authenticate", "Bearer"),
    ("ETag", '"x"'),
    ("Content-MD5", "x"),
    ("Upgrade", "h2c"),
    ("Allow", "GET, \x01"),
)
ERRORS: Sequence[tuple[str, bytes]] = (
    (JSON, encode({"error": {"message": f"bad key {ECHO}", "type": "t", "param": None, "code": "c"}})),
    (JSON, encode({"error": f"bad key {ECHO}"})),
    (JSON, encode({"error": {"message": 5, "code": [1]}})),
    (JSON, encode({"detail": [{"loc": ["body"], "msg": ECHO}]})),
    (JSON, encode({"object": "error", "message": None})),
    (JSON, encode({"code": "Throttling", "message": f"no {ECHO}", "request_id": 5})),
    (JSON, b"[1, 2"),
    ("text/html", b"<html><b>No</b> \x1b[2J http://10.0.0.1:99/x</html>"),
    (TEXT, b"CUDA out of memory \xff\x9b"),
    ("", b""),
    (JSON, encode({"response": None})),
    (JSON, encode({"error": {"message": "x" * 9000}})),
    (TEXT, "\u202e".encode() * 40),
)


def odd_status(rng: random.Random, exchange: Exchange, reply: Reply) -> list[Step]:
    """Answer with some status, headers and, mostly, an error's body."""
    kind, body = rng.choice(ERRORS) if rng.random() < 0.7 else (reply.content_type, reply.body)
    headers = tuple(rng.sample(HEADERS, rng.randint(0, 2)))
    framing = rng.choice(("chunked", "counted", "closed"))
    data = Reply(kind, [body], rng.choice(STATUSES), headers, framing, gzips=rng.random() < 0.1).wire
    return _steps(
        rng, rng.choice((b"", b"", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\n")) + data
    )


def odd_headers(rng: random.Random, exchange: Exchange, reply: Reply) -> list[Step]:
    """Say it well, below some odd headers."""
    headers = tuple(rng.sample(HEADERS, rng.randint(1, 4)))
    return _steps(rng, replace(reply, headers=headers, framing=rng.choice(("chunked", "counted", "closed"))).wire)


def odd_wire(rng: random.Random, exchange: Exchange, reply: Reply) -> list[Step]:
    """Change bytes anywhere: in the status line, the head, the sizes of chunks."""
    data = replace(reply, framing=rng.choice(("chunked", "counted")), gzips=rng.random() < 0.2).wire
    if rng.random() < 0.4:
        head, end, body = data.partition(b"\r\n\r\n")
        return _steps(rng, change_bytes(rng, head) + end + body)
    return _steps(rng, change_bytes(rng, data, 4))


def odd_coding(rng: random.Random, exchange: Exchange, reply: Reply) -> list[Step]:
    """Break what is compressed, or compress twice, or say so of what is not."""
    packed = gzip.compress(reply.body, mtime=0)
    kind = rng.randrange(4)
    data = (change_bytes(rng, packed), packed * 2, packed[: rng.randrange(len(packed))], reply.body)[kind]
    coding = ("Content-Encoding", rng.choice(("gzip", "gzip", "deflate", "x-gzip", "gzip, gzip", "GZIP")))
    return _steps(rng, replace(reply, pieces=split(rng, data), headers=(coding,)).wire)


def odd_cut(rng: random.Random, exchange: Exchange, reply: Reply) -> list[Step]:
    """Break off at any byte."""
    data = replace(reply, framing=rng.choice(("chunked", "counted", "closed")), gzips=rng.random() < 0.2).wire
    return _steps(rng, data[: rng.randrange(len(data))])


def odd_event(rng: random.Random, exchange: Exchange, reply: Reply) -> list[Step]:
    """Put something between the pieces of a stream."""
    pieces = list(reply.pieces)
    extra = (
        b"data: [DONE]\n\n",
        b"event: error\ndata: {}\n\n",
        b"data: \n\n",
        b"data: null\n\n",
        b": c\n\n",
        b"\n\n\n",
        b"retry: 5\n\n",
        b"data\n\n",
        b'data: {"error": {"message": "no", "code": 500}}\n\n',
        b'data: {"choices":\ndata: []}\n\n',
        b"id: \0\n\n",
        b"data: {\r\n\r\n",
        b'data: {"choices": [{"index": 0, "delta": {"content": "late"}, "finish_reason": null}]}\n\n',
        rng.choice(ODD_BYTES),
    )
    for _ in range(rng.randint(1, 3)):
        pieces.insert(rng.randrange(len(pieces) + 1), rng.choice(extra))
    return _steps(rng, replace(reply, pieces=pieces).wire)


CHANGES: Sequence[tuple[int, Change]] = (
    (6, odd_shape),
    (4, odd_body),
    (4, odd_status),
    (3, odd_headers),
    (4, odd_wire),
    (2, odd_coding),
    (3, odd_cut),
    (3, odd_event),
)


def left(rng: random.Random, exchange: Exchange) -> Case:
    """Have clients leave in the midst of a reply that never ends."""
    steps = []
    for reply in (exchange.whole, exchange.streamed):
        data = reply.wire
        steps.append(sending(split(rng, data[: rng.randrange(len(data))], 3), [["hold"]]))
    resets = rng.random() < 0.5
    clients = [replace(one, leaves_when_quiet=True, resets=resets) for one in sent(exchange)]
    return Case(f"left {exchange.name}", clients, steps[0], steps[1])


def stalled(rng: random.Random, exchange: Exchange) -> Case:
    """Have a reply stall anywhere, for longer than its request may take."""
    steps = []
    for reply in (exchange.whole, exchange.streamed):
        data = reply.wire
        steps.append(sending([data[: rng.randrange(len(data))]], [["hold"]]))
    hasty = replace(exchange, body={**exchange.body, "timeout": rng.choice(STALLS_S)}, crosses=False)
    return Case(f"stalled {exchange.name}", sent(hasty), steps[0], steps[1], is_ours=not exchange.passes)


def reply_case(rng: random.Random) -> Case:
    """Make a case of clients that ask for the same in all forms, before an upstream that replies well or oddly."""
    exchange: Exchange = weighted(rng, DIALECTS)(rng)
    kind = rng.random()
    if kind < GOOD:
        return good(rng, exchange)
    if kind < GOOD + LEFT:
        return left(rng, exchange)
    if kind < GOOD + LEFT + STALLED and exchange.target in (CHAT, LEGACY, EMBEDDINGS):
        return stalled(rng, exchange)
    change: Change = weighted(rng, CHANGES)
    # Of lists of models, all upstreams are asked, which have no key in common.
    model = exchange.body.get("model", "gpt")
    whole = with_key(change(rng, exchange, exchange.whole), model)
    streamed = with_key(change(rng, exchange, exchange.streamed), model)
    headers = [("X-Compatible", "true")] if rng.random() < COMPATIBLE else []
    return Case(
        f"{change.__name__} {exchange.name}", sent(exchange, *headers), whole, streamed, is_ours=not exchange.passes
    )
