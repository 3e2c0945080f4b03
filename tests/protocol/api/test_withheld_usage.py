"""Streams that are passed on byte for byte, without the event with the usage that only the proxy asked for."""

from __future__ import annotations

import pytest

from argoproxy.protocol.api.passthrough import LONGEST_METERED, withhold_usage
from tests.support.cuts import cuts

STREAM = (("Content-Type", "text/event-stream"),)
BEGIN = b': hi\n\ndata: {"choices": [{"delta": {"content": "\\"usage\\""}}], "usage": null}\n\n'
USAGE = b'data: {"choices": [], "usage": {"prompt_tokens": 3}}\n\n'
ODD = b'data: {"choices": [], "usage": {\n\ndata: {"choices": [{}], "usage": {"prompt_tokens": 3}}\n\n'
DONE = b"data: [DONE]\n\n"


def kept(pieces: list[bytes], headers: tuple[tuple[str, str], ...] = STREAM) -> bytes:
    return b"".join(withhold_usage(pieces, headers))


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_the_event_is_left_out_in_every_cut(end: bytes) -> None:
    stream, rest = (text.replace(b"\n", end) for text in (BEGIN + USAGE + ODD + DONE, BEGIN + ODD + DONE))
    for pieces in cuts(stream):
        assert kept(pieces) == rest


def test_an_end_without_a_blank_line_passes() -> None:
    assert kept([BEGIN + USAGE, b'data: {"choices": [], "usage']) == BEGIN + b'data: {"choices": [], "usage'


def test_moments_of_silence_pass() -> None:
    assert list(withhold_usage([b"", b"data: ", b"", b"1\n\n"], STREAM)) == [b"", b"", b"data: 1\n\n"]


def test_what_is_no_stream_or_has_a_length_passes_unchanged() -> None:
    for headers in ((("Content-Type", "application/json"),), (*STREAM, ("Content-Length", "9"))):
        assert kept([USAGE], headers) == USAGE


def test_no_event_is_held_without_end() -> None:
    long = b"data: " + b"x" * LONGEST_METERED
    assert next(iter(withhold_usage([long, b"y"], STREAM))) == long
