"""The folder of keys: the database, the pepper, and the snapshot that workers read.

- `keys.sqlite3`: keys, teams and what was done with them. It holds digests, no key.
- `keys.pepper`: the secret that digests are made with. Without it no key of the database is valid.
- `keys.json`: the snapshot, replaced by rename with each change. Workers read nothing else.
"""

from __future__ import annotations

import json
import os
import secrets
import time
from pathlib import Path

from argoproxy.protocol.json_text import Json
from argoproxy.protocol.keys.key_index import KeyIndex, read_document
from argoproxy.protocol.keys.key_token import PEPPER_BYTES
from argoproxy.stores.sqlite_file import give_to_owner_of_folder, unavailable
from argoproxy.telemetry.rotating_file import PRIVATE

DATABASE, PEPPER, SNAPSHOT = "keys.sqlite3", "keys.pepper", "keys.json"


def is_new(folder: Path) -> bool:
    """Return whether no keys were ever kept in a folder; a pepper may be there, which an operator has provided. Raises
    StateUnavailable if a part of the keys is missing: a new file in its place would end all of them."""
    there = {name for name in (DATABASE, PEPPER, SNAPSHOT) if (folder / name).exists()}
    missing = sorted({DATABASE, PEPPER} - there)
    if not there - {PEPPER}:
        return True
    if missing:
        raise unavailable(f"{', '.join(missing)} is missing beside {', '.join(sorted(there))}; restore it")
    return False


def read_pepper(folder: Path) -> bytes:
    """Return the pepper. Raises OSError; StateUnavailable if the file holds something else."""
    pepper = (folder / PEPPER).read_bytes().strip()
    if len(pepper) != 2 * PEPPER_BYTES:
        raise unavailable(f"{PEPPER} is damaged; restore it")
    return pepper


def make_pepper(folder: Path) -> None:
    """Create the pepper if there is none. Raises OSError."""
    if not (folder / PEPPER).exists():
        beside = folder / f"{PEPPER}.new"
        _write(beside, secrets.token_hex(PEPPER_BYTES).encode() + b"\n")
        beside.replace(folder / PEPPER)


def keep_pepper(folder: Path, pepper: bytes) -> None:
    """Write a pepper that is kept elsewhere, unless it is there. Raises OSError."""
    path = folder / PEPPER
    if not path.exists() or path.read_bytes().strip() != pepper:
        beside = folder / f"{PEPPER}.new"
        _write(beside, pepper + b"\n")
        beside.replace(path)


def hand_over(folder: Path, user: int, group: int) -> None:
    """Give the folder and its files to the user as which workers run, if root has created them. Raises OSError."""
    if os.geteuid() == 0 and user:
        for path in (folder, *folder.glob("keys.*")):
            os.chown(path, user, group)


def read_snapshot(folder: Path) -> KeyIndex:
    """Return the keys that were published last. Raises OSError; ValueError if the file is damaged."""
    return read_document(json.loads((folder / SNAPSHOT).read_bytes()))


def write_beside(folder: Path, document: Json) -> Path:
    """Write a snapshot that is not published yet, and return its path. A full disk shows here, before anything is
    changed. Raises OSError."""
    beside = folder / f"{SNAPSHOT}.new"
    _write(beside, json.dumps(document, separators=(",", ":")).encode())
    return beside


def publish(folder: Path, beside: Path) -> None:
    """Make a snapshot the one that the next request of every worker finds. Raises OSError."""
    beside.replace(folder / SNAPSHOT)


def _write(path: Path, content: bytes) -> None:
    """Write a file for its owner only, and wait until it is on the disk."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, PRIVATE)
    with open(descriptor, "wb") as file:
        os.fchmod(descriptor, PRIVATE)
        give_to_owner_of_folder(descriptor, path.parent)
        file.write(content)
        file.flush()
        # The kernel's own stamp is that of its last tick: two changes within a few milliseconds could have the same.
        now_ns = time.time_ns()
        os.utime(descriptor, ns=(now_ns, now_ns))
        os.fsync(descriptor)
