from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argoproxy.errors import UpstreamProtocolError
from argoproxy.protocol.stream.sse import (
    DONE,
    PLAIN_EVENT,
    Document,
    Event,
    EventDecoder,
    PlainEventReader,
    decode_events,
    event_data,
    is_done,
    is_plain,
)
from tests.support.cuts import cut_at, cuts, places

STREAMS = {
    "LF": b"data: one\n\ndata: two\n\n",
    "CRLF": b"data: one\r\n\r\ndata: two\r\n\r\n",
    "CR": b"data: one\r\rdata: two\r\r",
    "mixed line ends": b"data: one\r\n\ndata: two\n\r\ndata: three\n\rdata: four\r\n\rdata: five\n\n",
    "comments": b": hello\n\n:\n\ndata: one\n: inside\n\n",
    "several data lines": b"data: {\ndata: }\n\n",
    "no space": b"data:one\n\ndata:  two\n\n",
    "other fields": b"event: x\nid: 1\nretry: 3\ndata: one\n\n",
    "blank lines": b"\n\n\n\ndata: one\n\n\n\n\n",
    "U+2028 and U+0085 are no line ends": "data: a\u2028b\u0085c\x0bd\n\n".encode(),
    "data without a value": b"data\n\ndata:\n\n",
    "empty": b"",
}


def events(pieces: list[bytes]) -> list[bytes]:
    return [event.raw for batch in decode_events(pieces) for event in batch]


@pytest.mark.parametrize("stream", STREAMS.values(), ids=STREAMS.keys())
def test_any_cut_gives_the_same_events_and_all_of_the_bytes(stream: bytes) -> None:
    whole = events([stream])
    assert b"".join(whole) == stream
    for pieces in cuts(stream):
        assert events(pieces) == whole


@given(st.lists(st.sampled_from([b"data: x", b"\n", b"\r\n", b"\r", b":", b"data:", b" "]), max_size=20), places)
def test_random_streams_in_random_cuts(parts: list[bytes], at: list[int]) -> None:
    stream = b"".join(parts)
    whole = events([stream])
    assert b"".join(whole).startswith(stream)
    assert events(cut_at(stream, at)) == whole


@pytest.mark.parametrize(
    ("raw", "data"),
    [
        (b"data: one\n\n", b"one"),
        (b"data:one\n\n", b"one"),
        (b"data:  one\n\n", b" one"),
        (b"data: a\ndata: b\n\n", b"a\nb"),
        (b"data: a\r\ndata: b\r\n\r\n", b"a\nb"),
        (b"data: a\rdata: b\r\r", b"a\nb"),
        (b"event: x\ndata: a\nid: 7\n\n", b"a"),
        (b"data\n\n", b""),
        (b": comment\n\n", None),
        (b"datax: 1\n\n", None),
        (b"\n\n", None),
    ],
)
def test_the_data_of_an_event(raw: bytes, data: bytes | None) -> None:
    assert event_data(raw) == data


def test_a_batch_holds_what_arrived_together_and_silence_is_an_empty_one() -> None:
    batches = list(decode_events([b"data: 1\n\ndata: 2\n\ndata", b"", b": 3\n\n"]))
    assert [[event.raw for event in batch] for batch in batches] == [
        [b"data: 1\n\n", b"data: 2\n\n"],
        [],
        [b"data: 3\n\n"],
    ]


@pytest.mark.parametrize(
    ("stream", "last"),
    [
        (b"data: one", b"data: one\n\n"),
        (b"data: one\n", b"data: one\n\n"),
        (b"data: one\r", b"data: one\r\n\n"),
        (b"data: one\r\n", b"data: one\r\n\n"),
        (b"data: one\n\r", b"data: one\n\r\n\n"),
    ],
)
def test_a_last_event_without_its_blank_line_gets_one(stream: bytes, last: bytes) -> None:
    for pieces in cuts(stream):
        assert events(pieces) == [last]


def test_a_byte_order_mark_is_taken_away_once() -> None:
    stream = b"\xef\xbb\xbfdata: \xef\xbb\xbfone\n\n"
    for pieces in cuts(stream):
        assert events(pieces) == [b"data: \xef\xbb\xbfone\n\n"]


def test_half_a_byte_order_mark_is_passed_on() -> None:
    assert events([b"\xef\xbb"]) == [b"\xef\xbb\n\n"]


@pytest.mark.parametrize("cut", [1, 7, 1000])
@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
def test_an_event_over_the_limit_is_refused(cut: int, line_end: bytes) -> None:
    stream = line_end + b"data: " + b"x" * 3000
    with pytest.raises(UpstreamProtocolError) as caught:
        list(decode_events([stream[at : at + cut] for at in range(0, len(stream), cut)], limit=1000))
    assert caught.value.code == "upstream_event_too_large"


