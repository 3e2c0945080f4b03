"""How counters are named where each has but limited room."""

from __future__ import annotations

from hashlib import blake2b

MOST_NAME_BYTES = 328


def fit_row(row: str) -> str:
    """Return the name of a counter as it is kept: that of one with too long a name has a digest in it."""
    name = row.encode()
    if len(name) <= MOST_NAME_BYTES:
        return row
    digest, end = blake2b(name, digest_size=16).hexdigest(), row.rpartition("/")[2][-32:]
    return f"{name[:128].decode(errors='ignore')}~{digest}/{end}"


def key_of(row: str) -> int:
    """Return a number by which a counter is found: with 64 bits of hash no two of them meet."""
    return int.from_bytes(blake2b(row.encode(), digest_size=8).digest(), "little") | 1
