"""Answers that are kept come back as they came, in every cut; those that are not whole and good are not kept."""

from __future__ import annotations

import json
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argoproxy.protocol.api.endpoints import assemble_reply
from argoproxy.protocol.cache.answer_recorder import AnswerRecorder, ContentDetector
from argoproxy.protocol.cache.cache_policy import CachePolicy
from argoproxy.protocol.cache.kept_answer import LONGEST_KEPT, MOST_CUTS, AnswerForm, KeptAnswer, decompress_answer
from argoproxy.protocol.stream.runs import RunDecoder, TextRun, cut_runs
from argoproxy.protocol.stream.sse import DONE, Batch, Document, Event
from tests.support.cuts import cuts

POLICY = CachePolicy(60)


def chunk(delta: dict[str, Any], reason: str | None = None, index: int = 0, **more: Any) -> bytes:
    choice = {"index": index, "delta": delta, "finish_reason": reason}
    return b"data: " + json.dumps({"id": "up-1", "choices": [choice], **more}, separators=(",", ":")).encode() + b"\n\n"


def document(message: dict[str, Any], reason: str | None = "stop", **more: Any) -> Document:
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": reason}
    return Document(json.dumps({"id": "up-1", "choices": [choice], **more}).encode())


USAGE = b'data: {"id":"up-1","choices":[],"usage":{"prompt_tokens":7,"completion_tokens":2}}\n\n'
END = Event(chunk({}, "stop"))
STREAM = (
    chunk({"role": "assistant", "content": ""})
    + b": a comment\n\n"
    + chunk({"content": "Hel"})
    + chunk({"content": 'lo \\ "finish_reason":"length" ü'})
    + chunk({}, "stop")
    + USAGE
    + DONE.raw
)


class Recording:
    """An answer that passes both filters."""

    def __init__(self, policy: CachePolicy = POLICY, choices: int = 1) -> None:
        self.unfit = 0
        self.recorder = AnswerRecorder(policy, choices, self._count)
        self.detector = ContentDetector()

    def pass_through(self, *batches: Batch) -> KeptAnswer | None:
        for batch in batches:
            assert self.recorder.feed(batch) is batch
            assert self.detector.feed(batch) is batch
        assert self.recorder.finish() == self.detector.finish() == []
        return self.recorder.answer()

    def _count(self) -> None:
        self.unfit += 1


def raws(batch: Batch) -> list[bytes]:
    return [event.raw for event in batch]


def decode(*pieces: bytes) -> list[Batch]:
    decoder = RunDecoder()
    return [*map(decoder.feed, pieces), decoder.finish()]


def test_a_stream_is_kept_byte_for_byte_however_it_arrives() -> None:
    for batches in (decode(*pieces) for pieces in cuts(STREAM)):
        recording = Recording()
        kept, cut = recording.pass_through(*batches), Recording().pass_through(*map(cut_runs, batches))
        assert kept
        assert cut
        assert (recording.detector.has_content, recording.unfit) == (True, 0)
        assert (kept.form, kept.text, cut.text) == (AnswerForm.STREAM, STREAM, STREAM)
        for one in (kept, cut):
            back = decompress_answer(str(one.form), one.compress())
            assert back == one
            assert raws(cut_runs(back.to_batch())) == raws(cut_runs(decode(STREAM)[0]))


def test_cache_stream_vs_document() -> None:
    """What was kept as a stream is the same whole answer, and comes back as the events that it was."""
    plain = chunk({"content": "a"}) * 3
    text = plain + STREAM
    for kept in (KeptAnswer(AnswerForm.STREAM, text), KeptAnswer(AnswerForm.STREAM, text, (len(plain), -len(STREAM)))):
        batch = kept.to_batch()
        assert b"".join(raws(batch)) == text
        assert isinstance(batch[0], TextRun)
    whole = assemble_reply([KeptAnswer(AnswerForm.STREAM, STREAM).to_batch()]).chunk
    assert whole["choices"][0]["message"]["content"] == 'Hello \\ "finish_reason":"length" ü'
    assert whole["usage"] == {"prompt_tokens": 7, "completion_tokens": 2}


def test_a_whole_answer_is_kept_byte_for_byte() -> None:
    answer = document({"content": "Hi", "refusal": None})
    recording = Recording()
    kept = recording.pass_through([answer])
    assert kept
    assert kept == KeptAnswer(AnswerForm.DOCUMENT, answer.raw)
    assert recording.detector.has_content
    assert [(type(event), event.raw) for event in kept.to_batch()] == [(Document, answer.raw)]


