"""The catalogue: what an upstream may do to a reply, and what a client must see of it then.

An upstream says SPOKEN, thoughts and all: as events where a stream was asked for, else as one JSON document. A fault is
what becomes of those pieces on their way; most do the same to both.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tests.support.scripts import DONE, Step, chunked, event

#: The text, in the pieces it comes in.
WORDS = ("<think>", "why</think>Hello", " there", "!")
#: Before a fault strikes: what was sent before it has been read.
MOMENT: Step = ["read"]
CLOSE, RST, CUT, HOLD = ["close"], ["rst"], ["cut"], ["hold"]
LARGE = 5 * 1024 * 1024
TINY_EVENTS = 20_000


@dataclass(frozen=True)
class Outcome:
    """What a client sees, and under which ending it is written down.

    `status` is that of a reply that never began to be an answer, `words` are those that come before a stream breaks.
    A failure of a stream is its last event; the same failure of a whole answer is an error with `whole_status`.
    """

    ending: str
    code: str = ""
    status: int = 200
    words: Sequence[str] = WORDS
    whole_status: int = 502


COMPLETE = Outcome("complete")


def broken(code: str, words: int = 0) -> Outcome:
    """The upstream broke off, after so many words of a stream."""
    return Outcome("upstream_broken", code, words=WORDS[:words])


def refused(code: str, ending: str = "upstream_broken", status: int = 502) -> Outcome:
    """Nothing of an answer came."""
    return Outcome(ending, code, status, words=())


LATE = refused("first_byte_timeout", "upstream_timeout", 504)
SILENT = Outcome("upstream_timeout", "idle_timeout", words=WORDS[:2], whole_status=504)
MADE_NO_SENSE = "upstream_protocol_error"
GONE = "upstream_disconnected"
SHORT = "upstream_reply_cut_short"

Pieces = Sequence[str]


@dataclass(frozen=True)
class Fault:
    """What becomes of the pieces of a reply. `whole` is the outcome of a whole answer where that is another one, None
    where there is no such fault; `streamed` likewise."""

    steps: Callable[[Reply], list[Step]]
    streamed: Outcome | None
    whole: Outcome | None
    #: What the request's message holds besides its script, in bytes, and whether the reply waits for it.
    request: int = 0
    body: str = "read"
    #: Whether it only shows over TLS.
    is_of_tls: bool = False
    #: Whether it is worth one look only.
    is_heavy: bool = False
    #: Whether it strikes when the answer is through: its steps await that.
    strikes_later: bool = False
    #: Whether the client's answer comes when a time-out ends the silence between two bytes.
    is_silence: bool = False
    #: What is said, if it isn't WORDS.
    text: str = ""


@dataclass(frozen=True)
class Reply:
    """A reply in pieces: events, or the parts of a document."""

    content_type: str
    pieces: Pieces

    def head(self, *lines: str, status: str = "200 OK") -> str:
        return "\r\n".join([f"HTTP/1.1 {status}", f"Content-Type: {self.content_type}", *lines, "", ""])

    @property
    def chunked(self) -> str:
        return self.head("Transfer-Encoding: chunked")

    @property
    def body(self) -> str:
        return "".join(self.pieces)

    def counted(self, size: int) -> list[Step]:
        """Announce so many bytes and send what there is."""
        return [["send", self.head(f"Content-Length: {size}") + self.body]]

    def begun(self) -> list[Step]:
        """Send the first two words."""
        return [["send", self.chunked], *(["send", chunked(piece)] for piece in self.pieces[:2]), MOMENT]

    def sent(self) -> list[Step]:
        """Send all of it, well."""
        return [["send", self.chunked], *(["send", chunked(piece)] for piece in self.pieces), ["send", "0\r\n\r\n"]]


def events(*words: str) -> Pieces:
    """Give a stream."""
    return [*(event(word) for word in words), event("", "stop"), DONE]


def document(text: str) -> Pieces:
    """Give a document in four parts."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    whole = json.dumps({"id": "up-1", "object": "chat.completion", "created": 1, "model": "m1", "choices": [choice]})
    quarter = len(whole) // 4
    return [whole[:quarter], whole[quarter : 2 * quarter], whole[2 * quarter : 3 * quarter], whole[3 * quarter :]]


