from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argoproxy.protocol.secrets import Secret, Stars
from tests.cuts import cut_at, cuts, places


def test_a_secret_shows_itself_to_nobody() -> None:
    secret = Secret("sk-123456")
    assert f"{secret} {secret!r} {[secret]}" == "*** *** [***]"
    assert secret.text == "sk-123456"


def test_a_secret_is_starred_in_any_cut() -> None:
    text = b"key sk-sk-123456, sk-sk-sk-123456 and sk-sk-12345"
    for pieces in cuts(text):
        assert b"".join(Stars(b"sk-sk-123456").over(pieces)) == b"key ************, sk-************ and sk-sk-12345"


@given(st.lists(st.sampled_from([b"abcabd", b"abc", b"ab", b"d", b"x"]), max_size=10), places)
def test_random_texts_in_random_cuts(parts: list[bytes], at: list[int]) -> None:
    text = b"".join(parts)
    starred = b"".join(Stars(b"abcabd").over(cut_at(text, at)))
    assert starred == text.replace(b"abcabd", b"******")
    assert len(starred) == len(text)


def test_silence_passes() -> None:
    assert list(Stars(b"secret").over([b"a", b"", b"sec", b"", b"ret"])) == [b"a", b"", b"", b"", b"******"]


@pytest.mark.parametrize("secret", [b"", b"abc"])
def test_nothing_is_starred_without_a_secret_worth_it(secret: bytes) -> None:
    pieces = [b"abc", b""]
    assert list(Stars(secret).over(pieces)) == pieces
    assert Stars(secret).text("abc") == "abc"


def test_header_values_are_starred() -> None:
    assert Stars(b"sk-123456").text("Bearer sk-123456 caf\xe9") == "Bearer ********* caf\xe9"
