"""The text of a key, `ap_<public>_<secret>`, and its digest, which is all that is stored.

A digest is an HMAC-SHA256 with a pepper that is kept outside of the database: a copy of the database alone neither
tells a key nor lets its holder make one. Slow hashes are for texts that can be guessed; the secret has 256 bits.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import string
from functools import lru_cache

from argoproxy.protocol.http_messages import Headers

PREFIX = "ap"
PUBLIC_LENGTH = 12
SECRET_LENGTH = 43
#: Bytes of entropy that the two parts are made of; 43 characters of 62 hold 256 bits.
PUBLIC_BYTES, SECRET_BYTES = 16, 32
PEPPER_BYTES = 32
#: A key that was made elsewhere may be shorter than ours, but not so short that it can be guessed.
SHORTEST_FOREIGN = 16
#: The last characters of a key tell it from others in lists; of a short one they would tell too much.
SHORTEST_SHOWN = 32

#: Letters and digits only: a double click selects all of it, and no shell, URL or header changes it.
_ALPHABET = string.digits + string.ascii_letters
_BEGIN = f"{PREFIX}_"
_TOKEN = re.compile(rf"{PREFIX}_[0-9A-Za-z]{{{PUBLIC_LENGTH}}}_[0-9A-Za-z]{{{SECRET_LENGTH}}}")
#: No header can hold it, so no key has the digest that something else is derived from.
_SEPARATOR = b"\0"


def encode_letters(entropy: bytes, length: int) -> str:
    """Return bytes as so many letters and digits."""
    number, letters = int.from_bytes(entropy, "big"), []
    for _ in range(length):
        number, letter = divmod(number, len(_ALPHABET))
        letters.append(_ALPHABET[letter])
    return "".join(letters)


def derive_public(name: str) -> str:
    """Return the public part of a key that is declared by its name: the same on every host, so that hosts which share
    their counters count it as one key."""
    return encode_letters(hashlib.sha256(f"declared key {name}".encode()).digest(), PUBLIC_LENGTH)


def make_token(public: str, entropy: bytes) -> str:
    """Return a key with this public part and a secret made of 32 bytes."""
    return f"{PREFIX}_{public}_{encode_letters(entropy, SECRET_LENGTH)}"


#: A key comes with each request of its holder, and an HMAC takes longer than all that follows from it.
@lru_cache(maxsize=1024)
def digest_of(pepper: bytes, token: bytes) -> str:
    """Return the digest by which a key is stored and found, in hexadecimal."""
    return hmac.digest(pepper, token, "sha256").hex()


def derive_bytes(pepper: bytes, *parts: str) -> bytes:
    """Return 32 bytes that only the holder of the pepper can make of these texts."""
    return hmac.digest(pepper, _SEPARATOR.join((b"", *(part.encode() for part in parts))), "sha256")


def tail_of(token: str) -> str:
    """Return the last four characters of a key, "" if it is short."""
    return token[-4:] if len(token) >= SHORTEST_SHOWN else ""


def without_tokens(headers: Headers) -> Headers:
    """Return the headers without those that hold a key of this proxy's form."""
    return tuple([header for header in headers if _BEGIN not in header[1] or not _TOKEN.search(header[1])])


def tokens_in(text: str) -> list[str]:
    """Return the keys of this proxy's form in a text."""
    return _TOKEN.findall(text) if _BEGIN in text else []
