from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argoproxy.protocol.access.masking import Redactor, encode_secret, redactor_for
from tests.support.cuts import cut_at, cuts, places


def test_a_secret_is_starred_in_any_cut() -> None:
    text = b"key sk-sk-123456, sk-sk-sk-123456 and sk-sk-12345"
    for pieces in cuts(text):
        assert (
            b"".join(Redactor(b"sk-sk-123456").redact_stream(pieces))
            == b"key ************, sk-************ and sk-sk-12345"
        )


@given(st.lists(st.sampled_from([b"abcabd", b"abc", b"ab", b"d", b"x"]), max_size=10), places)
def test_random_texts_in_random_cuts(parts: list[bytes], at: list[int]) -> None:
    text = b"".join(parts)
    starred = b"".join(Redactor(b"abcabd").redact_stream(cut_at(text, at)))
    assert starred == text.replace(b"abcabd", b"******")
    assert len(starred) == len(text)


WRITERS: dict[str, Callable[[str], str]] = {
    "json": json.dumps,
    "PHP": lambda text: json.dumps(text).replace("/", "\\/"),
    "Go": lambda text: json.dumps(text).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"),
    ".NET": lambda text: '"' + "".join(f"\\u{ord(x):04X}" if x in "\"&'+<>`" else x for x in text) + '"',
}


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS.keys())
@pytest.mark.parametrize("secret", ["sk-123456", "sk/12+34/56==", 'sk<"a">&', "/<+>'`/"])
def test_a_secret_is_starred_as_json_spells_it(secret: str, write: Callable[[str], str]) -> None:
    spelled = write(secret).encode()[1:-1]
    for pieces in cuts(b"key %b, %b" % (spelled, secret.encode())):
        starred = b"".join(Redactor(secret.encode()).redact_stream(pieces))
        assert starred == b"key " + b"*" * len(spelled) + b", " + b"*" * len(secret)


def test_a_backslash_is_starred_with_its_escape() -> None:
    assert Redactor(b"a\\bcdef").redact_text('{"a": "a\\\\bcdef"} a\\bcdef') == '{"a": "********"} *******'


def test_silence_passes() -> None:
    assert list(Redactor(b"secret").redact_stream([b"a", b"", b"sec", b"", b"ret"])) == [b"a", b"", b"", b"", b"******"]


@pytest.mark.parametrize("secret", [b"", b"abc"])
def test_nothing_is_starred_without_a_secret_worth_it(secret: bytes) -> None:
    pieces = [b"abc", b""]
    assert list(Redactor(secret).redact_stream(pieces)) == pieces
    assert Redactor(secret).redact_text("abc") == "abc"


def test_header_values_are_starred() -> None:
    assert Redactor(b"sk-123456").redact_text("Bearer sk-123456 caf\xe9") == "Bearer ********* caf\xe9"


@pytest.mark.parametrize(
    "spelled",
    [b"sk%2F12%2B34%2F56%3D%3D", b"sk/12%2B34/56%3D%3D", b"sk\\/12+34\\/56==", b"sk/12\\u002B34/56=="],
)
def test_a_secret_is_starred_in_urls_and_escapes(spelled: bytes) -> None:
    assert list(Redactor(b"sk/12+34/56==").redact_stream([spelled])) == [b"*" * len(spelled)]


def test_a_longer_secret_is_starred_first() -> None:
    assert Redactor(b"secret", b"secret-and-more").redact_text("secret-and-more secret") == "*" * 15 + " " + "*" * 6


def test_a_secret_is_encoded_as_headers_and_bodies_are() -> None:
    assert encode_secret("plain") == (b"plain",)
    assert encode_secret("\xe4") == (b"\xe4", "\xe4".encode())
    assert encode_secret("\u4e16\ud800") == ("\u4e16?".encode(),)


def test_the_same_secrets_share_a_redactor() -> None:
    assert redactor_for((b"sk-123456",)) is redactor_for((b"sk-123456",))
