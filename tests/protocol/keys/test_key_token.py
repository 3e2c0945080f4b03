from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from argoproxy.protocol.keys.key_token import (
    PUBLIC_LENGTH,
    SECRET_LENGTH,
    derive_bytes,
    digest_of,
    encode_letters,
    make_token,
    tail_of,
    tokens_in,
)

PEPPER = b"p" * 64


@given(st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32))
def test_different_entropy_makes_different_secrets(one: bytes, other: bytes) -> None:
    secrets = [encode_letters(entropy, SECRET_LENGTH) for entropy in (one, other)]
    assert (secrets[0] == secrets[1]) == (one == other), "43 letters hold all 256 bits"
    assert all(len(secret) == SECRET_LENGTH and secret.isalnum() and secret.isascii() for secret in secrets)


def test_a_key_is_found_in_a_text() -> None:
    token = make_token("a" * PUBLIC_LENGTH, b"x" * 32)
    assert tokens_in(f"cookie=1; key={token}&b") == [token]
    assert tokens_in(token[:-1]) == tokens_in("nothing") == tokens_in("ap_") == []


def test_digests_depend_on_the_pepper_and_on_what_they_are_for() -> None:
    digests = {digest_of(PEPPER, b"check"), digest_of(b"q" * 64, b"check"), derive_bytes(PEPPER, "check").hex()}
    digests |= {derive_bytes(PEPPER, "a", "bc").hex(), derive_bytes(PEPPER, "ab", "c").hex()}
    assert len(digests) == 5


def test_only_a_long_key_shows_its_end() -> None:
    assert tail_of(make_token("a" * 12, b"x" * 32)) != ""
    assert tail_of("k-0123456789abcdef") == ""