def test_a_long_line_arrives_whole() -> None:
    line = b"data: " + b"x" * 5_000_000 + b"\n\n"
    decoder, found = EventDecoder(), []
    for at in range(0, len(line), 65536):
        found += decoder.feed(line[at : at + 65536])
    assert [event.raw for event in found] == [line]


def test_an_event_keeps_its_bytes_and_is_parsed_when_asked() -> None:
    raw = b'data:  {"a": 1.50, "b":"\\u003c"}\n\n'
    event = Event(raw)
    assert event.chunk == {"a": 1.5, "b": "<"}
    assert event.raw is raw


def test_a_chunk_becomes_an_event() -> None:
    event = Event.of({"a": "ü\u2028", "n": float("nan")})
    assert event.raw == 'data: {"a":"ü\u2028","n":NaN}\n\n'.encode()
    assert Event.of({"a": "\ud800"}).raw == b'data: {"a":"\\ud800"}\n\n'


@pytest.mark.parametrize("raw", [b"data: [DONE]\n\n", b": x\n\n", b"data: null\n\n", b"data: 3\n\n", b"data: [1]\n\n"])
def test_what_holds_no_object_has_no_chunk(raw: bytes) -> None:
    assert Event(raw).chunk is None


def test_invalid_json_is_an_error() -> None:
    with pytest.raises(UpstreamProtocolError, match="invalid JSON"):
        _ = Event(b'data: {"a": \n\n').chunk
    with pytest.raises(UpstreamProtocolError, match="not an object"):
        _ = Document(b"[1]").chunk


def test_json_too_deep_to_be_encoded_is_an_error() -> None:
    deep: dict[str, object] = {}
    for _ in range(100_000):
        deep = {"a": deep}
    with pytest.raises(UpstreamProtocolError, match="cannot be encoded"):
        _ = Event.of(deep).raw


def test_a_document_is_its_own_bytes() -> None:
    text = b' {"choices": []}\n'
    document = Document(text)
    assert document.chunk == {"choices": []}
    assert document.raw is text
    assert Document.of({"a": 1}).raw == b'{"a":1}'
    assert json.loads(Document.of({"a": 1}).raw) == {"a": 1}


def test_an_event_has_no_other_fields() -> None:
    with pytest.raises(AttributeError):
        _ = Event(b"").other


@pytest.mark.parametrize(
    ("raw", "done"),
    [
        (DONE.raw, True),
        (b"data:[DONE]\r\n\r\n", True),
        (b"data: [DONE] \n\n", True),
        (b"event: x\ndata: [DONE]\n\n", True),
        (b": [DONE]\n\n", False),
        (b'data: {"a": "[DONE]"}\n\n', False),
        (b"data: x\n\n", False),
    ],
)
def test_the_end_of_a_stream(raw: bytes, done: bool) -> None:
    assert is_done(Event(raw)) is done


PLAIN = (
    b'data: {"id":"x","object":"chat.completion.chunk","created":1,"model":"m","choices":'
    b'[{"index":0,"delta":{"content":"%b"},"finish_reason":null}]}\n\n'
)


@pytest.mark.parametrize("text", [b"", b"Hi", "caf\u00e9".encode(), b'a\\nb\\u0041\\"', b"{}[]"])
def test_a_plain_event_is_known_without_being_parsed(text: bytes) -> None:
    event = Event(PLAIN % text)
    assert is_plain(event)
    assert event.chunk


@pytest.mark.parametrize("text", [b"a\tb", b"a\nb", b"\\q", b"\\u12g4", b"\\", b"\xff\xfe", b"caf\xc3", b'"', b"\x00"])
def test_what_only_looks_plain_is_not(text: bytes) -> None:
    assert not is_plain(Event(PLAIN % text))


def plain_event(text: str, index: int = 0, model: str = "m", end: str = "}") -> bytes:
    choice = f'{{"index":{index},"delta":{{"content":"{text}"}},"finish_reason":null}}'
    return f'data: {{"model":"{model}","choices":[{choice}]{end}\n\n'.encode()


HEAD, TAIL = plain_event("X").split(b"X")
#: It begins with HEAD and ends with TAIL, which share a quotation mark.
OVERLAPPING = HEAD + TAIL[1:]
series = st.lists(
    st.builds(
        plain_event,
        st.sampled_from(["", "a", "é", r"\n", r"\"", '"', '"},"x":{"content":"', "\\"]),
        st.sampled_from([0, 1, 7]),
        st.sampled_from(["m", "other"]),
        st.sampled_from(["}", ',"usage":null}', ',"x":1}']),
    )
    | st.sampled_from([DONE.raw, b": x\n\n", OVERLAPPING]),
    max_size=8,
)


@given(series)
def test_plain_events_are_read_as_their_pattern_says(raws: list[bytes]) -> None:
    reader = PlainEventReader()
    for raw in raws:
        match = PLAIN_EVENT.fullmatch(raw)
        assert reader.read(raw) == (match and (int(match.group(1)), *match.span(2)))