def reply(*, streams: bool, text: str = "") -> Reply:
    """Give what an upstream says."""
    if streams:
        return Reply("text/event-stream", events(*((text,) if text else WORDS)))
    return Reply("application/json", document(text or "".join(WORDS)))


def both(steps: Callable[[Reply], list[Step]], outcome: Outcome, **more: Any) -> Fault:
    return Fault(steps, outcome, outcome, **more)


def always(*steps: Step) -> Callable[[Reply], list[Step]]:
    return lambda reply: list(steps)


def after_two_words(*steps: Step) -> Callable[[Reply], list[Step]]:
    return lambda reply: [*reply.begun(), *steps]


def said(body: str, content_type: str = "text/event-stream") -> Callable[[Reply], list[Step]]:
    """Say something else."""
    return lambda reply: Reply(content_type, [body]).counted(len(body))


def told_first(*lines: str) -> Callable[[Reply], list[Step]]:
    """Put something before the reply."""
    return lambda reply: [["send", "".join(lines)], MOMENT, *reply.sent()]


def with_headers(*lines: str) -> Callable[[Reply], list[Step]]:
    return lambda reply: [["send", reply.head(*lines) + "".join(map(chunked, reply.pieces)) + "0\r\n\r\n"]]


def gzipped(pieces: Pieces) -> list[str]:
    """Give each piece in a form that can be read as soon as it is there; a last one ends it all."""
    packer = zlib.compressobj(wbits=zlib.MAX_WBITS | 16)
    packed = [packer.compress(piece.encode()) + packer.flush(zlib.Z_SYNC_FLUSH) for piece in pieces]
    return [data.decode("latin-1") for data in (*packed, packer.flush())]


def compressed(reply: Reply, keep: int | None = None) -> list[Step]:
    """Send so many pieces in gzip, all of them if that isn't told."""
    data = "".join(gzipped(reply.pieces)[:keep])
    return [["send", reply.head("Content-Encoding: gzip", f"Content-Length: {len(data)}") + data]]


def dripped(reply: Reply) -> list[Step]:
    return [["drip", reply.chunked + "".join(map(chunked, reply.pieces)) + "0\r\n\r\n", 0.0005]]


def in_one_line(reply: Reply) -> list[Step]:
    return reply.sent()


def refusal(status: str) -> Step:
    told = json.dumps({"error": {"message": "no", "type": "t", "param": None, "code": "said_no"}})
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(told)}\r\n"
    return ["send", f"{head}Connection: close\r\n\r\n{told}"]


HTML = "<html><body>Please log in</body></html>"
FLOOD = "".join(f"X-{number}: x\r\n" for number in range(300))
ERROR = 'data: {"error": {"message": "overloaded", "type": "t", "param": null, "code": "overloaded"}}\n\n'
BAD_CHUNKS = {"no number": "zz", "negative": "-5", "endless": "f" * 40, "empty": ""}

TORN: Step = ["send", chunked("data: [DO")]
USAGE = 'data: {"id":"up-1","object":"chat.completion.chunk","created":1,"model":"m1","choices":[],"usage":{"a":1}}\n\n'
COMPACT = (
    'data: {"id":"up-1","object":"chat.completion.chunk","created":1,"model":"m1",'
    '"choices":[{"index":0,"delta":{"content":"%s"},"finish_reason":null}]}\n\n'
)
NO_CHUNKS = {
    "text": "data: Internal Server Error\n\n",
    "null": "data: null\n\n",
    "an array": "data: []\n\n",
    "a chunk with a tab in it": COMPACT % "a\tb",
    "a chunk with an odd escape": COMPACT % "\\q",
    "a chunk that is no UTF-8": COMPACT % "\xff\xfe",
    "a chunk with half a character": COMPACT % "caf\xc3",
}

