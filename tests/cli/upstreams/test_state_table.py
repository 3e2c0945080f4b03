from __future__ import annotations

import re

from argoproxy.cli.upstreams.state_table import table_lines
from argoproxy.protocol.resilience.breaker import ADDRESS_KINDS, MODEL_KINDS
from argoproxy.protocol.resilience.failures import FAILURES_IN_WORDS, FailureKind

CLOSED = {"state": "closed", "open_streams": 14, "waiting": 0, "openings": 2, "models": {}}


def cells(line: str) -> list[str]:
    return re.split(r"\s{2,}", line.strip())


def test_a_closed_upstream_shows_its_streams() -> None:
    head, line = table_lines({"one": CLOSED})
    assert cells(head) == ["UPSTREAM", "STATE", "STREAMS", "WAITING", "SINCE", "WHY", "NEXT PROBE"]
    assert cells(line) == ["one", "closed", "14", "0"]
    assert line.index("14") == head.index("STREAMS")


def test_an_open_one_shows_since_when_why_and_when_it_is_tried_again() -> None:
    state = {**CLOSED, "state": "open", "since_s": 12.3, "reason": "connect", "next_probe_s": 4.6}
    (_, line) = table_lines({"one": state})
    assert cells(line) == ["one", "open", "14", "0", "12 s", "no connection", "in 5 s"]


def test_long_times_have_larger_units() -> None:
    states = {str(seconds): {**CLOSED, "since_s": seconds} for seconds in (119, 600, 7300)}
    _, *lines = table_lines(states)
    assert [cells(line)[-1] for line in lines] == ["119 s", "10 min", "2 h"]


def test_models_whose_circuit_is_not_closed_follow_their_upstream() -> None:
    model = {"state": "half_open", "since_s": 3.0, "reason": "server_error", "next_probe_s": 0.0}
    _, *lines = table_lines({"one": {**CLOSED, "models": {"qwen3": model}}, "two": CLOSED})
    assert [cells(line)[0] for line in lines] == ["one", "qwen3", "two"]
    assert lines[1].startswith("  qwen3")
    assert cells(lines[1])[1:] == ["half-open", "3 s", "server errors (5xx)", "the next request"]


def test_models_without_names_are_counted() -> None:
    _, line, models = table_lines({"one": {"state": "closed", "open_streams": 0, "waiting": 0, "open_models": 2}})
    assert cells(line) == ["one", "closed", "0", "0"]
    assert cells(models) == ["2 of its models", "not closed"]


def test_every_kind_that_stops_requests_has_words() -> None:
    assert set(FAILURES_IN_WORDS) == {*ADDRESS_KINDS, *MODEL_KINDS, FailureKind.RATE_LIMITED}


def test_names_cannot_act_on_the_terminal() -> None:
    lines = list(table_lines({"one\x1b[2J": {**CLOSED, "models": {"m\x1b[31m": {"state": "open\x07"}}}}))
    assert not [character for line in lines for character in line if not character.isprintable()]