@pytest.mark.parametrize(
    "events",
    [
        [chunk({"content": "Hi"})],
        [chunk({"content": "Hi"}, "content_filter")],
        [chunk({"content": "Hi"}, "length")],
        [chunk({"content": "Hi"}, "another")],
        [chunk({"refusal": "I can't"}), chunk({}, "stop")],
        [chunk({"content": "Hi"}, "stop", error={"message": "m"})],
        [chunk({"content": "Hi"}), b'data: {"error": {"message": "m"}, "finish_reason": "x\n\n'],
        [chunk({"content": "a" * LONGEST_KEPT}), chunk({}, "stop")],
    ],
    ids=["no reason", "filtered", "cut", "unknown reason", "refused", "error", "no json", "too long"],
)
def test_cache_error_and_cut_stream(events: list[bytes]) -> None:
    """Apologies, errors and streams that broke off are given once, never again."""
    recording = Recording()
    assert recording.pass_through(*([Event(raw)] for raw in events), [DONE]) is None
    assert recording.unfit <= 1


@pytest.mark.parametrize(
    "answer",
    [
        document({"content": "Hi"}, None),
        document({"content": "Hi"}, "length"),
        document({"content": None, "refusal": "I can't"}),
        document({"content": "Hi"}, error="m"),
        Document(b'{"choices": []}'),
        Document(b'{"choices": [{"index": 0, "message": '),
    ],
)
def test_documents_that_are_not_good_are_not_kept(answer: Document) -> None:
    assert Recording().pass_through([answer]) is None


def test_answers_cut_by_length_are_kept_where_the_rule_says_so() -> None:
    policy = CachePolicy(60, with_length=True)
    assert Recording(policy).pass_through([document({"content": "Hi"}, "length")]) is not None


def test_a_time_of_0_turns_the_cache_off() -> None:
    assert [CachePolicy(seconds).is_on for seconds in (0, 0.5)] == [False, True]


def test_what_is_unfit_is_reported_once() -> None:
    recording = Recording()
    first, second = Event(chunk({}, "length")), Event(chunk({}, "length", 1))
    assert recording.pass_through([first, second], [second]) is None
    assert recording.unfit == 1


def test_all_choices_must_have_ended() -> None:
    first, second = Event(chunk({"content": "a"}, "stop")), Event(chunk({"content": "b"}, "tool_calls", 1))
    assert Recording(choices=2).pass_through([first]) is None
    assert Recording(choices=2).pass_through([first], [second]) is not None


@pytest.mark.parametrize(
    ("event", "is_shown"),
    [
        (Event(chunk({"role": "assistant", "content": ""})), False),
        (Event(chunk({"reasoning_content": "hm"})), False),
        (Event(chunk({"content": " \n"})), False),
        (Event(chunk({}, "stop")), False),
        (Event(b": comment\n\n"), False),
        (Event(b"data: {broken\n\n"), False),
        (Event(chunk({"content": "a"})), True),
        (Event(chunk({"tool_calls": [{"index": 0}]})), True),
        (Event(chunk({"function_call": {"name": "f"}})), True),
        (Event(b'data: {"choices": [{"index": 0, "text": "a"}]}\n\n'), True),
        (TextRun(chunk({"content": "a"})), True),
        (TextRun(chunk({"content": "  "})), False),
        (document({"content": ""}), False),
        (document({"content": [{"type": "text", "text": "a"}]}), True),
        (Document(b'{"choices": [{"index": 0, "text": "a"}]}'), True),
    ],
)
def test_content_is_text_or_a_call(event: Event, is_shown: bool) -> None:
    detector = ContentDetector()
    detector.feed([event])
    assert detector.has_content is is_shown


def test_many_single_events_are_found_again() -> None:
    answer = Recording().pass_through(*([Event(chunk({"content": "a"}))] for _ in range(MOST_CUTS)), [END])
    assert answer
    assert answer.cuts == ()
    assert [type(event) for event in answer.to_batch()] == [TextRun, Event]


@given(st.sampled_from(AnswerForm), st.binary(max_size=3000))
def test_compressed_answers_come_back(form: AnswerForm, text: bytes) -> None:
    kept = KeptAnswer(form, text)
    assert decompress_answer(str(form), kept.compress()) == kept


NO_ANSWERS = [
    b"",
    b"no zlib",
    zlib.compress(b"abc")[:-3],
    zlib.compress(b"3,-1\nab"),
    zlib.compress(b"x,1\nab"),
    zlib.compress(bytes(2 * LONGEST_KEPT)),
]


@pytest.mark.parametrize("blob", NO_ANSWERS)
def test_what_is_no_answer_is_found(blob: bytes) -> None:
    with pytest.raises(ValueError, match=r"zlib|longer|events|literal"):
        decompress_answer("stream", blob)


def test_a_form_that_is_not_known_is_found() -> None:
    with pytest.raises(ValueError, match="other"):
        decompress_answer("other", zlib.compress(b"\nabc"))