HEAD_FAULTS = {
    "nothing, then FIN": both(always(CLOSE), refused(GONE)),
    "nothing, then RST": both(always(RST), refused(GONE)),
    "half a status line, then FIN": both(always(["send", "HTTP/1.1 20"], MOMENT, CLOSE), refused(MADE_NO_SENSE)),
    "half a status line, then RST": both(always(["send", "HTTP/1.1 20"], MOMENT, RST), refused(GONE)),
    "half a head, then FIN": both(always(["send", "HTTP/1.1 200 OK\r\nX: y"], MOMENT, CLOSE), refused(SHORT)),
    "half a head, then RST": both(always(["send", "HTTP/1.1 200 OK\r\nX: y"], MOMENT, RST), refused(GONE)),
    "another protocol": both(always(["send", "SSH-2.0-OpenSSH_9.2\r\n"], HOLD), refused(MADE_NO_SENSE)),
    "a header that is none": both(always(["send", "HTTP/1.1 200 OK\r\nno header\r\n\r\n"]), refused(MADE_NO_SENSE)),
    "a flood of headers": both(always(["send", "HTTP/1.1 200 OK\r\n" + FLOOD + "\r\n"]), refused(MADE_NO_SENSE)),
    "a header of 100 KB": both(
        always(["send", f"HTTP/1.1 200 OK\r\nX: {'x' * 100_000}\r\n\r\n"]), refused(MADE_NO_SENSE)
    ),
    "interim replies": both(
        told_first(*(f"HTTP/1.1 {status} Wait\r\nLink: x\r\n\r\n" for status in (100, 102, 103))), COMPLETE
    ),
    "101": both(always(["send", "HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n"], HOLD), refused(MADE_NO_SENSE)),
    "two lengths that agree": both(
        lambda reply: [["send", reply.head(*[f"Content-Length: {len(reply.body)}"] * 2) + reply.body]], COMPLETE
    ),
    "two lengths that differ": both(
        lambda reply: [["send", reply.head(f"Content-Length: {len(reply.body)}", "Content-Length: 5") + reply.body]],
        refused(MADE_NO_SENSE),
    ),
    "a length that is none": both(
        lambda reply: [["send", reply.head("Content-Length: many") + reply.body], CLOSE], refused(MADE_NO_SENSE)
    ),
    "a length, and chunks": both(with_headers("Content-Length: 5", "Transfer-Encoding: chunked"), COMPLETE),
    "chunked twice": both(with_headers(*["Transfer-Encoding: chunked"] * 2), refused(MADE_NO_SENSE)),
    "no content type": both(
        lambda reply: [["send", f"HTTP/1.1 200 OK\r\nContent-Length: {len(reply.body)}\r\n\r\n{reply.body}"]], COMPLETE
    ),
    "silence": both(always(HOLD), LATE),
    "silence in the head": both(always(["send", "HTTP/1.1 200 OK\r\nX: y\r\n"], HOLD), LATE),
    "a refusal": both(always(refusal("401 Unauthorized")), refused("said_no", "upstream_error", 401)),
    "an error page": both(
        always(["send", f"HTTP/1.1 502 Bad Gateway\r\nContent-Length: {len(HTML)}\r\n\r\n{HTML}"]),
        refused("", "upstream_error", 502),
    ),
    "401 while the body goes up": both(
        always(refusal("401 Unauthorized"), HOLD),
        refused("said_no", "upstream_error", 401),
        request=8 * 1024 * 1024,
        body="ignore",
    ),
    "413, then a reset, while the body goes up": both(
        always(refusal("413 Too Large"), MOMENT, RST),
        refused("said_no", "upstream_error", 413),
        request=8 * 1024 * 1024,
        body="ignore",
    ),
}
BODY_FAULTS = {
    "silence in the body": both(after_two_words(HOLD), SILENT, is_silence=True),
    "silence in a chunk's size": both(after_two_words(["send", "1"], HOLD), SILENT, is_silence=True),
    "silence in an event": both(after_two_words(["send", "40\r\ndata: {"], HOLD), SILENT, is_silence=True),
    "FIN in the body": both(after_two_words(CLOSE), broken(SHORT, 2)),
    "RST in the body": both(after_two_words(RST), broken(GONE, 2)),
    "FIN in a chunk": both(after_two_words(["send", "40\r\ndata: {"], CLOSE), broken(SHORT, 2)),
    "RST in a chunk's size": both(after_two_words(["send", "4"], MOMENT, RST), broken(GONE, 2)),
    "FIN before the last chunk": Fault(
        lambda reply: [*reply.sent()[:-1], CLOSE], streamed=COMPLETE, whole=broken(SHORT)
    ),
    **{
        f"a chunk's size is {name}": both(after_two_words(["send", f"{size}\r\nx\r\n"]), broken(MADE_NO_SENSE, 2))
        for name, size in BAD_CHUNKS.items()
    },
    "a chunk without its end": both(after_two_words(["send", "1\r\nxxx"]), broken(MADE_NO_SENSE, 2)),
    # In one piece: what comes later, when the connection is in use again, is a reply to the next request for all that
    # a client can tell (tests/wire/test_stale.py).
    "bytes behind the reply": both(
        lambda reply: [*reply.sent()[:-1], ["send", f"{reply.sent()[-1][1]}HTTP/1.1 500 No\r\n\r\n"]], COMPLETE
    ),
    "bytes on an idle connection": both(
        lambda reply: [*reply.sent(), ["await"], ["send", "junk"]], COMPLETE, strikes_later=True
    ),
    "a length too large": Fault(
        lambda reply: [*reply.counted(len(reply.body) + 9), CLOSE], streamed=COMPLETE, whole=broken(SHORT)
    ),
    "a length too small": Fault(
        lambda reply: reply.counted(len(reply.body) - 100),
        streamed=broken("upstream_stream_cut_short", 4),
        whole=broken(MADE_NO_SENSE),
    ),
    "no length, ended": both(lambda reply: [["send", reply.head("Connection: close") + reply.body], CLOSE], COMPLETE),
    "no length, cut": Fault(
        lambda reply: [["send", reply.head() + "".join(reply.pieces[:2])], CLOSE],
        streamed=broken("upstream_stream_cut_short", 2),
        whole=broken(MADE_NO_SENSE),
    ),
    "half-closed": both(lambda reply: [*reply.sent(), ["shut"], HOLD], COMPLETE),
    "one byte at a time": both(dripped, COMPLETE),
    "gzip": both(compressed, COMPLETE),
    "truncated gzip": both(lambda reply: compressed(reply, 2), broken(SHORT, 2)),
    "false gzip": both(
        lambda reply: [["send", reply.head("Content-Encoding: gzip", "Transfer-Encoding: chunked")], *reply.sent()[1:]],
        refused(MADE_NO_SENSE),
    ),
    "a line of 5 MB": both(in_one_line, COMPLETE, text="x" * LARGE),
    "an event over 8 MiB": Fault(
        in_one_line, streamed=broken("upstream_event_too_large"), whole=None, text="x" * (9 * 1024 * 1024)
    ),
    "20,000 tiny events": Fault(
        lambda reply: [
            ["send", reply.chunked],
            ["repeat", TINY_EVENTS // 100, [["send", chunked(event("x")) * 100]]],
            ["send", chunked(event("", "stop")) + chunked(DONE) + "0\r\n\r\n"],
        ],
        streamed=COMPLETE,
        whole=None,
        text="x" * TINY_EVENTS,
        is_heavy=True,
    ),
    "TLS without a goodbye, in the body": both(after_two_words(CUT), broken(GONE, 2), is_of_tls=True),
    "TLS without a goodbye, no length": Fault(
        lambda reply: [["send", reply.head("Connection: close") + reply.body], CUT],
        streamed=COMPLETE,
        whole=broken(GONE),
        is_of_tls=True,
    ),
}
CONTENT_FAULTS = {
    "an event that is no JSON": Fault(
        after_two_words(["send", chunked("data: {no\n\n")], HOLD), streamed=broken(MADE_NO_SENSE, 2), whole=None
    ),
    "a document that is no JSON": both(said("{no", "application/json"), refused(MADE_NO_SENSE)),
    "an error in the stream": Fault(
        after_two_words(["send", chunked(ERROR)], HOLD),
        streamed=Outcome("upstream_error", "overloaded", words=WORDS[:2]),
        whole=None,
    ),
    "an error at once": Fault(said(ERROR), streamed=refused("overloaded", "upstream_error"), whole=None),
    "an error under 200": Fault(
        said(ERROR[6:].strip(), "application/json"),
        streamed=refused("overloaded", "upstream_error"),
        whole=refused("overloaded", "upstream_error"),
    ),
    "HTML": both(said(HTML, "text/html"), refused(MADE_NO_SENSE)),
    "nothing of a stream": both(said(""), refused("upstream_stream_cut_short")),
    "nothing of a document": both(said("", "application/json"), refused(MADE_NO_SENSE)),
    "comments only": both(said(": hello\n\n: hello\n\n"), broken("upstream_stream_cut_short")),
    "null": both(said("null", "application/json"), refused(MADE_NO_SENSE)),
    "a finish reason, no [DONE]": Fault(
        lambda reply: Reply(reply.content_type, reply.pieces[:-1]).sent(), streamed=COMPLETE, whole=None
    ),
    "[DONE], no finish reason": Fault(
        lambda reply: Reply(reply.content_type, [*reply.pieces[:-2], DONE]).sent(), streamed=COMPLETE, whole=None
    ),
    "neither": Fault(
        lambda reply: Reply(reply.content_type, reply.pieces[:-2]).sent(),
        streamed=broken("upstream_stream_cut_short", 4),
        whole=None,
    ),
    "words after [DONE]": Fault(
        lambda reply: [*reply.sent()[:-1], ["repeat", 50, [["send", chunked(event("more"))], ["sleep", 0.05]]]],
        streamed=COMPLETE,
        whole=None,
    ),
    **{
        f"after the finish reason, {name}": Fault(
            lambda reply, then=then: [*reply.sent()[:-2], MOMENT, *then],  # type: ignore[misc]
            streamed=COMPLETE,
            whole=None,
            is_silence=then == [HOLD],
        )
        for name, then in {"FIN": [CLOSE], "RST": [RST], "silence": [HOLD], "half of [DONE]": [TORN, CLOSE]}.items()
    },
    "half of [DONE], no length": Fault(
        lambda reply: [["send", reply.head("Connection: close") + reply.body[:-6]], CLOSE],
        streamed=COMPLETE,
        whole=None,
    ),
    "[DONE] in two pieces, with blanks": Fault(
        lambda reply: [
            *reply.sent()[:-2],
            ["send", chunked("data:   [DO")],
            MOMENT,
            ["send", chunked("NE]  \n\n") + "0\r\n\r\n"],
        ],
        streamed=COMPLETE,
        whole=None,
    ),
    "usage, before [DONE] and behind it": Fault(
        lambda reply: Reply(reply.content_type, [*reply.pieces[:-1], USAGE, DONE, USAGE]).sent(),
        streamed=COMPLETE,
        whole=None,
    ),
    **{
        f"an event that is {name}": Fault(
            lambda reply, said=said: [*reply.begun(), ["send", chunked(said)], *reply.sent()[3:]],  # type: ignore[misc]
            streamed=broken(MADE_NO_SENSE, 2),
            whole=None,
        )
        for name, said in NO_CHUNKS.items()
    },
    "an empty event": Fault(
        lambda reply: Reply(reply.content_type, [*reply.pieces[:2], "data: \n\n", *reply.pieces[2:]]).sent(),
        streamed=COMPLETE,
        whole=None,
    ),
    "CRLF, a byte order mark and comments": Fault(
        lambda reply: Reply(
            reply.content_type, ["\xef\xbb\xbf: hi\r\n\r\n", *(one.replace("\n", "\r\n") for one in reply.pieces)]
        ).sent(),
        streamed=COMPLETE,
        whole=None,
    ),
}
CATALOGUE: dict[str, Fault] = {**HEAD_FAULTS, **BODY_FAULTS, **CONTENT_FAULTS}
