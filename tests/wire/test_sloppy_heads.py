"""Heads of upstreams that no careful server sends: whatever stands in them, the client gets an answer and the request
one log line, one journal line and one count."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.client import Answer, ask, chat
from tests.support.fixtures import Serve
from tests.support.processes import Proxy, Upstream, eventually
from tests.support.scrape import Counts, scrape, total
from tests.support.scripts import END, chunked, completion, event

#: Values that have to arrive as they were sent, byte for byte (latin-1 here).
PASSED = (
    ("Location", "http://x:abc/"),
    ("Location", "http://[::1"),
    ("Location", "//x:99999/"),
    ("Location", "http://\xe2\x84\x80.example/"),
    ("Location", "/caf\xc3\xa9?q=\xc3\xa9|x"),
    ("Location", "http://[v1.x]/"),
    ("Location", "HTTP://EXAMPLE.com:80/a b"),
    ("Location", ""),
    ("Location", "http://" + 300 * "a" + ".example/"),
    ("Content-Location", "http://x:abc/"),
    ("Content-Location", "http://[::1"),
    ("Content-Location", "/caf\xc3\xa9|x"),
    ("Retry-After", "soon"),
    ("Link", "<http://[::1>; rel=next"),
    ("Pragma", "=,,;"),
    ("Expires", "never"),
    ("Last-Modified", "\xff\xfe"),
    ("WWW-Authenticate", "Basic realm=\xe9"),
    ("Vary", "*, ,"),
    ("Content-Language", "\x80"),
    ("X-!#$%&'*+.^_`|~1", "token"),
    ("X-Odd", "a\tb"),
    ("Allow", ",,"),
    ("Content-Range", "bytes x-y/z"),
    ("X-Request-Id", "\xe9 \xfc"),
)
#: Lines that can't be passed on, or must not: they are left out.
DROPPED = (
    "X-Odd: a\0b",
    "X-Odd: a\x0bb",
    "X-Odd: a\x0cb",
    "X-Odd: a\x1b[2Jb",
    "X-Odd: a\x7fb",
    "X-Odd: folded\r\n over two lines",
    "Location: http://x/\0",
    "Location: http://x/\r\n /folded",
    "Content-Location: \x01",
    "X-Request-Id: a\x01b",
)
#: Lines with which a reply can't be told from another one, or a status that is none: 502.
REFUSED = (
    "X-Odd: a\rX-Other: b",
    "X-Odd: a\r\rb",
    "Location: /a\rSet-Cookie: b",
    "X Odd: a",
    "X-Odd : a",
    "no field at all",
)
STATUSES_REFUSED = ("600 Odd", "999 Odd", "700", "100000 Odd", "099 Odd", "abc Odd")


class Door:
    """A proxy whose records are looked at, and its upstream."""

    def __init__(self, proxy: Proxy, upstream: Upstream, folder: Path) -> None:
        self.proxy, self.upstream, self.folder = proxy, upstream, folder

    def asked(self, kind: str, status: str, *lines: str) -> Answer:
        """Ask for a whole chat, a streamed one or a forwarded path whose reply has these lines in its head."""
        headers = {"X-Script": self.upstream.script(*_reply(kind, status, lines))}
        if kind == "forwarded":
            return ask(self.proxy.port, "GET", "/v1/odd", X_Script=headers["X-Script"])
        return chat(self.proxy.port, stream=kind == "stream", headers=headers)

    def counts(self) -> Counts:
        return scrape(self.proxy)

    def check_records(self, answer: Answer, ending: str) -> None:
        """See that the request has its one log line and its one journal line, both with this ending."""
        assert answer.id
        assert self.proxy.line(answer.id)["ending"] == ending
        (line,) = eventually(lambda: self._journal(answer.id))
        assert (line["ending"], line["status"]) == (ending, answer.status)

    def _journal(self, logging_id: str) -> list[dict[str, object]]:
        text = (self.folder / "client_interaction.jsonl").read_text()
        return [json.loads(line) for line in text.splitlines() if logging_id in line]


def _reply(kind: str, status: str, lines: tuple[str, ...]) -> list[list[str]]:
    own = "".join(f"{line}\r\n" for line in lines)
    content_type = "text/event-stream" if kind == "stream" else "application/json"
    if "Content-Type:" not in own:
        own += f"Content-Type: {content_type}\r\n"
    if kind == "stream":
        head = f"HTTP/1.1 {status}\r\nTransfer-Encoding: chunked\r\n{own}\r\n"
        return [["send", head + chunked(event("Hello", "stop")) + chunked("data: [DONE]\n\n") + END]]
    body = completion("Hello").decode()
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{own}\r\n"
    return [["send", head + body]]


@pytest.fixture(scope="module")
def door(serve: Serve, upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Door:
    folder = tmp_path_factory.mktemp("sloppy")
    return Door(serve(TARGET_BASE_URL=upstream.url, OUTPUT_PATH=str(folder)), upstream, folder)


KINDS = ("whole", "stream", "forwarded")


@pytest.mark.parametrize("kind", KINDS)
def test_headers_of_an_upstream_pass_as_they_are(door: Door, kind: str) -> None:
    before = door.counts()
    for name, value in PASSED:
        answer = door.asked(kind, "200 OK", f"{name}: {value}")
        assert (answer.status, answer.whole) == (200, True), (name, value)
        assert [said for key, said in answer.headers if key == name] == [value], (name, value)
        door.check_records(answer, "complete")
    check_counts(before, door.counts(), len(PASSED), "complete")


@pytest.mark.parametrize("kind", KINDS)
def test_headers_that_no_head_can_hold_are_left_out(door: Door, kind: str) -> None:
    before = door.counts()
    for line in DROPPED:
        answer = door.asked(kind, "200 OK", line, "X-Good: yes")
        assert (answer.status, answer.whole) == (200, True), line
        name = line.partition(":")[0]
        expected = [answer.id] if name == "X-Request-Id" else []
        assert [said for key, said in answer.headers if key == name] == expected, line
        assert answer.header("X-Good") == "yes"
        door.check_records(answer, "complete")
    check_counts(before, door.counts(), len(DROPPED), "complete")


@pytest.mark.parametrize("kind", KINDS)
def test_a_content_type_that_no_head_can_hold_costs_no_answer(door: Door, kind: str) -> None:
    for value in ("text/event-stream; a=\x01", "application/json; a=\x01b"):
        answer = door.asked(kind, "200 OK", f"Content-Type: {value}")
        assert (answer.status, answer.whole) == (200, True)
        assert "\x01" not in answer.header("Content-Type")
        door.check_records(answer, "complete")


@pytest.mark.parametrize("kind", KINDS)
def test_a_head_that_could_be_read_in_two_ways_is_refused(door: Door, kind: str) -> None:
    before = door.counts()
    for line in REFUSED:
        answer = door.asked(kind, "200 OK", line)
        assert (answer.status, answer.error["code"]) == (502, "upstream_protocol_error"), line
        door.check_records(answer, "upstream_broken")
    check_counts(before, door.counts(), len(REFUSED), "upstream_broken")


@pytest.mark.parametrize("kind", KINDS)
def test_a_status_that_http_does_not_have_is_refused(door: Door, kind: str) -> None:
    before = door.counts()
    for status in STATUSES_REFUSED:
        answer = door.asked(kind, status)
        assert (answer.status, answer.error["code"]) == (502, "upstream_protocol_error"), status
        door.check_records(answer, "upstream_broken")
    check_counts(before, door.counts(), len(STATUSES_REFUSED), "upstream_broken")


@pytest.mark.parametrize("status", ["201 Created", "204 No Content", "304 Not Modified", "307 Elsewhere", "404 No"])
def test_a_location_passes_under_any_status(door: Door, status: str) -> None:
    for value in ("http://x:abc/", "/caf\xc3\xa9|x"):
        answer = door.asked("forwarded", status, f"Location: {value}", f"Content-Location: {value}")
        assert answer.status == int(status[:3])
        assert (answer.header("Location"), answer.header("Content-Location")) == (value, value)
        door.check_records(answer, "upstream_error" if answer.status >= 400 else "complete")


def check_counts(before: Counts, after: Counts, asked: int, ending: str) -> None:
    """See that so many requests more were counted, with this ending, and that none is still in flight."""
    ended = [total(counts, "argoproxy_requests_total", ending=ending) for counts in (before, after)]
    everything = [total(counts, "argoproxy_requests_total") for counts in (before, after)]
    assert (ended[1] - ended[0], everything[1] - everything[0]) == (asked, asked)
    assert total(after, "argoproxy_requests_in_flight") == 0
